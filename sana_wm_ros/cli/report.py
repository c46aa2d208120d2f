"""``sana_wm report``: one page from a recorded replay, with the imagination held against the recording."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sana_wm_ros.evaluation.drive import RecordedDrive
    from sana_wm_ros.evaluation.imagination_check import ImaginationCheck
    from sana_wm_ros.evaluation.report import WrittenReport


def report(
    output_bag: Annotated[Path, typer.Argument(help="The bag that a replay wrote.")],
    bag: Annotated[Path | None, typer.Option(help="The bag that was replayed.")] = None,
    model: Annotated[str, typer.Option(help="Model folder, or a shipped model's name.")] = "nano",
    out: Annotated[Path, typer.Option(help="Folder for report.html and what belongs to it.")] = Path(
        "report"
    ),
    starts: Annotated[int, typer.Option(min=1, help="Moments from which the imagination is checked.")] = 8,
    horizon: Annotated[float, typer.Option(min=1.0, help="How far ahead it is checked, s.")] = 60.0,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves the choice to torch.")] = 0,
) -> None:
    """Make an HTML report from a recorded replay."""
    from rich.console import Console

    console = Console()
    written = make_report(
        console,
        output_bag,
        bag=bag,
        model=model,
        out=out,
        starts=starts,
        horizon_s=horizon,
        threads=threads,
        command=shlex.join(["sana_wm", *sys.argv[1:]]),
    )
    console.print(f"open {written.page}", highlight=False)


def make_report(
    console: Console,
    output_bag: Path,
    *,
    bag: Path | None,
    model: str,
    out: Path,
    command: str,
    starts: int = 8,
    horizon_s: float = 60.0,
    threads: int = 0,
) -> WrittenReport:
    """Read both bags, check the imagination, write the page; progress goes to the console."""
    from sana_wm_ros.evaluation.recording import read_recording
    from sana_wm_ros.evaluation.report import ReportInput, write_report

    with console.status("reading what the planner published"):
        recording = read_recording(output_bag)
    recorded, check, skipped = None, None, []
    if bag is None:
        skipped.append("everything about the input and the imagination: no input bag was given (--bag)")
    else:
        recorded, check, reason = _checked(
            console, bag, model, starts=starts, horizon_s=horizon_s, threads=threads
        )
        skipped += [reason] if reason else []
    given = ReportInput(
        recording=recording, command=command, model=model, recorded=recorded, check=check, skipped=skipped
    )
    with console.status("writing the report") as status:
        return write_report(given, out, progress=status.update)


def _checked(
    console: Console, bag: Path, model: str, *, starts: int, horizon_s: float, threads: int
) -> tuple[RecordedDrive, ImaginationCheck | None, str]:
    """The recorded drive, and how the model's imagination fared on it or why that could not be told."""
    import torch

    from sana_wm_ros.evaluation.drive import read_drive
    from sana_wm_ros.evaluation.imagination_check import check_imagination, spread_starts
    from sana_wm_ros.nodes.model_loading import model_folder
    from sana_wm_ros.world_model.checkpoint import load_model

    if threads:
        torch.set_num_threads(threads)
    with console.status("reading the recording"):
        loaded = load_model(model_folder(model))
        recorded = read_drive(bag, loaded.spec)
    period_s = loaded.spec.latent_period_s
    latents = (len(recorded.drive) - 1) // loaded.spec.frames_per_latent
    try:
        chosen = spread_starts(latents, starts, period_s=period_s)
    except ValueError as error:
        return recorded, None, f"the check of the imagination: {error}"
    with console.status("imagining from the recording") as status:
        check = check_imagination(
            loaded,
            recorded.drive,
            starts=chosen,
            horizon_s=horizon_s,
            progress=lambda done: status.update(f"imagining from the recording, {100 * done:.0f} %"),
        )
    return recorded, check, ""
