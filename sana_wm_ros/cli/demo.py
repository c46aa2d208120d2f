"""``sana_wm demo``: the whole way once, from the bundled recording to a report that can be looked at."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


def demo(
    bag: Annotated[Path | None, typer.Option(help="Recording to replay [default: the bundled one].")] = None,
    model: Annotated[str, typer.Option(help="Model folder, or a shipped model's name.")] = "nano",
    out: Annotated[Path, typer.Option(help="Folder for everything that comes out.")] = Path("demo_out"),
    rate: Annotated[float, typer.Option(min=0.1, max=10.0, help="Times the recorded speed.")] = 1.5,
    starts: Annotated[int, typer.Option(min=1, help="Moments from which the imagination is checked.")] = 8,
) -> None:
    """Replay the bundled drive through the planner and write demo_out/report.html."""
    from rich.console import Console

    from sana_wm_ros.cli.replay import run_replay
    from sana_wm_ros.cli.report import make_report
    from sana_wm_ros.nodes.model_loading import model_folder
    from sana_wm_ros.nodes.replay import ReplayOptions
    from sana_wm_ros.resources import share_path

    recording = bag if bag is not None else share_path("demo", "lab_60s")
    model_folder(model)  # a missing model is told before a minute has passed
    console = Console()
    console.print(
        f"1/2  {recording.name} through the planner node, over DDS, at {rate:g} x real time", highlight=False
    )
    run_replay(console, ReplayOptions(bag=recording, out=out, model=model, rate=rate, overwrite=True))
    console.print(
        "2/2  what it imagined, held against what the camera then saw", highlight=False, soft_wrap=True
    )
    written = make_report(
        console,
        out / "bag",
        bag=recording,
        model=model,
        out=out,
        starts=starts,
        command=shlex.join(["sana_wm", *sys.argv[1:]]),
    )
    console.print(
        f"report      {written.page}  (any browser; what to believe stands on top)", highlight=False
    )
    console.print(
        f"film strip  {written.film_strip or 'none: see the report'}", highlight=False, soft_wrap=True
    )
    console.print(
        f"output bag  {out / 'bag'}  (RViz with config/planner.rviz, Foxglove, ros2 bag)", highlight=False
    )
