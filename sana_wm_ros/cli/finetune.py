"""``sana_wm finetune``: a model taught on one's own recordings, in minutes, kept only when it got better."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sana_wm_ros.training.episodes import Episode
    from sana_wm_ros.training.recordings import Recording
    from sana_wm_ros.world_model.protocol import ModelSpec


def finetune(
    bags: Annotated[list[Path], typer.Argument(help="Recordings: a folder (rosbag2), .mcap, .db3 or .bag.")],
    out: Annotated[Path, typer.Option(help="Model folder to write; it appears only when it is better.")],
    model: Annotated[Path, typer.Option(help="Model folder to begin with.")] = Path("models/nano"),
    minutes: Annotated[
        float, typer.Option(min=0.1, help="Training time, without reading and comparing.")
    ] = 8.0,
    topic: Annotated[
        list[str] | None, typer.Option(help="ROLE=TOPIC where several fit, as image=/camera/front.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write it although it did not get better.")] = False,
) -> None:
    """Fine-tune a model on recordings and compare before and after on their held-out ends.

    A quarter of each recording, its end, is never trained on. Ranges teach where a scan is in the bag, contact
    never does. A recording that cannot be used is refused with the reason; the others go on.
    """
    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from sana_wm_ros.training.finetune import FineTuning, fine_tune, held_out_scores, is_better
    from sana_wm_ros.training.trainable import check_trainable
    from sana_wm_ros.world_model.checkpoint import load_model, save_model

    console = Console()
    check_trainable(model)
    if out.resolve() == model.resolve():
        raise ValueError(
            f"--out is the model itself ({model}); choose another folder, so that both can be compared"
        )
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    base = load_model(model)
    wanted = dict(entry.partition("=")[::2] for entry in topic or [])
    episodes = _usable(bags, base.spec, wanted, console)
    before = held_out_scores(base, episodes)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}"),
    )
    with (
        tempfile.TemporaryDirectory(prefix="sana_wm_finetune_") as work,
        Progress(*columns, console=console) as bar,
    ):
        tasks = {stage: bar.add_task(stage, total=1.0, said="") for stage in ("eye", "imagination")}

        def show(stage: str, done: float, values: dict[str, float]) -> None:
            bar.update(tasks[stage], completed=done, said=f"loss {values['loss']:.3f}")

        tuned = fine_tune(base, episodes, Path(work), FineTuning(minutes=minutes, seed=seed), show)
    after = held_out_scores(tuned, episodes)
    _compare(before, after, console)
    if not is_better(before, after) and not force:
        console.print(
            f"[yellow]Not better than {model}: nothing was written.[/yellow] Longer or more varied recordings help."
        )
        raise typer.Exit(1)
    card = (model / "MODEL_CARD.md").read_text() if (model / "MODEL_CARD.md").exists() else f"# {out.name}\n"
    names = ", ".join(episode.driver for episode in episodes)
    said = (
        f"\n## Fine-tuned\n\nOn {names} for {minutes:g} min (seed {seed}). On the held-out ends, dB over the best "
        f"trivial: {_spoken(before)} before, {_spoken(after)} after. All figures above are those of the model "
        "before.\n"
    )
    save_model(out, tuned, card + said, dtype=torch.float16)
    result = {"recordings": [str(bag) for bag in bags], "minutes": minutes, "seed": seed}
    (out / "finetune.json").write_text(
        json.dumps(result | {"before": before, "after": after}, indent=1) + "\n"
    )
    console.print(f"Written: {out}. Use it with model:={out}")


def _spoken(scores: dict[str, dict[str, float]]) -> str:
    """Decibels over the best trivial at each horizon, in words."""
    return ", ".join(f"{value:+.2f} at {ahead}" for ahead, value in scores["over"].items())


def _usable(bags: list[Path], spec: ModelSpec, wanted: dict[str, str], console: Console) -> list[Episode]:
    """The recordings that can be trained on, each refused one with its reason; ValueError when none is left."""
    from sana_wm_ros.evaluation.bags import BadBag
    from sana_wm_ros.training.recordings import UnusableRecording, to_episode

    usable, refused = [], []
    for bag in bags:
        try:
            usable.append(to_episode(_read(bag, spec, wanted, console)))
        except (BadBag, UnusableRecording) as error:
            refused.append(str(error))
            console.print(f"[yellow]not used:[/yellow] {error}", soft_wrap=True)
    if not usable:
        raise ValueError(f"none of {len(bags)} recordings can be used: {'; '.join(refused)}")
    return usable


def _read(bag: Path, spec: ModelSpec, wanted: dict[str, str], console: Console) -> Recording:
    """A bag through the node's own observation buffer."""
    import numpy as np

    from sana_wm_ros.evaluation.drive import CameraGuess, read_drive
    from sana_wm_ros.training.recordings import Recording

    name = f"{bag.resolve().parent.name}/{bag.name}"
    read = read_drive(bag, spec, wanted=wanted, guess=CameraGuess())
    for note in read.notes:
        console.print(f"{name}: {note}", style="dim", soft_wrap=True)
    clearance_TK = None
    if read.measured is not None:
        rows = [read.measured.at(float(stamp)) for stamp in read.drive.stamps_T]
        nothing = np.full(spec.sectors, np.nan)
        clearance_TK = np.stack([nothing if row is None else row for row in rows])
    return Recording(
        name=name,
        frames_THWC=read.drive.frames_THWC,
        poses_T44=read.drive.poses_T44,
        intrinsics=read.drive.intrinsics,
        T_base_camera_44=read.T_base_camera_44,
        sectors=spec.sectors,
        clearance_TK=clearance_TK,
    )


def _compare(
    before: dict[str, dict[str, float]], after: dict[str, dict[str, float]], console: Console
) -> None:
    from rich.table import Table

    table = Table("held-out end, PSNR in dB", *before["model"], title_justify="left")
    for name in before:
        if name not in ("over",):
            table.add_row(f"{name}, before", *(f"{v:.1f}" for v in before[name].values()))
    for name in ("model", "autoencoder"):
        table.add_row(f"{name}, after", *(f"{v:.1f}" for v in after[name].values()))
    for title, scores in (("before", before), ("after", after)):
        table.add_row(f"over the best trivial, {title}", *(f"{v:+.2f}" for v in scores["over"].values()))
    console.print(table)
