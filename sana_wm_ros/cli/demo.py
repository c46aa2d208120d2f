"""``sana_wm demo``: the whole way once, from the bundled recording, or live in the simulator, to a report."""

from __future__ import annotations

import math
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sana_wm_ros.nodes.live_drive import LiveOptions


def demo(
    bag: Annotated[Path | None, typer.Option(help="Recording to replay [default: the bundled one].")] = None,
    model: Annotated[str, typer.Option(help="Model folder, or a shipped model's name.")] = "nano",
    out: Annotated[Path, typer.Option(help="Folder for everything that comes out.")] = Path("demo_out"),
    rate: Annotated[
        float, typer.Option(min=0.1, max=10.0, help="Times the recorded speed; live: times real time.")
    ] = 1.0,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=5.0,
            help="How much of the recording is replayed [default: 45]; live: time for the goal [120].",
        ),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="Moments from which the imagination is checked.")] = 8,
    live: Annotated[
        bool, typer.Option("--live", help="Drive in the simulator instead, closed loop.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Live: which building, robot and start.")] = 900_003,
    family: Annotated[str, typer.Option(help="Live: kind of building, lab or varied.")] = "lab",
    goal: Annotated[
        str | None, typer.Option(help="Live: X,Y in odometry's frame [default: as the seed draws].")
    ] = None,
) -> None:
    """Replay the bundled drive through the planner, or drive live, and write demo_out/report.html."""
    from rich.console import Console

    from sana_wm_ros.nodes.model_loading import model_folder

    model_folder(model)  # a missing model is told before a minute has passed
    console = Console()
    if live:
        from sana_wm_ros.nodes.live_drive import LiveOptions

        _live(
            console,
            LiveOptions(
                out=out,
                model=model,
                seed=seed,
                family=family,
                goal=_point(goal),
                seconds=seconds or 120.0,
                rate=rate,
            ),
            starts,
        )
    else:
        _recorded(console, bag, model, out, rate, seconds or 45.0, starts)


def _recorded(
    console: Console, bag: Path | None, model: str, out: Path, rate: float, seconds: float, starts: int
) -> None:
    from sana_wm_ros.cli.replay import run_replay
    from sana_wm_ros.nodes.replay import ReplayOptions
    from sana_wm_ros.resources import share_path

    recording = bag if bag is not None else share_path("demo", "lab_60s")
    say = partial(console.print, highlight=False, soft_wrap=True)
    say(f"1/2  {seconds:g} s of {recording.name} through the planner node, over DDS, at {rate:g} x real time")
    options = ReplayOptions(bag=recording, out=out, model=model, rate=rate, seconds=seconds, overwrite=True)
    run_replay(console, options)
    say("2/2  what the model imagines on this recording, held against what the camera then saw")
    _report(console, recording, model, out, starts)


def _live(console: Console, options: LiveOptions, starts: int) -> None:
    import json
    import shutil

    from rich.progress import Progress

    from sana_wm_ros.nodes.live_drive import live_drive
    from sana_wm_ros.simulation.drive import draw_scene
    from sana_wm_ros.simulation.film import write_film

    say = partial(console.print, highlight=False, soft_wrap=True)
    for name in ("bag", "robot"):
        shutil.rmtree(options.out / name, ignore_errors=True)
    say(
        f"1/3  the planner drives a simulated robot through {options.family} building {options.seed}, over DDS"
    )
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("live")
        summary = live_drive(
            options,
            lambda stage, done, total: bar.update(task, description=stage, completed=done, total=total),
        )
    (options.out / "summary.json").write_text(
        json.dumps(summary.as_dict(), indent=2) + "\n", encoding="utf-8"
    )
    ended = "reached" if summary.reached else f"not reached: {summary.last_distance_m:.2f} m left"
    say(
        f"     goal {summary.first_distance_m:.1f} m away {ended} after {summary.took_s:.0f} s, "
        f"{summary.driven_m:.1f} m driven, {summary.plans} plans, {summary.contacts} contacts"
    )
    say("2/3  the film of it")
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("film")
        film = write_film(
            options.out / "live.mp4",
            [options.out / "robot", options.out / "bag"],
            draw_scene(options.seed, options.config).plan,
            radius_m=options.config.robot.radius_m,
            on_frame=lambda done, total: bar.update(task, completed=done, total=total),
        )
    say("3/3  what the model imagines on this drive, held against what the camera then saw")
    _report(console, options.out / "robot", options.model, options.out, starts)
    say(f"film        {film}")


def _report(console: Console, recording: Path, model: str, out: Path, starts: int) -> None:
    from sana_wm_ros.cli.report import make_report

    say = partial(console.print, highlight=False, soft_wrap=True)
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


def _point(text: str | None) -> tuple[float, float] | None:
    """X,Y as numbers; ``ValueError`` where it is none."""
    if text is None:
        return None
    parts = text.split(",")
    try:
        x, y = (float(part) for part in parts)
        if not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError("not finite")
    except ValueError as error:
        raise ValueError(f"--goal {text!r} is not understood: expected X,Y in metres, e.g. 2.5,-1") from error
    return x, y
