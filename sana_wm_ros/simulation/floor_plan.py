"""A building as plain data: rooms, doors and solids; everything else in the simulator is made from it.

Metres, radians; x and y span the floor, z is up, the floor's surface is z = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.simulation.light import Light
from sana_wm_ros.simulation.movers import Mover
from sana_wm_ros.simulation.patterns import Rgb, Texture
from sana_wm_ros.simulation.shapes import Shape, Shapes

FloatArray = NDArray[np.float64]

WALL_HEIGHT_M = 2.4
DOOR_HEIGHT_M = 2.0
WALL_THICKNESS_M = 0.06
"""Of each room's own side: the wall between two rooms is twice as thick."""
ROBOT_HEIGHT_M = 0.45


@dataclass(frozen=True, kw_only=True)
class Rect:
    """An axis-aligned rectangle on the floor."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def depth(self) -> float:
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        return self.width * self.depth

    @property
    def center(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def contains(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether a point lies inside and at least ``margin`` from the rim."""
        inside_x = self.x0 + margin <= x <= self.x1 - margin
        return inside_x and self.y0 + margin <= y <= self.y1 - margin


@dataclass(frozen=True, kw_only=True)
class Door:
    """An opening between two rooms (indices): ``low`` to ``high`` in the wall along ``axis`` at ``at``."""

    rooms: tuple[int, int]
    axis: Literal["x", "y"]
    at: float
    low: float
    high: float

    @property
    def center(self) -> tuple[float, float]:
        middle = (self.low + self.high) / 2
        return (middle, self.at) if self.axis == "x" else (self.at, middle)


@dataclass(frozen=True, kw_only=True)
class Solid:
    """A box (half sizes, turned by yaw), an upright cylinder (radius, radius, half height) or a ball (the same).

    Kind "decor" is for looks: nothing runs into it.
    ``texture`` names a picture of the family ``varied``; None is plain colour.
    """

    shape: Literal["box", "cylinder", "ball"]
    center: tuple[float, float, float]
    half: tuple[float, float, float]
    rgb: Rgb
    yaw: float = 0.0
    kind: str = "wall"
    texture: str | None = None

    @property
    def blocks(self) -> bool:
        """Whether the robot can run into it."""
        bottom, top = self.center[2] - self.half[2], self.center[2] + self.half[2]
        return self.kind != "decor" and bottom < ROBOT_HEIGHT_M and top > 0.0

    def spans(self, z: float) -> bool:
        """Whether a level plane at a height cuts it, as a scanner's beams do."""
        return self.kind != "decor" and abs(z - self.center[2]) <= self.half[2]

    @property
    def outline(self) -> Shape:
        """It from above."""
        if self.shape != "box":
            return Shape(kind="circle", center=self.center[:2], half=self.half[:2])
        quarters = self.yaw / (math.pi / 2)
        if abs(quarters - round(quarters)) < 1e-12:  # square to the axes, which is quicker to meet with rays
            half = self.half[:2] if round(quarters) % 2 == 0 else (self.half[1], self.half[0])
            return Shape(kind="box", center=self.center[:2], half=half)
        return Shape(kind="box", center=self.center[:2], half=self.half[:2], yaw=self.yaw)


@dataclass(frozen=True, kw_only=True)
class FloorPlan:
    """A whole building. ``floors`` is one colour per room; ``floor_textures`` too, or empty."""

    seed: int
    family: str
    rooms: tuple[Rect, ...]
    doors: tuple[Door, ...]
    solids: tuple[Solid, ...]
    floors: tuple[Rgb, ...]
    ceiling: Rgb
    textures: tuple[Texture, ...] = ()
    floor_textures: tuple[str, ...] = ()
    movers: tuple[Mover, ...] = ()
    light: Light = field(default_factory=Light)

    @property
    def bounds(self) -> Rect:
        return Rect(
            x0=min(room.x0 for room in self.rooms),
            y0=min(room.y0 for room in self.rooms),
            x1=max(room.x1 for room in self.rooms),
            y1=max(room.y1 for room in self.rooms),
        )

    def room_of(self, x: float, y: float) -> int | None:
        """The index of the room that holds a point, or None outside the building."""
        return next((i for i, room in enumerate(self.rooms) if room.contains(x, y)), None)


def distance_to_solids(points_P2: FloatArray, solids: tuple[Solid, ...]) -> FloatArray:
    """Distance from points to the nearest solid that blocks, shape (P,); negative inside one."""
    return Shapes(solid.outline for solid in solids if solid.blocks).distance(points_P2)
