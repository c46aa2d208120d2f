"""``sana_wm export``: a training run as a model folder, or a model as a program for other runtimes."""

from __future__ import annotations

import importlib.util
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console


class Kind(str, Enum):
    """What is written."""

    folder = "folder"
    onnx = "onnx"
    aoti = "aoti"


def export(
    run: Annotated[
        Path,
        typer.Option(
            help="run folder of a world-model training (it may still be running); or a model folder"
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder to write, for example models/nano")],
    kind: Annotated[
        Kind,
        typer.Option(
            "--format",
            help="folder: a measured model folder. onnx: chunk step and decoder for ONNX Runtime and TensorRT. "
            "aoti: the same compiled by AOTInductor for this kind of machine.",
        ),
    ] = Kind.folder,
    validation: Annotated[
        list[Path] | None,
        typer.Option(help="drives the model never saw, for a folder; may be given several times"),
    ] = None,
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
    candidates: Annotated[
        int | None, typer.Option(min=1, help="candidates of a program; none: any number, chosen at each call")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda: where an aoti program will run")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 1,
) -> None:
    """Write a training run as a measured model folder, or a model as a program."""
    import torch
    from rich.console import Console

    console = Console()
    torch.set_num_threads(threads)
    if kind is not Kind.folder:
        _program(console, run, out, kind, candidates, device)
        return
    if not validation:
        raise ValueError(
            "a model folder is measured when it is written: give --validation FOLDER of unseen drives"
        )
    from rich.table import Table

    from sana_wm_ros.cli.benchmark_model import true_world
    from sana_wm_ros.training.export import export as write

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
    console.print(f"Written: {out} ({', '.join(sorted(path.name for path in out.iterdir()))})", markup=False)


def _program(
    console: Console, source: Path, out: Path, kind: Kind, candidates: int | None, device: str
) -> None:
    from sana_wm_ros.evaluation.timing import usable_device
    from sana_wm_ros.training.export import model_of_run
    from sana_wm_ros.world_model.checkpoint import load_model
    from sana_wm_ros.world_model.exporting import export_model
    from sana_wm_ros.world_model.weight_files import is_there

    place = usable_device(device)
    if is_there(source):
        model = load_model(source, device=place)
    else:
        model = model_of_run(source)[0].to(place)
    for path in export_model(model, out, "onnx" if kind is Kind.onnx else "aoti", candidates=candidates):
        console.print(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)", highlight=False)
