"""``sana_wm benchmark live``: navigation in real time, through the real node and topics."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sana_wm_ros.cli.benchmark import ForceOption, OutOption, keep, progress_bar, refuse_load, show

if TYPE_CHECKING:
    from sana_wm_ros.nodes.live_trials import LoopConfig


def live(
    model: Annotated[str, typer.Option(help="Model folder, or a shipped model's name.")] = "nano",
    seconds: Annotated[
        float, typer.Option(min=0.0, help="Seconds of driving from goal to goal; 0: none.")
    ] = 600.0,
    trials: Annotated[int, typer.Option(min=0, help="Navigation trials, each in a building of its own.")] = 0,
    first_seed: Annotated[int, typer.Option(help="Seed of the first building.")] = 900_000,
    family: Annotated[str, typer.Option(help="Family of buildings.")] = "lab",
    limit_s: Annotated[float, typer.Option(min=5.0, help="Seconds to reach a trial's goal.")] = 120.0,
    rate: Annotated[float, typer.Option(min=0.05, max=5.0, help="Times real time.")] = 1.0,
    parameters: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="Of the planner node, NAME:=VALUE.")
    ] = None,
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """Simulator and planner as nodes over DDS, in real time: does the robot arrive, and are deadlines met."""
    from rich.console import Console

    from sana_wm_ros.nodes.live_trials import LoopConfig, long_loop

    console = Console()
    load = refuse_load(force=force)
    spoken = {
        "model": model, "seconds": seconds, "trials": trials, "first_seed": first_seed, "family": family,
        "limit_s": limit_s, "rate": rate, "parameters": parameters or [], "cores": len(os.sched_getaffinity(0)),
    }  # fmt: skip
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as logs, progress_bar(console) as progress:
        task = progress.add_task("", total=None)
        config = LoopConfig(
            out=Path(logs), model=model, family=family, rate=rate, parameters=tuple(parameters or ())
        )

        def tell(stage: str, done: float, total: float) -> None:
            progress.update(task, description=stage, completed=done, total=total)

        if seconds:
            results["loop"] = long_loop(first_seed, seconds, config, tell)
        if trials:
            results |= _trials(config, first_seed, trials, limit_s, tell)
    name = f"live_{Path(model).name}" if seconds else f"live_trials_{Path(model).name}"
    path = keep(name, results=results, settings=spoken, load=load, out=out)
    show(console, "in real time through the node", _rows(results), path)


def _trials(config: LoopConfig, first_seed: int, count: int, limit_s: float, tell: Any) -> dict[str, Any]:
    from sana_wm_ros.nodes.live_trials import Cycles, node_trial
    from sana_wm_ros.simulation.trial_figures import row, summary
    from sana_wm_ros.simulation.trials import TrialConfig, draw_trials

    name = f"{Path(config.model).name} through the node"
    rows, cycles = [], Cycles()
    for trial in draw_trials(first_seed, count, TrialConfig(family=config.family, limit_s=limit_s)):
        ending, heard = node_trial(trial, config, tell)
        rows.append(row(trial, ending) | heard.figures)
        cycles += heard
    return {"groups": {name: summary(rows) | cycles.figures}, "trials": {name: rows}}


def _rows(results: dict[str, Any]) -> dict[str, str]:
    parts = {"from goal to goal": results["loop"]} if "loop" in results else {}
    parts |= results.get("groups", {})
    rows = {}
    for name, found in parts.items():
        if "success" in found:
            low, high = found["success_low"], found["success_high"]
            rows[f"{name}, success"] = f"{found['success']:.2f} [{low:.2f}, {high:.2f}] of {found['trials']}"
        if found["deadline_attainment"] is not None:
            rows[f"{name}, deadlines met"] = f"{100 * found['deadline_attainment']:.1f} % of {found['plans']}"
        if "cycle_s" in found:
            cycle_s = found["cycle_s"]
            rows[f"{name}, plan"] = ", ".join(f"{cycle_s[q]:.2f} s {q}" for q in ("p50", "p95", "p99"))
    return rows
