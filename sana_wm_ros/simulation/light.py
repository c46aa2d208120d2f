"""The light of a building, and how it changes: steady, dimmed by passing clouds, or a lamp that is switched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sana_wm_ros.simulation.patterns import Rgb

_DEPTH = {"lab": (0.08, 0.2), "varied": (0.15, 0.4)}
_STEADY = {"lab": 0.7, "varied": 0.4}


@dataclass(frozen=True, kw_only=True)
class Light:
    """One far lamp and what the walls give back. depth: the share that clouds or the switch take away."""

    direction: tuple[float, float, float] = (0.45, 0.25, -0.85)
    ambient: Rgb = (0.7, 0.7, 0.7)
    diffuse: Rgb = (0.4, 0.4, 0.4)
    change: Literal["steady", "clouds", "switch"] = "steady"
    depth: float = 0.0
    period_s: float = 30.0
    begin_s: float = 0.0

    def brightness(self, time_s: float) -> float:
        """1 is full."""
        if self.change == "steady":
            return 1.0
        wave = math.cos(2 * math.pi * (time_s + self.begin_s) / self.period_s)
        taken = (0.5 - 0.5 * wave) if self.change == "clouds" else float(wave < 0.0)
        return 1.0 - self.depth * taken


def draw_light(family: str, rng: np.random.Generator) -> Light:
    """A little warmer or colder, brighter or darker in every building."""
    aim = rng.uniform(0.0, 2 * math.pi)
    lean = rng.uniform(0.4, 0.65)
    ambient, diffuse, warm = rng.uniform(0.62, 0.74), rng.uniform(0.34, 0.46), rng.uniform(-0.05, 0.05)
    steady = rng.random() < _STEADY[family]
    moving: Literal["clouds", "switch"] = "clouds" if rng.random() < 0.7 else "switch"
    return Light(
        direction=(lean * math.cos(aim), lean * math.sin(aim), -0.85),
        ambient=(ambient * (1 + warm), ambient, ambient * (1 - warm)),
        diffuse=(diffuse * (1 + warm), diffuse, diffuse * (1 - warm)),
        change="steady" if steady else moving,
        depth=float(rng.uniform(*_DEPTH[family])),
        period_s=float(rng.uniform(12.0, 50.0)),
        begin_s=float(rng.uniform(0.0, 50.0)),
    )
