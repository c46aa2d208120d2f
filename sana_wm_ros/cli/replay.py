"""``sana_wm replay``: drive the planner from a recording, over DDS, and record what it plans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sana_wm_ros.nodes.replay import ReplayOptions, ReplaySummary


def replay(
    bag: Annotated[Path, typer.Argument(help="rosbag2 folder (mcap, sqlite3) or ROS 1 .bag file.")],
    model: Annotated[str, typer.Option(help="Model folder, or a shipped model's name.")] = "nano",
    out: Annotated[Path, typer.Option(help="Folder for the output bag, log and summary.")] = Path(
        "replay_out"
    ),
    rate: Annotated[float, typer.Option(min=0.01, max=100.0, help="Times the recorded speed.")] = 1.0,
    loop: Annotated[int, typer.Option(min=0, help="How often to play; 0 until Ctrl-C.")] = 1,
    goal: Annotated[
        str, typer.Option(help="ahead:SECONDS (where the recording is then), X,Y in odom, or none.")
    ] = "ahead:10",
    topic: Annotated[
        list[str] | None, typer.Option(help="INPUT:=TOPIC for image, camera_info, odom, scan; repeatable.")
    ] = None,
    robot_speed: Annotated[
        float | None, typer.Option(min=0.01, max=30.0, help="Robot's top speed, m/s [default: as recorded].")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="A parameter of the planner, NAME:=VALUE; repeatable.")
    ] = None,
    inputs: Annotated[bool, typer.Option(help="Also record what was played.")] = True,
    overwrite: Annotated[bool, typer.Option(help="Replace an output bag that is there.")] = False,
    check: Annotated[
        Path | None,
        typer.Option(help="Compare plans, commands, stops and reasons with this reference; without DDS."),
    ] = None,
    update_ref: Annotated[
        bool, typer.Option(help="Write that reference anew, and show what changed.")
    ] = False,
) -> None:
    """Drive the planner from a bag, over DDS, and record what it plans into a new bag.

    Commands go to /replay/cmd_vel, where no robot listens. The plan's topics are those of the robot. With --check
    the run is deterministic instead, in this process, and compared with a reference; exit code 1: it differs.
    """
    from rich.console import Console

    if check is not None:
        from sana_wm_ros.cli.replay_check import check as compare

        alike = compare(
            Console(),
            bag,
            check,
            model=model,
            goal=goal,
            topics=name_value_pairs(topic or [], "--topic"),
            robot_speed_mps=robot_speed,
            parameters=tuple(param or ()),
            update=update_ref,
        )
        raise typer.Exit(0 if alike else 1)
    if update_ref:
        raise ValueError("--update-ref writes the reference that --check names; give both")

    from sana_wm_ros.evaluation.goal_plan import GoalPlan
    from sana_wm_ros.nodes.replay import ReplayOptions

    options = ReplayOptions(
        bag=bag,
        out=out,
        model=model,
        rate=rate,
        passes=loop,
        goal=GoalPlan.parse(goal),
        topics=name_value_pairs(topic or [], "--topic"),
        robot_speed_mps=robot_speed,
        parameters=tuple(param or ()),
        record_inputs=inputs,
        overwrite=overwrite,
    )
    name_value_pairs(param or [], "--param")
    console = Console()
    run_replay(console, options)
    console.print(f"output bag: {out / 'bag'} (RViz, Foxglove and ros2 bag open it)", highlight=False)


def run_replay(console: Console, options: ReplayOptions) -> ReplaySummary:
    """Replay with a progress line, write ``summary.json`` and print a table of what came of it."""
    import json

    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from sana_wm_ros.nodes.replay import replay as play
    from sana_wm_ros.nodes.replay_watcher import Watcher

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("replay", total=1.0, told="")

        def show(stage: str, played_s: float, total_s: float, watcher: Watcher) -> None:
            told = f"{played_s:.0f} s, {max(watcher.cycles_s, default=0)} plans" if played_s else ""
            bar.update(task, description=stage, completed=played_s, total=total_s, told=told)

        summary = play(options, show)
    path = options.out / "summary.json"
    path.write_text(json.dumps(summary.as_dict(), indent=2) + "\n", encoding="utf-8")
    print_summary(console, summary)
    return summary


def print_summary(console: Console, summary: ReplaySummary) -> None:
    """A table for people."""
    from rich.table import Table

    table = Table(show_header=False, box=None)
    rows = {
        "played": f"{summary.played_s:.1f} s in {summary.wall_s:.1f} s",
        "plans": f"{summary.plans} ({summary.plans_per_s:.2f} per second, {summary.wanted_plans_per_s:.2f} wanted)",
        "time per plan": f"median {summary.plan_p50_s:.2f} s, 95 % within {summary.plan_p95_s:.2f} s",
        "late": f"{summary.late} late, {summary.skipped_turns} turns skipped",
        "stops": ", ".join(f"{kind} {count}x" for kind, count in summary.stops.items()) or "none",
        "pictures": f"{summary.sent.get('image', 0)} sent, {summary.lost_pictures} lost",
        "refused": ", ".join(f"{kind} {count}x" for kind, count in summary.refused.items()) or "nothing",
        "memory": f"peak {summary.peak_memory_mib:.0f} MiB",
    }
    for name, text in rows.items():
        table.add_row(name, text)
    for note in summary.notes:
        table.add_row("note", note)
    console.print(table, highlight=False)


def name_value_pairs(words: list[str], option: str) -> dict[str, str]:
    """NAME:=VALUE words as a mapping; ``ValueError`` shows what was expected."""
    pairs = {}
    for word in words:
        name, found, value = word.partition(":=")
        if not found or not name or not value:
            raise ValueError(f"{option} {word!r} is not understood: expected NAME:=VALUE")
        pairs[name] = value
    return pairs
