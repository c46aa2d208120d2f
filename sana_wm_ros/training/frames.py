"""Frame groups for the autoencoder: a pool drawn from recorded drives, renewed while new ones come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sana_wm_ros.training.episodes import BadEpisode, Episode, read_episode


class NoEpisodes(ValueError):
    """A data folder without a single usable drive."""


def list_episodes(folders: list[Path]) -> list[Path]:
    """All drives in the folders, in the order of their names; ``NoEpisodes`` when there is none."""
    for folder in folders:
        if not folder.is_dir():
            raise NoEpisodes(
                f"{folder} is not a folder; expected recorded drives (*.npz, see `sana_wm record-sim`)"
            )
    paths = sorted(p for folder in folders for p in folder.rglob("*.npz") if not p.name.endswith(".tmp.npz"))
    if not paths:
        raise NoEpisodes(f"no drives (*.npz) in {', '.join(map(str, folders))}; record some first")
    return paths


def groups_of(episode: Episode, per_group: int) -> Tensor:
    """All whole groups of a drive, uint8 (F, R, H, W, 3): the first frame repeated, then four by four."""
    frames = torch.from_numpy(episode.frames_THWC)
    whole = 1 + (len(frames) - 1) // per_group * per_group
    padded = torch.cat([frames[:1].expand(per_group - 1, -1, -1, -1), frames[:whole]])
    return padded.unflatten(0, (-1, per_group))


class GroupPool:
    """Random groups of many drives in memory, slowly exchanged for those of others.

    Slot ``n % slots`` holds draw ``n``, and draw and batch depend on the seed and their number alone: what
    step 1000 sees is the same after a restart (as long as the folders hold the same drives). ``on_bad`` is told,
    once each, which drives were drawn but can't be used, and why; others are drawn in their place.
    """

    def __init__(
        self,
        folders: list[Path],
        *,
        per_group: int,
        slots: int,
        per_drive: int,
        steps_per_draw: int,
        seed: int,
        on_bad: Callable[[BadEpisode], None] | None = None,
    ) -> None:
        self.folders = folders
        self.per_group = per_group
        self.per_drive = per_drive
        self.steps_per_draw = steps_per_draw
        self.seed = seed
        self.on_bad = on_bad
        self._bad: set[Path] = set()
        self._slots: list[Tensor | None] = [None] * slots
        self._draws = 0

    def batch(self, step: int, size: int) -> Tensor:
        """The groups of a step, uint8 (size, R, H, W, 3)."""
        slots = len(self._slots)
        wanted = slots + step // self.steps_per_draw
        for number in range(max(self._draws, wanted - slots), wanted):
            self._slots[number % slots] = self._draw(number)
        self._draws = wanted
        random = np.random.default_rng((self.seed, 0, step))
        drives = [slot for slot in self._slots if slot is not None]
        chosen = [drives[i] for i in random.integers(len(drives), size=size)]
        return torch.stack([groups[int(random.integers(len(groups)))] for groups in chosen])

    def _draw(self, number: int) -> Tensor:
        random = np.random.default_rng((self.seed, 1, number))
        paths = list_episodes(self.folders)
        last: BadEpisode | None = None
        for _ in range(50):
            path = paths[int(random.integers(len(paths)))]
            try:
                groups = groups_of(read_episode(path), self.per_group)
            except BadEpisode as error:
                last = error
                if self.on_bad is not None and path not in self._bad:
                    self.on_bad(error)
                self._bad.add(path)
                continue
            chosen = random.choice(len(groups), min(self.per_drive, len(groups)), replace=False)
            return groups[torch.from_numpy(np.sort(chosen))].clone()
        raise NoEpisodes(f"50 drives in a row could not be read; the last: {last}")
