"""Drives of navigation trials on disk, a small file each: a run that was cut short goes on, and processes share one.

Dimension letters: P points of a path.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.simulation.trial_figures import row
from sana_wm_ros.simulation.trials import TICK_S, Ending, Trial

_EVERY_TICKS = 4
POINTS_PER_S = 1 / (TICK_S * _EVERY_TICKS)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One drive: its figures as in the result file, and its true poses, ``POINTS_PER_S`` and the last one."""

    row: dict[str, Any]
    path_P3: NDArray[np.float64]

    @staticmethod
    def of(trial: Trial, ending: Ending) -> Run:
        """What is kept of a drive."""
        path = np.concatenate([ending.path_T3[:-1:_EVERY_TICKS], ending.path_T3[-1:]])
        return Run(row=row(trial, ending), path_P3=path.round(3))

    @property
    def badness(self) -> float:
        """For "the worst": hard contact above all, then how far from the goal it ended."""
        return float(self.row["end_distance_m"]) + (100.0 if self.row["hard_contact"] else 0.0)


class TrialStore:
    """A folder of drives, all with the same ``settings``.

    Raises ``ValueError`` for a folder whose drives were made with others: figures of both would not compare.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        about, wanted = folder / "settings.json", json.loads(json.dumps(dict(settings)))
        if about.exists():
            known = json.loads(about.read_text(encoding="utf-8"))
            differing = [key for key in sorted({*known, *wanted}) if known.get(key) != wanted.get(key)]
            if differing:
                was = ", ".join(f"{key} = {known.get(key)!r} (now {wanted.get(key)!r})" for key in differing)
                raise ValueError(f"{folder} holds drives with {was}; name another folder, or delete it")
        else:
            _write(about, wanted)

    def has(self, seed: int, group: str) -> bool:
        """Whether this drive was made."""
        return self._file(seed, group).exists()

    def put(self, seed: int, group: str, run: Run) -> None:
        """Keep a drive."""
        _write(self._file(seed, group), {"group": group, "row": run.row, "path": run.path_P3.tolist()})

    def runs(self) -> dict[str, dict[int, Run]]:
        """Every drive so far by group and seed, seeds in order."""
        found: dict[str, dict[int, Run]] = {}
        for file in sorted(self._folder.glob("*_*.json")):
            data = json.loads(file.read_text(encoding="utf-8"))
            run = Run(row=data["row"], path_P3=np.array(data["path"], dtype=np.float64))
            found.setdefault(data["group"], {})[run.row["seed"]] = run
        return found

    def note_no_goal(self, seed: int) -> None:
        """The building of this seed has no goal that fits."""
        _write(self._folder / f"{seed}.json", {"goal": None})

    def has_no_goal(self, seed: int) -> bool:
        """Whether that is known."""
        return (self._folder / f"{seed}.json").exists()

    def _file(self, seed: int, group: str) -> Path:
        return self._folder / f"{seed}_{group.replace(', ', '-').replace(' ', '.')}.json"


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """At once, so that nobody reads half of it."""
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(json.dumps(content), encoding="utf-8")
    part.replace(path)
