"""Furniture: pieces with a plain footprint that the robot can run into, dressed so that each is known again.

What stands above the robot or sticks out by a centimetre is for looks alone and never touches anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sana_wm_ros.simulation.floor_plan import Solid
from sana_wm_ros.simulation.patterns import Rgb

_PROUD_M = 0.01
"""How far decoration stands out of a surface: enough for the depth buffer."""
_WOODS: tuple[Rgb, ...] = ((0.55, 0.38, 0.22), (0.72, 0.55, 0.35), (0.35, 0.24, 0.16), (0.8, 0.72, 0.6))
_LEAVES: tuple[Rgb, ...] = ((0.16, 0.38, 0.16), (0.28, 0.5, 0.2), (0.4, 0.52, 0.24))


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where a piece stands: centre, turned by yaw; its back is at local -y (against the wall, if any)."""

    x: float
    y: float
    yaw: float
    half: tuple[float, float]

    def box(
        self,
        offset: tuple[float, float],
        half: tuple[float, float],
        z: tuple[float, float],
        rgb: Rgb,
        kind: str = "furniture",
    ) -> Solid:
        """A box at an offset in the piece's own axes, from a height to another."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        x = self.x + cos * offset[0] - sin * offset[1]
        y = self.y + sin * offset[0] + cos * offset[1]
        size = (half[0], half[1], (z[1] - z[0]) / 2)
        center = (x, y, (z[0] + z[1]) / 2)
        return Solid(shape="box", center=center, half=size, rgb=rgb, yaw=self.yaw, kind=kind)

    def round(self, radius: float, z: tuple[float, float], rgb: Rgb, kind: str = "furniture") -> Solid:
        """An upright cylinder in its middle."""
        size = (radius, radius, (z[1] - z[0]) / 2)
        center = (self.x, self.y, (z[0] + z[1]) / 2)
        return Solid(shape="cylinder", center=center, half=size, rgb=rgb, kind=kind)


def shelf(spot: Spot, rgb: Rgb, rng: np.random.Generator) -> list[Solid]:
    """A tall case with rows of books or boxes in front."""
    height = rng.uniform(1.3, 1.9)
    parts = [spot.box((0.0, 0.0), spot.half, (0.0, height), rgb)]
    rows = int(rng.integers(2, 5))
    step = height / rows
    front, width = spot.half[1], spot.half[0] - 0.04
    for row in range(rows):
        split = rng.uniform(-0.5, 0.5) * width
        low, high = row * step + 0.06, row * step + 0.06 + rng.uniform(0.5, 0.8) * step
        for left, right in ((-width, split - 0.01), (split + 0.01, width)):
            middle, half = (left + right) / 2, (right - left) / 2
            colour = _tone(rng)
            parts.append(spot.box((middle, front), (half, _PROUD_M), (low, high), colour, "decor"))
    return parts


def cabinet(spot: Spot, rgb: Rgb, rng: np.random.Generator) -> list[Solid]:
    """A low cupboard with two doors, a top, and sometimes something on it."""
    height = rng.uniform(0.55, 0.95)
    wood = _WOODS[int(rng.integers(len(_WOODS)))]
    parts = [
        spot.box((0.0, 0.0), spot.half, (0.0, height), rgb),
        spot.box(
            (0.0, 0.0), (spot.half[0] + 0.01, spot.half[1] + 0.01), (height, height + 0.03), wood, "decor"
        ),
    ]
    door = spot.half[0] / 2 - 0.025
    for side in (-1, 1):
        middle = side * spot.half[0] / 2
        doors = (0.06, height - 0.05)
        parts.append(spot.box((middle, spot.half[1]), (door, _PROUD_M), doors, _shaded(rgb, 0.8), "decor"))
    if rng.random() < 0.5:
        lamp = (rng.uniform(-0.5, 0.5) * spot.half[0], 0.0)
        parts.append(spot.box(lamp, (0.09, 0.09), (height + 0.03, height + 0.35), _tone(rng), "decor"))
    return parts


def sofa(spot: Spot, rgb: Rgb, rng: np.random.Generator) -> list[Solid]:
    """A seat, a back along the wall and two cushions."""
    seat, back = 0.42, rng.uniform(0.7, 0.85)
    depth = spot.half[1]
    parts = [
        spot.box((0.0, 0.0), spot.half, (0.0, seat), rgb),
        spot.box((0.0, -depth + 0.07), (spot.half[0], 0.07), (seat, back), _shaded(rgb, 0.85), "decor"),
    ]
    for side in (-1, 1):
        end = (side * (spot.half[0] - 0.05), 0.0)
        parts.append(spot.box(end, (0.05, depth), (seat, seat + 0.14), _shaded(rgb, 0.9), "decor"))
    cushion = (rng.uniform(-0.5, 0.5) * spot.half[0], -depth + 0.18)
    parts.append(spot.box(cushion, (0.12, 0.04), (seat, seat + 0.22), _tone(rng), "decor"))
    return parts


def crate(spot: Spot, rgb: Rgb, rng: np.random.Generator) -> list[Solid]:
    """A plain box, or two stacked ones, with a band around."""
    height = rng.uniform(0.5, 0.8)
    parts = [spot.box((0.0, 0.0), spot.half, (0.0, height), rgb)]
    band = (0.4 * height, 0.55 * height)
    around = (spot.half[0] + _PROUD_M, spot.half[1] + _PROUD_M)
    parts.append(spot.box((0.0, 0.0), around, band, _tone(rng), "decor"))
    if rng.random() < 0.5:
        half = (0.7 * spot.half[0], 0.8 * spot.half[1])
        parts.append(
            spot.box((0.0, 0.0), half, (height, height + rng.uniform(0.3, 0.5)), _tone(rng), "decor")
        )
    return parts


def plant(spot: Spot, rgb: Rgb, rng: np.random.Generator) -> list[Solid]:
    """A pot with leaves above it."""
    leaves = _LEAVES[int(rng.integers(len(_LEAVES)))]
    radius, pot, top = spot.half[0], 0.48, rng.uniform(1.0, 1.5)
    crown = min(0.34, 1.3 * radius)
    ball = Solid(
        shape="ball",
        center=(spot.x, spot.y, (pot + top) / 2 + 0.1),
        half=(crown, crown, (top - pot) / 2),
        rgb=leaves,
        kind="decor",
    )
    return [
        spot.round(radius, (0.0, pot), rgb),
        spot.round(0.04, (pot, pot + 0.25), (0.35, 0.25, 0.15), "decor"),
        ball,
    ]


def column(spot: Spot, rgb: Rgb, rng: np.random.Generator) -> list[Solid]:
    """A round column with a coloured band: a landmark that looks the same from all sides."""
    height = rng.uniform(1.2, 2.2)
    low = rng.uniform(0.3, 0.7)
    band = spot.round(spot.half[0] + _PROUD_M, (low, low + 0.25), _tone(rng), "decor")
    return [spot.round(spot.half[0], (0.0, height), rgb), band]


BOXES = (shelf, cabinet, sofa, crate)
ROUND = (plant, column)


def _tone(rng: np.random.Generator) -> Rgb:
    """Any colour that is neither neon nor black."""
    red, green, blue = (float(value) for value in rng.uniform(0.15, 0.9, 3))
    return red, green, blue


def _shaded(rgb: Rgb, factor: float) -> Rgb:
    red, green, blue = (value * factor for value in rgb)
    return red, green, blue
