"""The building seen from above: how far points are from its solids, and where rays meet them, exactly.

Boxes and circles on the floor, the same as MuJoCo's solids cut at a height. Dimension letters: P points,
R rays of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Rays = NDArray[np.float32]

_TINY = np.float32(1e-9)
_CHUNK_RAYS = 16_384
"""So many at a time stay in the processor's cache."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A box (half sizes along its own axes, turned by yaw) or a circle (``half[0]`` is the radius)."""

    kind: Literal["box", "circle"]
    center: tuple[float, float]
    half: tuple[float, float]
    yaw: float = 0.0

    @property
    def reach(self) -> float:
        """Radius of the circle around it."""
        return self.half[0] if self.kind == "circle" else math.hypot(*self.half)

    def distance(self, points_P2: FloatArray) -> FloatArray:
        """Metres (P,) from points to its edge, negative inside."""
        away_P2 = points_P2 - self.center
        if self.kind == "circle":
            return np.asarray(np.hypot(away_P2[:, 0], away_P2[:, 1]) - self.half[0])
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        along_P = np.abs(away_P2[:, 0] * cos + away_P2[:, 1] * sin) - self.half[0]
        across_P = np.abs(away_P2[:, 1] * cos - away_P2[:, 0] * sin) - self.half[1]
        outside_P = np.hypot(np.maximum(along_P, 0.0), np.maximum(across_P, 0.0))
        return np.asarray(outside_P + np.minimum(np.maximum(along_P, across_P), 0.0))

    def ranges(self, points_P2: Rays, fan: Fan) -> Rays:
        """Metres (P, R) from points outside along rays to where they enter it; inf where they miss."""
        x_P1 = points_P2[:, :1] - np.float32(self.center[0])
        y_P1 = points_P2[:, 1:] - np.float32(self.center[1])
        if self.kind == "circle":
            return circle_ranges(-x_P1, -y_P1, self.half[0], fan)
        if self.yaw != 0.0:
            cos, sin = np.float32(math.cos(self.yaw)), np.float32(math.sin(self.yaw))
            x_P1, y_P1 = x_P1 * cos + y_P1 * sin, y_P1 * cos - x_P1 * sin
            fan = Fan(fan.cos_PR * cos + fan.sin_PR * sin, fan.sin_PR * cos - fan.cos_PR * sin)
        middle_x, reach_x = x_P1 * -fan.per_x_PR, np.float32(self.half[0]) * np.abs(fan.per_x_PR)
        middle_y, reach_y = y_P1 * -fan.per_y_PR, np.float32(self.half[1]) * np.abs(fan.per_y_PR)
        near = np.maximum(middle_x - reach_x, middle_y - reach_y)
        missed = (near > np.minimum(middle_x + reach_x, middle_y + reach_y)) | (near < 0)
        near[missed] = np.inf
        return near


class Fan:
    """Directions of rays, and the way along each for a metre of x and of y."""

    def __init__(self, cos_PR: Rays, sin_PR: Rays) -> None:
        self.cos_PR, self.sin_PR = cos_PR, sin_PR

    @staticmethod
    def of_angles(angles_PR: FloatArray) -> Fan:
        """Rays at angles in the building's frame."""
        return Fan(np.cos(angles_PR).astype(np.float32), np.sin(angles_PR).astype(np.float32))

    @cached_property
    def per_x_PR(self) -> Rays:
        return 1 / np.where(np.abs(self.cos_PR) < _TINY, _TINY, self.cos_PR)

    @cached_property
    def per_y_PR(self) -> Rays:
        return 1 / np.where(np.abs(self.sin_PR) < _TINY, _TINY, self.sin_PR)


def circle_ranges(x_P1: Rays, y_P1: Rays, radius_m: float, fan: Fan) -> Rays:
    """Metres (P, R) along rays to a circle whose centre lies at (x, y) from their origins; inf: missed."""
    along_PR = x_P1 * fan.cos_PR + y_P1 * fan.sin_PR
    aside_PR = y_P1 * fan.cos_PR - x_P1 * fan.sin_PR
    under_PR = np.float32(radius_m * radius_m) - aside_PR * aside_PR
    entry_PR = along_PR - np.sqrt(np.maximum(under_PR, 0))
    return np.where((under_PR < 0) | (entry_PR < 0), np.float32(np.inf), entry_PR)


class Shapes:
    """All shapes of a floor."""

    def __init__(self, shapes: Iterable[Shape]) -> None:
        self.shapes: Sequence[Shape] = tuple(shapes)
        self._centers_S2 = np.array([shape.center for shape in self.shapes]).reshape(-1, 2)
        self._reach_S = np.array([shape.reach for shape in self.shapes])

    def distance(self, points_P2: FloatArray) -> FloatArray:
        """Metres (P,) from points to the nearest shape, negative inside one, inf where there is none."""
        nearest_P = np.full(len(points_P2), np.inf)
        for shape in self.shapes:
            np.minimum(nearest_P, shape.distance(points_P2), out=nearest_P)
        return nearest_P

    def ranges(self, points_P2: FloatArray, angles_PR: FloatArray, max_range_m: float) -> FloatArray:
        """Metres (P, R) from points along rays (angles in the building's frame) to the first shape.

        At most ``max_range_m``. Exact to float32 rounding (about a micrometre per metre).
        """
        step = max(1, _CHUNK_RAYS // angles_PR.shape[1])
        found_PR = np.empty(angles_PR.shape)
        for start in range(0, len(points_P2), step):
            rows = slice(start, start + step)
            found_PR[rows] = self._ranges(points_P2[rows], angles_PR[rows], max_range_m)
        return found_PR

    def _ranges(self, points_P2: FloatArray, angles_PR: FloatArray, max_range_m: float) -> Rays:
        """Nearest shapes first; what lies beyond every ray's hit so far needs no look."""
        fan = Fan.of_angles(angles_PR)
        found_PR = np.full(angles_PR.shape, max_range_m, np.float32)
        low_2, high_2 = points_P2.min(axis=0), points_P2.max(axis=0)
        outside_S2 = np.maximum(np.maximum(low_2 - self._centers_S2, self._centers_S2 - high_2), 0.0)
        away_S = np.hypot(outside_S2[:, 0], outside_S2[:, 1]) - self._reach_S
        points_P2 = points_P2.astype(np.float32)
        for count, index in enumerate(np.argsort(away_S, kind="stable")):
            if away_S[index] > max_range_m or (count % 8 == 0 and away_S[index] > found_PR.max()):
                break
            np.minimum(found_PR, self.shapes[index].ranges(points_P2, fan), out=found_PR)
        return found_PR
