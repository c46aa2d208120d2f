"""``sana_wm demo``: the whole way once, from the bundled recording to a report that can be looked at."""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer


def demo(
    bag: Annotated[Path | None, typer.Option(help="Recording to replay [default: the bundled one].")] = None,
    model: Annotated[str, typer.Option(help="Model folder, or a shipped model's name.")] = "nano",
    out: Annotated[Path, typer.Option(help="Folder for everything that comes out.")] = Path("demo_out"),
    rate: Annotated[float, typer.Option(min=0.1, max=10.0, help="Times the recorded speed.")] = 1.0,
    seconds: Annotated[float, typer.Option(min=5.0, help="How much of the recording is replayed.")] = 45.0,
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
    say = partial(console.print, highlight=False, soft_wrap=True)
    say(f"1/2  {seconds:g} s of {recording.name} through the planner node, over DDS, at {rate:g} x real time")
    options = ReplayOptions(bag=recording, out=out, model=model, rate=rate, seconds=seconds, overwrite=True)
    run_replay(console, options)
    say("2/2  what the model imagines on this recording, held against what the camera then saw")
    written = make_report(
        console,
        out / "bag",
        bag=recording,
        model=model,
        out=out,
        starts=starts,
        command=shlex.join(["sana_wm", *sys.argv[1:]]),
    )
    say(f"report      {written.page}  (any browser; how far to trust it stands on top)")
    say(f"film strip  {written.film_strip or 'none: the report says why'}")
    say(f"output bag  {out / 'bag'}  (RViz with config/planner.rviz, Foxglove, ros2 bag)")
