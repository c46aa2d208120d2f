"""Record many drives on several processes, resumably, and write a card that says what is in the folder."""

from __future__ import annotations

import json
import multiprocessing
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from sana_wm_ros.simulation.drive import DriveConfig
from sana_wm_ros.simulation.recorder import SIMULATOR_VERSION, record_episode
from sana_wm_ros.training.episodes import (
    CARD,
    FORMAT_VERSION,
    FRAME_RATE_HZ,
    check_split,
    episode_path,
    split_of,
    write_episode,
)

Job = TypeVar("Job")
Done = TypeVar("Done")


class BadDataset(ValueError):
    """A folder that cannot be continued as asked."""


@dataclass(kw_only=True)
class Totals:
    """What a folder holds; broken: names of files that are no whole drives, which nobody counts or reads."""

    episodes: int = 0
    frames: int = 0
    open_loop: int = 0
    open_loop_with_contact: int = 0
    frames_in_contact: int = 0
    drivers: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    @property
    def hours(self) -> float:
        return self.frames / FRAME_RATE_HZ / 3600


def record_dataset(
    folder: Path,
    *,
    first_seed: int,
    episodes: int,
    config: DriveConfig,
    workers: int,
    on_episode: Callable[[int], None] = lambda seed: None,
) -> Totals:
    """Record the drives of consecutive seeds that the folder lacks, and bring its card up to date.

    Stopped half-way, the same call goes on where it was: a drive's file appears only when it is whole, and
    one that was cut off later (a full disk, a broken copy) is recorded again.
    Raises ``BadDataset`` when the folder was recorded with other settings, ``WrongSplit`` when the seeds are
    not of one split.
    """
    if episodes < 1 or workers < 1:
        raise ValueError(f"episodes and workers are at least 1, got {episodes} and {workers}")
    wanted = range(first_seed, first_seed + episodes)
    split = split_of(first_seed)
    check_split((wanted[-1],), split)
    folder.mkdir(parents=True, exist_ok=True)
    settings = _settings(config, split)
    _check_card(folder, settings)
    _write_card(folder, settings)
    missing = []
    for seed in wanted:
        if _is_whole(episode_path(folder, seed)):
            on_episode(seed)
        else:
            missing.append(seed)
    for seed in in_processes(_record, [(folder, seed, config) for seed in missing], workers):
        on_episode(seed)
    return _write_card(folder, settings)


def in_processes(work: Callable[[Job], Done], jobs: list[Job], workers: int) -> Iterator[Done]:
    """Do the jobs on several processes; what is done comes as it is done."""
    workers = min(workers, len(jobs))
    if workers <= 1:
        yield from map(work, jobs)
        return
    # spawned, not forked: a graphics context does not survive a fork
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(work, jobs)


def _record(job: tuple[Path, int, DriveConfig]) -> int:
    folder, seed, config = job
    write_episode(episode_path(folder, seed), record_episode(seed, config))
    return seed


def _is_whole(path: Path) -> bool:
    """Whether a file is there and ends as it should: a zip's table of contents stands at its end."""
    return path.exists() and zipfile.is_zipfile(path)


def _settings(config: DriveConfig, split: str) -> dict[str, object]:
    return {
        "format_version": FORMAT_VERSION,
        "simulator_version": SIMULATOR_VERSION,
        "split": split,
        "config": asdict(config),
    }


def _check_card(folder: Path, settings: dict[str, object]) -> None:
    path = folder / CARD
    if not path.exists():
        return
    card = yaml.safe_load(path.read_text())
    for name, value in settings.items():
        if not isinstance(card, dict) or card.get(name) != value:
            said = card.get(name) if isinstance(card, dict) else card
            raise BadDataset(
                f"{path}: recorded with {name} {said}, asked to go on with {value}; "
                "use another folder or the same settings"
            )


def _write_card(folder: Path, settings: dict[str, object]) -> Totals:
    """Count what the folder holds and write it down."""
    totals, seeds = Totals(), []
    for path in sorted(folder.glob("episode_*.npz")):
        if path.name.endswith(".tmp.npz"):
            continue
        try:
            with np.load(path, allow_pickle=False) as file:  # frames stay unread
                meta, contact_T = json.loads(str(file["meta"])), file["contact_T"]
        except Exception:  # a truncated zip raises half a dozen unrelated types
            totals.broken.append(path.name)
            continue
        seeds.append(int(meta["seed"]))
        _count(totals, meta, contact_T)
    card = settings | {
        "frame_rate_hz": FRAME_RATE_HZ,
        "seeds": {"first": min(seeds, default=None), "last": max(seeds, default=None), "count": len(seeds)},
        "episodes": totals.episodes,
        "hours": round(totals.hours, 3),
        "frames": totals.frames,
        "frames_in_contact": totals.frames_in_contact,
        "open_loop": totals.open_loop,
        "open_loop_with_contact": totals.open_loop_with_contact,
        "drivers": dict(sorted(totals.drivers.items())),
    }
    beside = folder / f"{CARD}.tmp"
    beside.write_text(yaml.safe_dump(card, sort_keys=False))
    beside.replace(folder / CARD)
    return totals


def _count(totals: Totals, meta: dict[str, Any], contact_T: np.ndarray) -> None:
    totals.episodes += 1
    totals.frames += len(contact_T)
    totals.frames_in_contact += int(contact_T.sum())
    totals.open_loop += bool(meta["open_loop"])
    totals.open_loop_with_contact += bool(meta["open_loop"] and contact_T.any())
    totals.drivers[meta["driver"]] += 1
