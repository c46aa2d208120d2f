"""``sana_wm train``: train the autoencoder, then the world model, from recorded drives."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console
    from torch import Tensor

    from sana_wm_ros.training.autoencoder_trainer import AutoencoderTrainer
    from sana_wm_ros.training.episodes import BadEpisode
    from sana_wm_ros.training.objective import Objective
    from sana_wm_ros.training.schedule import Schedule
    from sana_wm_ros.training.world_model_trainer import WorldModelTrainer


class Stage(str, Enum):
    """What to train."""

    AUTOENCODER = "autoencoder"
    WORLD_MODEL = "world-model"


def train(
    stage: Annotated[Stage, typer.Option(help="autoencoder first, then world-model")],
    data: Annotated[list[Path], typer.Option(help="folder of recorded drives; may be given several times")],
    out: Annotated[Path, typer.Option(help="run folder; running the same command again resumes")],
    init: Annotated[
        Path | None,
        typer.Option(
            help="world-model: the autoencoder's run, or a world model's run or folder to go on from"
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="nano or small: sizes of what begins new; --init's own sizes go before")
    ] = "nano",
    device: Annotated[
        str, typer.Option(help="cpu, or cuda (one process per GPU; the autoencoder takes one)")
    ] = "cpu",
    minutes: Annotated[float | None, typer.Option(min=0.1, help="training time at most")] = None,
    steps: Annotated[int, typer.Option(min=1, help="optimiser steps at most")] = 1_000_000,
    batch: Annotated[int | None, typer.Option(min=1, help="groups, or latent frames, per step")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=1e-7, max=1.0)] = None,
    matrix_rate: Annotated[
        float | None, typer.Option(min=1e-7, max=1.0, help="world-model: Muon's rate, for weight matrices")
    ] = None,
    curriculum: Annotated[
        str | None,
        typer.Option(help="world-model: clip lengths by the share done, as 0:24,0.5:64 (latent frames)"),
    ] = None,
    keyframes: Annotated[
        int | None, typer.Option(min=0, help="world-model: seen views kept beside the window (0: none)")
    ] = None,
    guide: Annotated[
        bool | None,
        typer.Option(help="world-model: keyframes moved to an imagined frame's rays enter with it"),
    ] = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option(
            help="world-model: NAME=VALUE, another switch of the transformer, as bounded_keys=false"
        ),
    ] = None,
    fresh: Annotated[
        bool, typer.Option(help="world-model: of --init take the autoencoder and the sizes, no weights")
    ] = False,
    objective: Annotated[
        list[str] | None,
        typer.Option(help="world-model: NAME=VALUE, a number of the objective, as place_weight=2"),
    ] = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(help="world-model: NAME=SIZE, larger than --init's: token_width, hidden or layers"),
    ] = None,
    anchor_m: Annotated[
        float | None,
        typer.Option(min=0.0, help="world-model: half of the clips have their anchor up to so far away"),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp32; or bf16: mixed precision on GPUs, and on CPUs with AMX")
    ] = "fp32",
    perceptual: Annotated[
        float | None,
        typer.Option(
            min=0.0, help="autoencoder: weight of how different pictures look (ST-LPIPS, extra eval)"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads")] = 1,
    drives: Annotated[
        int | None, typer.Option(min=1, help="world-model: use only the first so many drives")
    ] = None,
    quiet: Annotated[bool, typer.Option(help="one line a minute instead of a progress bar")] = False,
) -> None:
    """Train the autoencoder or the world model; resumable, with curves in the run folder."""
    import torch
    from rich.console import Console

    from sana_wm_ros.training.episodes import check_split, seeds_in
    from sana_wm_ros.training.processes import leave
    from sana_wm_ros.training.schedule import Schedule
    from sana_wm_ros.training.trainable import check_trainable

    console = Console()
    torch.set_num_threads(threads)
    try:
        if precision not in ("fp32", "bf16"):
            raise ValueError(f"--precision {precision}; expected fp32 or bf16")
        check_trainable(preset)
        check_trainable(init)
        check_split(seeds_in(data), "train")
        schedule = Schedule(steps=steps, minutes=minutes)
        if stage is Stage.AUTOENCODER:
            settings = {"batch": batch, "learning_rate": learning_rate, "seed": seed}
            settings |= {"precision": precision, "perceptual_weight": perceptual}
            trainer: Any = _autoencoder_trainer(settings, preset, device, schedule, data, out, console)
        else:
            settings = {
                "frames_per_step": batch,
                "learning_rate": learning_rate,
                "matrix_rate": matrix_rate,
                "curriculum": _curriculum(curriculum),
                "anchor_m": anchor_m,
                "precision": precision,
                "seed": seed,
            }
            if objective:
                settings["objective"] = _objective(objective)
            switches = _given({"keyframes": keyframes, "keyframe_guide": guide}) | _switches(architecture)
            begin = {"out": out, "init": init, "heads": _sizes(heads), "fresh": fresh}
            trainer = _world_model_trainer(
                settings, preset, device, schedule, data, begin, drives, switches, console
            )
    except (ValueError, RuntimeError) as error:
        console.print(f"[red]{error}[/red]")
        raise typer.Exit(2) from error
    _run(trainer, console, quiet)
    del trainer
    leave()


def _given(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value is not None}


def _curriculum(text: str | None) -> tuple[tuple[float, int], ...] | None:
    """``0:24,0.5:64`` as pairs of share done and clip length."""
    if text is None:
        return None
    try:
        pairs = tuple(
            (float(share), int(length)) for share, length in (p.split(":") for p in text.split(","))
        )
    except ValueError as error:
        raise ValueError(f"--curriculum {text!r}; expected pairs such as 0:24,0.5:64") from error
    return pairs


def _objective(entries: list[str]) -> Objective:
    """The objective with some numbers changed; ValueError names those there are."""
    from dataclasses import fields

    from sana_wm_ros.training.objective import Objective

    known = [field.name for field in fields(Objective)]
    changes = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        if name not in known:
            raise ValueError(f"--objective {entry!r}; expected one of {', '.join(known)}, and =VALUE")
        try:
            changes[name] = float(value)
        except ValueError as error:
            raise ValueError(f"--objective {entry!r}; {value!r} is not a number") from error
    return Objective(**changes)


def _switches(entries: list[str] | None) -> dict[str, Any]:
    """Fields of the transformer's configuration by name; ValueError names those there are."""
    from dataclasses import fields

    import yaml

    from sana_wm_ros.world_model.config import TransformerConfig

    known, switches = [field.name for field in fields(TransformerConfig)], {}
    for entry in entries or []:
        name, sign, value = entry.partition("=")
        if name not in known or not sign:
            raise ValueError(f"--architecture {entry!r}; expected one of {', '.join(known)}, and =VALUE")
        switches[name] = yaml.safe_load(value)
    return switches


def _sizes(entries: list[str] | None) -> dict[str, int]:
    """Sizes of the heads by name; ValueError names those there are."""
    known, sizes = ("token_width", "hidden", "layers"), {}
    for entry in entries or []:
        name, _, value = entry.partition("=")
        if name not in known or not value.isdecimal():
            raise ValueError(f"--heads {entry!r}; expected one of {', '.join(known)}, and =SIZE")
        sizes[name] = int(value)
    return sizes


def _left_out(console: Console) -> Callable[[BadEpisode], None]:
    """Names a drive that is not trained on, and why."""
    return lambda error: console.print(f"left out: {error}", soft_wrap=True, markup=False)


def _autoencoder_trainer(
    settings: dict[str, Any],
    preset: str,
    device: str,
    schedule: Schedule,
    data: list[Path],
    out: Path,
    console: Console,
) -> AutoencoderTrainer:
    from sana_wm_ros.training.autoencoder_trainer import AutoencoderTrainer, AutoencoderTraining
    from sana_wm_ros.training.processes import join
    from sana_wm_ros.world_model.presets import sizes_of

    _, images, _ = sizes_of(preset)
    training = AutoencoderTraining(model=images, **_given(settings))
    looks = _how_pictures_look() if training.perceptual_weight else None
    return AutoencoderTrainer(
        training,
        schedule,
        data,
        out,
        device=join(device).device,
        perceptual=looks,
        on_bad=_left_out(console),
    )


def _how_pictures_look() -> Callable[[Tensor, Tensor], Tensor]:
    from sana_wm_ros.evaluation.lpips import shift_tolerant_lpips

    lpips = shift_tolerant_lpips()
    if lpips is None:
        raise ValueError("--perceptual needs ST-LPIPS: pip install stlpips-pytorch, which brings its weights")
    return lpips.distance


def _world_model_trainer(
    settings: dict[str, Any],
    preset: str,
    device: str,
    schedule: Schedule,
    data: list[Path],
    begin: dict[str, Any],
    drives: int | None,
    switches: dict[str, Any],
    console: Console,
) -> WorldModelTrainer:
    from dataclasses import replace

    from rich.progress import Progress

    from sana_wm_ros.training.export import keep_autoencoder, start_of
    from sana_wm_ros.training.latents import load_drives
    from sana_wm_ros.training.processes import join
    from sana_wm_ros.training.world_model_trainer import WorldModelTrainer, WorldModelTraining
    from sana_wm_ros.world_model.presets import sizes_of

    transformer, _, new_heads = sizes_of(preset)
    out, heads = begin["out"], replace(new_heads, **begin["heads"])
    training = WorldModelTraining(model=transformer, heads=heads, **_given(settings))
    processes = join(device)
    console.quiet = console.quiet or not processes.first
    start = start_of(training=training, **begin)
    training = start.training
    if switches:
        training = replace(training, model=replace(training.model, **switches))
    if processes.first:
        keep_autoencoder(start.autoencoder, out)
    else:
        processes.wait()  # the first one encodes the drives
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("encoding drives", total=None)
        encoded = load_drives(
            start.autoencoder,
            data,
            out.parent / "latents",
            limit=drives,
            on_drive=lambda done, total: bar.update(task, completed=done, total=total),
            on_bad=_left_out(console),
        )
    if processes.first:
        processes.wait()
    console.print(f"{len(encoded)} drives, {sum(map(len, encoded)) / 7200:.1f} h")
    return WorldModelTrainer(
        training, schedule, start.autoencoder, encoded, out, start_from=start.weights, processes=processes
    )


def _run(trainer: Any, console: Console, quiet: bool) -> None:
    """Run a trainer with a progress bar, or with one line a minute where nobody watches."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from sana_wm_ros.training.guard import TrainingDiverged

    columns = (TextColumn("step {task.fields[step]}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    text_column = TextColumn("{task.fields[text]}")
    bar = Progress(*columns, text_column, console=console, disable=quiet or not console.is_terminal)
    last_line = trainer.elapsed_s

    def show(current: Any, values: dict[str, float]) -> None:
        nonlocal last_line
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        done = current.schedule.progress(current.step, current.elapsed_s)
        bar.update(task, completed=done, step=current.step, text=text)
        if bar.disable and current.elapsed_s - last_line >= 60.0:
            last_line = current.elapsed_s
            console.print(
                f"step {current.step}  {100 * done:.1f} %  {last_line / 60:.1f} min  {text}", soft_wrap=True
            )

    with bar:
        task = bar.add_task("train", total=1.0, step=trainer.step, text="")
        try:
            trainer.run(show)
        except KeyboardInterrupt:
            trainer.save()
            console.print("Stopped and saved; the same command goes on from here.")
            return
        except TrainingDiverged as error:
            console.print(f"[red]{error}[/red]")
            raise typer.Exit(1) from error
    console.print(f"Done: {trainer.folder.path} (curves.png, metrics.jsonl, state.pt)")
