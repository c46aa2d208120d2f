"""Draw a whole building from a seed: walls in colours of their own, door frames, panels, furniture."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sana_wm_ros.simulation.dressing import dress
from sana_wm_ros.simulation.floor_plan import (
    DOOR_HEIGHT_M,
    WALL_HEIGHT_M,
    WALL_THICKNESS_M,
    Door,
    FloorPlan,
    Rect,
    Solid,
    distance_to_solids,
)
from sana_wm_ros.simulation.furniture import BOXES, ROUND, Spot
from sana_wm_ros.simulation.layout import all_joined, draw_doors, draw_rooms
from sana_wm_ros.simulation.light import draw_light
from sana_wm_ros.simulation.patterns import Rgb
from sana_wm_ros.simulation.people import draw_movers

FAMILIES = ("lab", "varied")
"""lab: plain colours, easy to compress; varied: bricks, stripes, posters, planks on top."""
_SIDES = ("south", "north", "west", "east")
_GAP_M = 0.03
"""Between a piece and the wall that it leans on."""
_WIDE_M = 1.15
"""Left on every side of a screen."""
_SCREEN_M = 0.1
_PASSAGE_M = 0.75
"""Left between a piece of furniture and whatever it does not lean on, so that the robot passes anywhere."""


def draw_building(seed: int, family: str = "lab") -> FloorPlan:
    """Draw the building of a seed: 4 to 8 rooms, all reachable.

    Raises ``ValueError`` for a family that is not one of ``FAMILIES`` or a negative seed.
    """
    if family not in FAMILIES:
        raise ValueError(f"no family of buildings is called {family!r}; choose one of {', '.join(FAMILIES)}")
    if seed < 0:
        raise ValueError(f"seeds are integers from 0 on, got {seed}")
    rng = np.random.default_rng([seed, FAMILIES.index(family)])
    while True:
        rooms, corridor = draw_rooms(rng)
        doors = draw_doors(rooms, corridor, rng)
        if all_joined(rooms, doors):
            break
    floors = _distinct_colours(len(rooms), rng, apart=0.3, value=(0.35, 0.8), saturation=(0.05, 0.45))
    solids: list[Solid] = []
    for index, room in enumerate(rooms):
        colours = _distinct_colours(4, rng, apart=0.4, avoid=(floors[index],))
        own_doors = [door for door in doors if index in door.rooms]
        for side, colour in zip(_SIDES, colours, strict=True):
            solids += _wall(room, side, own_doors, colour)
            if rng.random() < 0.6:
                solids += _panel(room, side, own_doors, colour, rng)
        avoid = (*colours, floors[index])
        large = index != corridor and min(room.width, room.depth) > 3.2 and rng.random() < 0.4
        screen = _screen(room, own_doors, avoid, rng) if large else []
        solids += screen
        solids += _furniture(room, own_doors, avoid, index == corridor, screen, rng)
    for door in doors:
        solids += _frame(door, _distinct_colours(1, rng, apart=0.0)[0])
    grey = float(rng.uniform(0.75, 0.95))
    plan = FloorPlan(
        seed=seed,
        family=family,
        rooms=rooms,
        doors=doors,
        solids=tuple(solids),
        floors=tuple(floors),
        ceiling=(grey, grey, grey),
        light=draw_light(family, rng),
    )
    plan = plan if family == "lab" else dress(plan, rng)
    return replace(plan, movers=draw_movers(plan, rng))


def _distinct_colours(
    count: int,
    rng: np.random.Generator,
    *,
    apart: float,
    avoid: tuple[Rgb, ...] = (),
    saturation: tuple[float, float] = (0.15, 0.65),
    value: tuple[float, float] = (0.48, 0.95),
) -> list[Rgb]:
    """Colours at least ``apart`` from each other and from ``avoid`` (Euclidean, RGB in [0, 1])."""
    chosen: list[Rgb] = []
    while len(chosen) < count:
        hsv = rng.random(), rng.uniform(*saturation), rng.uniform(*value)
        colour = colorsys.hsv_to_rgb(*hsv)
        if all(math.dist(colour, other) >= apart for other in (*chosen, *avoid)):
            chosen.append(colour)
        else:
            apart *= 0.98  # a crowded palette gives way instead of looping for ever
    return chosen


def _along(room: Rect, side: str) -> tuple[float, float, float, float]:
    """A side's extent along itself, the middle of its slab across, and the way into the room (+1 or -1)."""
    half = WALL_THICKNESS_M / 2
    if side == "south":
        return room.x0, room.x1, room.y0 + half, 1.0
    if side == "north":
        return room.x0, room.x1, room.y1 - half, -1.0
    if side == "west":
        return room.y0, room.y1, room.x0 + half, 1.0
    return room.y0, room.y1, room.x1 - half, -1.0


def _slab(
    side: str, low: float, high: float, across: float, thick: float, z0: float, z1: float, rgb: Rgb, kind: str
) -> Solid:
    """A box on a side, from ``low`` to ``high`` along it and ``thick`` around ``across``."""
    along, half = (low + high) / 2, (high - low) / 2
    if side in ("south", "north"):
        center, size = (along, across, (z0 + z1) / 2), (half, thick / 2, (z1 - z0) / 2)
    else:
        center, size = (across, along, (z0 + z1) / 2), (thick / 2, half, (z1 - z0) / 2)
    return Solid(shape="box", center=center, half=size, rgb=rgb, kind=kind)


def _openings(room: Rect, side: str, doors: list[Door]) -> list[tuple[float, float]]:
    """The stretches of a side that are doors, in order."""
    edge = {"south": room.y0, "north": room.y1, "west": room.x0, "east": room.x1}[side]
    axis = "x" if side in ("south", "north") else "y"
    found = [(d.low, d.high) for d in doors if d.axis == axis and abs(d.at - edge) < 1e-9]
    return sorted(found)


def _wall(room: Rect, side: str, doors: list[Door], rgb: Rgb) -> list[Solid]:
    """The side's slabs between its doors, and a lintel over each door."""
    start, end, across, _ = _along(room, side)
    slabs = []
    for low, high in _openings(room, side, doors):
        slabs.append(_slab(side, start, low, across, WALL_THICKNESS_M, 0.0, WALL_HEIGHT_M, rgb, "wall"))
        slabs.append(
            _slab(side, low, high, across, WALL_THICKNESS_M, DOOR_HEIGHT_M, WALL_HEIGHT_M, rgb, "lintel")
        )
        start = high
    slabs.append(_slab(side, start, end, across, WALL_THICKNESS_M, 0.0, WALL_HEIGHT_M, rgb, "wall"))
    return slabs


def _panel(room: Rect, side: str, doors: list[Door], wall: Rgb, rng: np.random.Generator) -> list[Solid]:
    """A plain coloured board on the wall, where a stretch without a door is long enough."""
    start, end, across, inward = _along(room, side)
    width = rng.uniform(0.5, 1.5)
    low = rng.uniform(start + 0.2, max(start + 0.2, end - 0.2 - width))
    z0, height = rng.uniform(0.15, 0.9), rng.uniform(0.5, 1.2)
    rgb = _distinct_colours(1, rng, apart=0.5, avoid=(wall,))[0]
    clear = all(low + width < a - 0.15 or low > b + 0.15 for a, b in _openings(room, side, doors))
    if low + width > end - 0.15 or not clear:
        return []
    surface = across + inward * (WALL_THICKNESS_M / 2 + 0.01)
    return [_slab(side, low, low + width, surface, 0.02, z0, z0 + height, rgb, "panel")]


def _frame(door: Door, rgb: Rgb) -> list[Solid]:
    """Two posts and a beam that stand out from both faces of the wall."""
    side = "south" if door.axis == "x" else "west"
    deep, post = 2 * WALL_THICKNESS_M + 0.06, 0.07
    ends = ((door.low, door.low + post), (door.high - post, door.high))
    posts = [_slab(side, a, b, door.at, deep, 0.0, DOOR_HEIGHT_M, rgb, "frame") for a, b in ends]
    over = (DOOR_HEIGHT_M, DOOR_HEIGHT_M + 0.1)
    return [*posts, _slab(side, door.low, door.high, door.at, deep, *over, rgb, "frame")]


def _furniture(
    room: Rect,
    doors: list[Door],
    avoid: tuple[Rgb, ...],
    is_corridor: bool,
    screen: list[Solid],
    rng: np.random.Generator,
) -> list[Solid]:
    """One to four pieces that leave the doors, the screen and a passage on every side free."""
    taken: list[list[Solid]] = []
    wanted = int(rng.integers(0, 2)) if is_corridor else int(rng.integers(2, 5))
    for _ in range(12 * wanted):
        if len(taken) == wanted:
            break
        rgb = _distinct_colours(1, rng, apart=0.35, avoid=(*avoid, *(parts[0].rgb for parts in taken)))[0]
        piece = _piece(room, rgb, is_corridor, rng)
        if piece is not None and _fits(piece[0], room, doors, [*screen, *(parts[0] for parts in taken)]):
            taken.append(piece[1]())
    return [solid for parts in taken for solid in parts]


def _piece(
    room: Rect, rgb: Rgb, is_corridor: bool, rng: np.random.Generator
) -> tuple[Spot, Callable[[], list[Solid]]] | None:
    """Where a box or round piece could stand, against a wall or free in the room; and how to make it."""
    is_round = rng.random() < 0.35 and not is_corridor
    if is_round:
        radius = rng.uniform(0.16, 0.32)
        half = (radius, radius)
    else:
        half = (rng.uniform(0.25, 0.6), 0.12 if is_corridor else rng.uniform(0.17, 0.22))
    if rng.random() < 0.7 or is_corridor:
        side = _SIDES[int(rng.integers(4))]
        start, end, across, inward = _along(room, side)
        margin = WALL_THICKNESS_M + _GAP_M + half[0]
        if end - start < 2 * margin:
            return None
        along = rng.uniform(start + margin, end - margin)
        off = across + inward * (WALL_THICKNESS_M / 2 + _GAP_M + half[1])
        x, y = (along, off) if side in ("south", "north") else (off, along)
        yaw = {"south": 0.0, "north": math.pi, "west": -math.pi / 2, "east": math.pi / 2}[side]
    else:
        x, y = rng.uniform(room.x0, room.x1), rng.uniform(room.y0, room.y1)
        yaw = rng.uniform(0.0, 2 * math.pi)
        if not room.contains(x, y, WALL_THICKNESS_M + _PASSAGE_M + max(half)):
            return None
    spot = Spot(x=x, y=y, yaw=yaw, half=half)
    kinds = ROUND if is_round else BOXES
    kind = kinds[int(rng.integers(len(kinds)))]
    return spot, lambda: kind(spot, rgb, rng)


def _fits(spot: Spot, room: Rect, doors: list[Door], placed: list[Solid]) -> bool:
    """Free of doors and of other pieces by a robot's passage, and a passage left to the far walls."""
    reach = max(spot.half)
    if any(math.dist((spot.x, spot.y), d.center) < reach + (d.high - d.low) / 2 + 0.45 for d in doors):
        return False
    gap = distance_to_solids(np.array([[spot.x, spot.y]]), tuple(placed))[0] - reach
    depth = min(room.width, room.depth)
    walls = 2 * WALL_THICKNESS_M + _GAP_M
    return bool(gap >= _PASSAGE_M and 2 * min(spot.half) + walls + _PASSAGE_M <= depth)


def _screen(room: Rect, doors: list[Door], avoid: tuple[Rgb, ...], rng: np.random.Generator) -> list[Solid]:
    """A wall that stands out into a large room and makes a nook, a dead end; none where it would be tight."""
    side = _SIDES[int(rng.integers(4))]
    start, end, across, inward = _along(room, side)
    depth = room.depth if side in ("south", "north") else room.width
    length = rng.uniform(0.35, 0.5) * depth
    if depth - length < _WIDE_M or end - start < 2 * _WIDE_M + 0.2:
        return []
    at = rng.uniform(start + _WIDE_M, end - _WIDE_M)
    out = across + inward * length / 2
    x, y = (at, out) if side in ("south", "north") else (out, at)
    half = (_SCREEN_M / 2, length / 2) if side in ("south", "north") else (length / 2, _SCREEN_M / 2)
    rgb = _distinct_colours(1, rng, apart=0.35, avoid=avoid)[0]
    screen = Solid(
        shape="box", center=(x, y, WALL_HEIGHT_M / 2), half=(*half, WALL_HEIGHT_M / 2), rgb=rgb, kind="screen"
    )
    middles_P2 = np.array([door.center for door in doors]).reshape(-1, 2)
    return [screen] if distance_to_solids(middles_P2, (screen,)).min(initial=np.inf) > _WIDE_M else []
