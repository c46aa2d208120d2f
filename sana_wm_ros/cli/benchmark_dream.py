"""``sana_wm benchmark dream``: does a dreamed robot keep up with real time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sana_wm_ros.cli.benchmark import ForceOption, OutOption, keep, progress_bar, refuse_load, show


def dream(
    model: Annotated[str, typer.Option(help="Model folder, or a shipped model's name.")] = "nano",
    bag: Annotated[
        Path | None, typer.Option(help="Recording that the dream goes on from; none: the bundled one.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=5.0, help="Seconds that are dreamed, each way.")] = 60.0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the model.")] = 2,
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """Pictures per second of a dream, its real-time factor as a node, and how late a command is seen."""
    from rich.console import Console

    from sana_wm_ros.nodes.dream_benchmark import measure_dream
    from sana_wm_ros.resources import share_path

    console = Console()
    load = refuse_load(force=force)
    path = bag or share_path("demo", "lab_60s")
    with progress_bar(console) as bar:
        task = bar.add_task("", total=1.0)
        results = measure_dream(
            path,
            model,
            seconds=seconds,
            threads=threads,
            progress=lambda stage, done: bar.update(task, description=stage, completed=done),
        )
    spoken = {"model": model, "bag": path.name, "seconds": seconds, "threads": threads}
    written = keep(f"dream_{Path(model).name}", results=results, settings=spoken, load=load, out=out)
    alone, node = results["imagined"], results["node"]
    show(
        console,
        f"{seconds:g} s dreamed by {Path(model).name} on {threads} threads",
        {
            "pictures": f"{alone['pictures_per_s']:.1f} per s",
            "half a second": f"{alone['took_s']['p50']:.3f} s p50, {alone['took_s']['p95']:.3f} s p95",
            "node": f"{node['real-time factor']:.2f} x real time",
            "command to first picture": f"{node['command to first picture, mean (s)']:.2f} s",
        },
        written,
    )
