"""``sana_wm train``: train the autoencoder, then the world model, from recorded drives."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Stage(str, Enum):
    """What to train."""

    AUTOENCODER = "autoencoder"
    WORLD_MODEL = "world-model"


def train(
    stage: Annotated[Stage, typer.Option(help="autoencoder first, then world-model")],
    data: Annotated[list[Path], typer.Option(help="folder of recorded drives; may be given several times")],
    out: Annotated[Path, typer.Option(help="run folder; running the same command again resumes")],
    init: Annotated[
        Path | None, typer.Option(help="world-model: the autoencoder's run folder, or a model folder to go on from")
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0.1, help="training time at most")] = None,
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps at most")] = 1_000_000,
    batch: Annotated[int | None, typer.Option(min=1, help="groups or clips per step")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=1e-7, max=1.0)] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 1,
    quiet: Annotated[bool, typer.Option(help="one line a minute instead of a progress bar")] = False,
) -> None:
    """Train the autoencoder or the world model; resumable, with curves in the run folder."""
    import torch
    from rich.console import Console

    from sana_wm_ros.training.schedule import Schedule

    console = Console()
    torch.set_num_threads(threads)
    schedule = Schedule(steps=steps, minutes=minutes)
    overrides = {"batch": batch, "learning_rate": learning_rate, "seed": seed}
    settings = {name: value for name, value in overrides.items() if value is not None}
    try:
        if stage is Stage.AUTOENCODER:
            from sana_wm_ros.training.autoencoder_trainer import AutoencoderTrainer, AutoencoderTraining

            trainer = AutoencoderTrainer(AutoencoderTraining(**settings), schedule, data, out)
        else:
            raise typer.BadParameter("not there yet")
    except (ValueError, RuntimeError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    _run(trainer, console, quiet)


def _run(trainer: object, console: object, quiet: bool) -> None:
    """Run a trainer with a progress bar, or with one line a minute where nobody watches."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from sana_wm_ros.training.guard import TrainingDiverged

    assert isinstance(console, Console)
    bar = Progress(
        TextColumn("step {task.fields[step]}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[text]}"),
        console=console,
        disable=quiet or not console.is_terminal,
    )
    last_line = [0.0]

    def show(current: object, values: dict[str, float]) -> None:
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        done = current.schedule.progress(current.step, current.elapsed_s)  # type: ignore[attr-defined]
        bar.update(task, completed=done, step=current.step, text=text)  # type: ignore[attr-defined]
        elapsed = current.elapsed_s  # type: ignore[attr-defined]
        if bar.disable and elapsed - last_line[0] >= 60.0:
            last_line[0] = elapsed
            console.print(f"step {current.step}  {100 * done:.1f} %  {elapsed / 60:.1f} min  {text}")  # type: ignore[attr-defined]

    with bar:
        task = bar.add_task("train", total=1.0, step=0, text="")
        try:
            trainer.run(show)  # type: ignore[attr-defined]
        except KeyboardInterrupt:
            trainer.save()  # type: ignore[attr-defined]
            console.print("Stopped and saved; the same command goes on from here.")
            return
        except TrainingDiverged as error:
            console.print(f"[red]{error}[/red]")
            raise typer.Exit(1) from error
    console.print(f"Done: {trainer.folder.path} (curves.png, metrics.jsonl, state.pt)")  # type: ignore[attr-defined]
