"""``sana_wm export``: a training run's averaged weights to a model folder, measured, with its card."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Option(help="run folder of a world-model training (it may still be running)")],
    out: Annotated[Path, typer.Option(help="model folder to write, for example models/nano")],
    validation: Annotated[
        list[Path], typer.Option(help="drives the model never saw; may be given several times")
    ],
    contact: Annotated[
        list[Path] | None, typer.Option(help="open-loop drives to measure contact on (default: --validation)")
    ] = None,
    data: Annotated[
        str, typer.Option(help="what the card says about the training data")
    ] = "Simulated drives.",
    command: Annotated[
        list[str] | None, typer.Option(help="commands that made the run, for the card")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(help="TITLE=FILE: a result of `sana_wm benchmark model` for a column of the card"),
    ] = None,
    drives: Annotated[
        int, typer.Option(min=1, help="validation drives for pictures; contact takes twice as many")
    ] = 24,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 1,
) -> None:
    """Validate the averaged weights of a run and write them as a model folder."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from sana_wm_ros.cli.benchmark_model import true_world
    from sana_wm_ros.training.export import export as write

    console = Console()
    torch.set_num_threads(threads)
    try:
        result = write(
            run,
            out,
            validation=validation,
            contact=contact,
            data=data,
            commands=command or [],
            drives=drives,
            oracle=true_world if importlib.util.find_spec("mujoco") else None,
            beside={title: Path(file) for title, _, file in (entry.partition("=") for entry in beside or [])},
        )
    except ValueError as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    table = Table("PSNR, dB", *[f"{s:g} s" for s in result["horizons_s"]])
    for name, values in result["psnr_db"].items():
        table.add_row(name, *[f"{v:.1f}" for v in values])
    console.print(table)
    console.print(result["contact"])
    console.print(
        f"Written: {out} (model.safetensors, config.yaml, MODEL_CARD.md, validation.json, film_strip.png)"
    )
