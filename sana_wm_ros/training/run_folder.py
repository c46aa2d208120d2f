"""A training run on disk: its settings, its newest whole state, its measurements and their curves."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml


class BadRun(ValueError):
    """A run folder that can't be gone on with; the message says why and what to do."""


def _agree(stored: Any, asked: Any) -> bool:
    """Whether settings are the same, but for those that came later and the stored ones do not know."""
    if isinstance(stored, dict) and isinstance(asked, dict):
        return all(name in asked and _agree(value, asked[name]) for name, value in stored.items())
    return bool(stored == asked)


@dataclass
class RunFolder:
    """``config.yaml``, ``state.pt`` (renamed into place whole), ``metrics.jsonl`` and ``curves.png``."""

    path: Path
    tensorboard: bool = True
    _writer: Any = field(default=None, repr=False)

    @classmethod
    def open(cls, path: Path, config: dict[str, Any], *, tensorboard: bool = True) -> RunFolder:
        """Make the folder, or open it when it holds a run with the same settings."""
        path.mkdir(parents=True, exist_ok=True)
        config = json.loads(json.dumps(config))  # tuples become lists, as they will when read back
        file = path / "config.yaml"
        if file.exists():
            stored = yaml.safe_load(file.read_text())
            differing = sorted(k for k in {*stored, *config} if not _agree(stored.get(k), config.get(k)))
            if differing:
                raise BadRun(
                    f"{path} holds a run with other settings ({', '.join(differing)}); choose another --out"
                )
        else:
            file.write_text(yaml.safe_dump(config, sort_keys=False))
        return cls(path=path, tensorboard=tensorboard)

    def config(self) -> dict[str, Any]:
        """The settings that the run was begun with."""
        stored: dict[str, Any] = yaml.safe_load((self.path / "config.yaml").read_text())
        return stored

    def load(self) -> dict[str, Any] | None:
        """The newest state, or None in a new run."""
        file = self.path / "state.pt"
        if not file.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise BadRun(f"{file} can't be read ({error}); delete it to start again") from error
        return state

    def save(self, state: dict[str, Any]) -> None:
        """Replace the state; a reader (or a crash) never sees half of it."""
        beside = self.path / "state.tmp"
        torch.save(state, beside)
        os.replace(beside, self.path / "state.pt")

    def log(self, step: int, values: dict[str, float], *, kind: str = "train") -> None:
        """Append one line of measurements."""
        row = {"step": step, "kind": kind, "time": round(time.time(), 1), **values}
        with (self.path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self.tensorboard and self._writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter

                self._writer = SummaryWriter(str(self.path / "tensorboard"))
            except ImportError:
                self.tensorboard = False
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(f"{kind}/{name}", value, step)

    def rows(self) -> list[dict[str, Any]]:
        """All measurements so far."""
        file = self.path / "metrics.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def draw_curves(self) -> Path:
        """Draw every measurement over the steps into ``curves.png``."""
        from matplotlib.figure import Figure

        rows = self.rows()
        hidden = ("step", "kind", "time")
        names = list(dict.fromkeys(name for row in rows for name in row if name not in hidden))
        figure = Figure(figsize=(12, 2.2 * ((len(names) + 2) // 3)), layout="constrained")
        for index, name in enumerate(names):
            axes = figure.add_subplot((len(names) + 2) // 3, 3, index + 1)
            for kind in dict.fromkeys(row["kind"] for row in rows):
                points = [(row["step"], row[name]) for row in rows if row["kind"] == kind and name in row]
                if points:
                    axes.plot(*zip(*points, strict=True), label=kind, linewidth=1)
            axes.set_title(name, fontsize=9)
            axes.grid(alpha=0.3)
        figure.savefig(self.path / "curves.png", dpi=80)
        return self.path / "curves.png"
