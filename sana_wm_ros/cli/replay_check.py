"""``sana_wm replay BAG --check REF``: the same behaviour as before? Deterministic, without ROS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

DEFAULT_FRAMES_PER_S = 500.0


def check(
    console: Console,
    bag: Path,
    reference: Path,
    *,
    model: str,
    goal: str,
    topics: dict[str, str],
    robot_speed_mps: float | None,
    parameters: tuple[str, ...],
    update: bool,
) -> bool:
    """Compare with the reference, or write it; whether all is as before. Prints what differs."""
    from functools import partial

    from sana_wm_ros.evaluation.behaviour import (
        BadReference,
        differences,
        read_reference,
        write_reference,
    )

    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    before = read_reference(reference) if reference.exists() or not update else None
    now = deterministic_behaviour(bag, model, goal, topics, robot_speed_mps, parameters)
    found = []
    if before is not None:
        now["tolerances"] = before["tolerances"]
        try:
            found = differences(before, now)
        except BadReference as error:
            if not update:
                raise
            say(str(error))
    for one in found:
        say(str(one))
    plans = sum("path" in plan for plan in now["plans"])
    if update:
        write_reference(reference, now)
        say(f"wrote {reference}: {len(now['plans'])} cycles, {plans} plans, {len(now['stops'])} stops")
        return True
    assert before is not None
    close = sum(plan.get("margin", 1.0) <= before["tolerances"]["margin_relative"] for plan in now["plans"])
    word = "differs" if found else "as before"
    say(f"{bag}: {word}; {plans} plans, {close} of them between equals, {len(found)} differences")
    if found:
        say("if this is what you want: the same command with --update-ref")
    return not found


def deterministic_behaviour(
    bag: Path,
    model: str,
    goal: str,
    topics: dict[str, str],
    robot_speed_mps: float | None,
    parameters: tuple[str, ...],
) -> dict[str, object]:
    """Run the planner on the recording's clock, its own time counted in work, on one thread."""
    import torch

    from sana_wm_ros.evaluation.bag_facts import facts_of
    from sana_wm_ros.evaluation.bags import open_bag
    from sana_wm_ros.evaluation.behaviour import behaviour
    from sana_wm_ros.evaluation.goal_plan import GoalPlan
    from sana_wm_ros.nodes.offline import OfflineOptions, run_offline
    from sana_wm_ros.nodes.offline_evaluation import loaded_model
    from sana_wm_ros.nodes.planner_factory import shipped_weights
    from sana_wm_ros.nodes.replay_setup import offline_settings

    torch.set_num_threads(1)  # sums over threads round in another order
    with open_bag(bag, tolerant=True) as opened:
        facts = facts_of(opened, topics, complete=False)
        settings, weights = offline_settings(
            facts, shipped_weights(), model=model, robot_speed_mps=robot_speed_mps, overrides=parameters
        )
        options = OfflineOptions(
            settings=settings,
            weights=weights,
            goal=GoalPlan.parse(goal),
            frames_per_s=DEFAULT_FRAMES_PER_S,
        )
        run = run_offline(loaded_model(model, "cpu"), opened, facts, options)
    setup = {
        "bag": bag.name,
        "model": Path(model).name,
        "goal": goal,
        "topics": topics,
        "robot_speed_mps": robot_speed_mps,
        "parameters": list(parameters),
        "frames_per_s": DEFAULT_FRAMES_PER_S,
    }
    return behaviour(run, setup)
