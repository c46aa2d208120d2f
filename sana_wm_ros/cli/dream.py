"""``sana_wm dream``: drive inside the imagination, from a picture or from where a recording's beginning ends."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer


def dream(
    picture: Annotated[Path | None, typer.Option(help="A picture that the dream begins with.")] = None,
    bag: Annotated[
        Path | None, typer.Option(help="A recording; the dream goes on from its first seconds.")
    ] = None,
    model: Annotated[str, typer.Option(help="Model folder, or a shipped model's name.")] = "nano",
    context: Annotated[
        float, typer.Option(min=0.0, help="Seconds of the recording that are seen first.")
    ] = 30.0,
    seconds: Annotated[
        float | None, typer.Option(min=0.5, help="How long [default: 60; live: until Ctrl-C].")
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Be a robot on ROS topics, in real time, for teleop or a planner.")
    ] = False,
    video: Annotated[Path | None, typer.Option(help="Film of it: .mp4, .gif or .webp.")] = None,
    strip: Annotated[Path | None, typer.Option(help="Film strip of it: a .png.")] = None,
    record: Annotated[Path | None, typer.Option(help="New bag of what the robot says.")] = None,
    steps: Annotated[int, typer.Option(min=0, help="Denoising steps; 0: the model's own number.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is imagined.")] = 0,
    param: Annotated[
        list[str] | None, typer.Option(help="A parameter of dream_node, NAME:=VALUE; repeatable.")
    ] = None,
) -> None:
    """Dream a drive. Alone, the robot goes back the way that was seen, or wanders; with --live it hears cmd_vel."""
    import yaml
    from rich.console import Console
    from rich.progress import Progress

    from sana_wm_ros.cli.replay import name_value_pairs
    from sana_wm_ros.nodes.dream_drive import DreamOptions, dream_drive

    given = {name: yaml.safe_load(text) for name, text in name_value_pairs(param or [], "--param").items()}
    asked = {"picture": str(picture or ""), "bag": str(bag or ""), "model.path": model}
    asked |= {"context_s": context, "steps": steps, "seed": seed}
    options = DreamOptions(
        parameters=asked | given,
        seconds=seconds if seconds is not None else math.inf if live else 60.0,
        live=live,
        video=video,
        strip=strip,
        record=record,
    )
    console = Console()
    with Progress(console=console, transient=True, disable=live) as bar:
        task = bar.add_task("dreaming", total=options.seconds if math.isfinite(options.seconds) else None)
        summary = dream_drive(options, lambda done_s: bar.update(task, completed=done_s))
    console.print(
        f"{summary.dreamed_s:.1f} s dreamed on from {summary.name} in {summary.took_s:.1f} s: "
        f"{summary.driven_m:.1f} m driven, {summary.contacts} contacts",
        highlight=False,
    )
    for path in summary.written:
        console.print(f"written to {path}", highlight=False, soft_wrap=True)
