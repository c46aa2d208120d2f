"""Record many drives on several processes, resumably, and write a card that says what is in the folder."""

from __future__ import annotations

import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import yaml

from sana_wm_ros.simulation.drive import DriveConfig
from sana_wm_ros.simulation.recorder import record_episode
from sana_wm_ros.training.episodes import FRAME_RATE_HZ, write_episode

CARD = "dataset.yaml"
SIMULATOR_VERSION = 2
"""Raised whenever the same seed would give another drive."""


class BadDataset(ValueError):
    """A folder that cannot be continued as asked."""


@dataclass(kw_only=True)
class Totals:
    """What a folder holds."""

    episodes: int = 0
    frames: int = 0
    open_loop: int = 0
    open_loop_with_contact: int = 0
    frames_in_contact: int = 0
    drivers: Counter[str] = field(default_factory=Counter)

    @property
    def hours(self) -> float:
        return self.frames / FRAME_RATE_HZ / 3600


def episode_path(folder: Path, seed: int) -> Path:
    """Where the drive of a seed lies."""
    return folder / f"episode_{seed:07d}.npz"


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

    Stopped half-way, the same call goes on where it was: a drive's file appears only when it is whole.
    Raises ``BadDataset`` when the folder was recorded with other settings.
    """
    if episodes < 1 or workers < 1:
        raise ValueError(f"episodes and workers are at least 1, got {episodes} and {workers}")
    folder.mkdir(parents=True, exist_ok=True)
    _check_card(folder, config)
    _write_card(folder, config)
    wanted = range(first_seed, first_seed + episodes)
    missing = [seed for seed in wanted if not episode_path(folder, seed).exists()]
    for seed in wanted:
        if episode_path(folder, seed).exists():
            on_episode(seed)
    for seed in _each_recorded(folder, missing, config, min(workers, max(1, len(missing)))):
        on_episode(seed)
    return _write_card(folder, config)


def _each_recorded(folder: Path, seeds: list[int], config: DriveConfig, workers: int) -> Iterator[int]:
    jobs = [(folder, seed, config) for seed in seeds]
    if workers == 1:
        yield from map(_record, jobs)
        return
    # spawned, not forked: a graphics context does not survive a fork
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap_unordered(_record, jobs)


def _record(job: tuple[Path, int, DriveConfig]) -> int:
    folder, seed, config = job
    write_episode(episode_path(folder, seed), record_episode(seed, config))
    return seed


def _settings(config: DriveConfig) -> dict[str, object]:
    return {"simulator_version": SIMULATOR_VERSION, "config": asdict(config)}


def _check_card(folder: Path, config: DriveConfig) -> None:
    path = folder / CARD
    if not path.exists():
        return
    card = yaml.safe_load(path.read_text())
    for name, value in _settings(config).items():
        if card.get(name) != value:
            raise BadDataset(
                f"{path}: recorded with {name} {card.get(name)}, asked to go on with {value}; "
                "use another folder or the same settings"
            )


def _write_card(folder: Path, config: DriveConfig) -> Totals:
    """Count what the folder holds and write it down."""
    totals, seeds = Totals(), []
    for path in sorted(folder.glob("episode_*.npz")):
        if path.name.endswith(".tmp.npz"):
            continue
        with np.load(path, allow_pickle=False) as file:  # frames stay unread
            meta, contact_T = json.loads(str(file["meta"])), file["contact_T"]
        seeds.append(int(meta["seed"]))
        totals.episodes += 1
        totals.frames += len(contact_T)
        totals.frames_in_contact += int(contact_T.sum())
        totals.open_loop += bool(meta["open_loop"])
        totals.open_loop_with_contact += bool(meta["open_loop"] and contact_T.any())
        totals.drivers[meta["driver"]] += 1
    card = _settings(config) | {
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
