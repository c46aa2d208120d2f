"""``sana_wm benchmark model``: how good a model's imagination is, on drives that it never saw."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sana_wm_ros.training.episodes import Episode
    from sana_wm_ros.world_model.model import NavigationModel
    from sana_wm_ros.world_model.protocol import WorldModel


class Split(str, Enum):
    """Which seeds; those of the test split serve only what is published."""

    validation = "validation"
    test = "test"


_FIRST_SEED = {Split.validation: 900_000, Split.test: 1_000_000}
_KINDS = (("tour", 100.5, 1.25, 0), ("revisit", 100.5, 1.25, 20_000), ("bump", 60.5, 2.0, 40_000))
"""Driver, seconds, drives per drive asked for (some touch something and are passed over), offset of its seeds."""


def model_quality(
    model: Annotated[Path, typer.Option(help="Model folder, or a training's run folder.")] = Path(
        "models/nano"
    ),
    family: Annotated[str, typer.Option(help="Kind of buildings: lab or varied.")] = "lab",
    split: Annotated[Split, typer.Option(help="Seeds: validation while working, test for what is said.")] = (
        Split.validation
    ),
    drives: Annotated[
        int, typer.Option(min=2, help="Drives for pictures; contact takes twice as many.")
    ] = 24,
    data: Annotated[Path, typer.Option(help="Where drives lie; what is missing is recorded.")] = Path(
        "data/quality"
    ),
    seen_s: Annotated[float, typer.Option(min=1.0, help="Seconds seen before imagination begins.")] = 30.0,
    ahead_s: Annotated[float, typer.Option(min=10.0, help="Seconds imagined.")] = 60.0,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps; none: the model's own.")] = None,
    memory_s: Annotated[
        float | None, typer.Option(min=0.5, help="Ablation: only so many seconds are seen.")
    ] = None,
    keyframes: Annotated[
        bool, typer.Option("--keyframes/--no-keyframes", help="Ablation: without keyframe memory and guide.")
    ] = True,
    window: Annotated[
        int | None, typer.Option(min=1, help="Ablation: latent frames that exact attention looks back.")
    ] = None,
    contact: Annotated[bool, typer.Option("--contact/--no-contact", help="Measure contact, too.")] = True,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder for the result file.")] = Path("benchmarks/results"),
) -> None:
    """Pictures, memory, ranges and contact against honest baselines and the goals, with film strips."""
    import torch
    from rich.console import Console

    from sana_wm_ros.cli import benchmark as shared
    from sana_wm_ros.evaluation.lpips import shift_tolerant_lpips
    from sana_wm_ros.training.drive_check import BASELINES, Ablation
    from sana_wm_ros.training.quality import judged
    from sana_wm_ros.training.validation import draw_film_strips, validate

    console = Console()
    load = shared.refuse_load(force=True)  # nothing here is timed
    torch.set_num_threads(threads)
    ablation = Ablation(steps=steps, memory_s=memory_s, keyframes=keyframes, window=window)
    whole, training = opened(model)
    loaded = ablation.of(whole)
    lpips = shift_tolerant_lpips()
    if lpips is None:
        console.print("no ST-LPIPS: pip install stlpips-pytorch, which brings its weights")
    folders = _recorded(data / f"{family}_{split.value}", family, split, drives, console)
    with shared.progress_bar(console) as bar:
        task = bar.add_task(f"imagining {drives} drives", total=1.0)
        results, films = validate(
            loaded,
            folders[:2],
            contact=folders[2:],
            drives=drives,
            seen=1 + round(seen_s / loaded.spec.latent_period_s),
            ahead_s=ahead_s,
            contact_drives=2 * drives if contact else 0,
            ablation=ablation,
            oracle=true_world,
            perceptual=lpips,
            progress=lambda done: bar.update(task, completed=done),
        )
    if lpips is not None:
        results["perceptual"]["metric"] = lpips.name
    results["goals"] = judged(results, model.name)
    taken = {name: value for name, value in vars(ablation).items() if value != getattr(Ablation(), name)}
    name = "_".join(["quality", model.name, family, split.value, *(f"{k}_{v:g}" for k, v in taken.items())])
    settings = {"model": str(model), "family": family, "split": split.value, "drives": drives}
    settings |= {"seen_s": seen_s, "ahead_s": ahead_s, **vars(ablation)}
    settings |= {"training": training} if training else {}
    path = shared.keep(name, results=results, settings=settings, load=load, out=out)
    draw_film_strips(films, path.with_suffix(".png"))
    rows = {}
    for row in results["goals"]:
        said = "not measured" if row["value"] is None else f"{row['value']:.2f} {row['unit']}".strip()
        mark = {True: "met", False: "missed", None: ""}[row["met"]]
        rows[row["measure"]] = f"{said:>12}  goal {row['goal']:g}  {mark}"
    if lpips is not None:
        looks = results["perceptual"]
        for at, seconds in enumerate(looks["horizons_s"]):
            others = min(looks[name][at] for name in BASELINES)
            rows[f"{lpips.name} at {seconds:g} s"] = f"{looks['model'][at]:>12.2f}  best trivial {others:.2f}"
    shared.show(
        console, f"{model.name}, {family}, {split.value} seeds, {results['drives']} drives", rows, path
    )


def opened(place: Path) -> tuple[NavigationModel, dict[str, object]]:
    """A model, and facts about its training where ``place`` is that training's run folder."""
    from sana_wm_ros.training.export import kept_autoencoder, model_of_run
    from sana_wm_ros.world_model.checkpoint import load_model

    return (load_model(place), {}) if kept_autoencoder(place) is None else model_of_run(place)


def true_world(episode: Episode) -> WorldModel:
    """The truth of the building that a drive was recorded in."""
    from sana_wm_ros.planning.types import Robot
    from sana_wm_ros.simulation.drive import DriveConfig, draw_scene
    from sana_wm_ros.simulation.world_model import SimulatorWorldModel

    height, width = episode.frames_THWC.shape[1:3]
    scene = draw_scene(episode.seed, DriveConfig(family=episode.family, width=width, height=height))
    return SimulatorWorldModel(scene.plan, robot=Robot(), camera=scene.camera)


def _recorded(folder: Path, family: str, split: Split, drives: int, console: Console) -> list[Path]:
    """One folder of drives per kind, recorded where they are missing."""
    from sana_wm_ros.cli import benchmark as shared
    from sana_wm_ros.simulation.dataset import record_dataset
    from sana_wm_ros.simulation.drive import DriveConfig

    folders = []
    with shared.progress_bar(console) as bar:
        for driver, seconds, factor, offset in _KINDS:
            count = round(factor * drives)
            task = bar.add_task(f"{driver} drives", total=count)
            record_dataset(
                folder / driver,
                first_seed=_FIRST_SEED[split] + offset,
                episodes=count,
                # Slipping wheels would leave the commanded way within the minute that is compared.
                config=DriveConfig(
                    family=family, seconds=seconds, driver=driver, open_loop=True, obeys=driver != "bump"
                ),
                workers=1,
                on_episode=lambda seed, task=task: bar.advance(task),
            )
            folders.append(folder / driver)
    return folders
