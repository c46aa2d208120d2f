"""Draw the rooms and doors of a building: split a rectangle, join what touches, leave dead ends."""

from __future__ import annotations

import numpy as np

from sana_wm_ros.simulation.floor_plan import Door, Rect

MIN_ROOM_M = 2.7
MAX_ROOM_M = 5.2
DOOR_MARGIN_M = 0.35
"""Between a door and the nearest corner of either room."""


def draw_rooms(rng: np.random.Generator) -> tuple[tuple[Rect, ...], int | None]:
    """Draw 4 to 7 rooms that fill a rectangle; and the index of the corridor, where there is one."""
    wanted = int(rng.integers(4, 8))
    if rng.random() < 0.5:
        whole = Rect(x0=0.0, y0=0.0, x1=rng.uniform(7.5, 10.5), y1=rng.uniform(6.5, 9.5))
        return tuple(_split_until([whole], wanted, rng)), None
    whole = Rect(x0=0.0, y0=0.0, x1=rng.uniform(7.5, 10.5), y1=rng.uniform(7.8, 9.5))
    width = rng.uniform(1.4, 1.8)
    start = rng.uniform(MIN_ROOM_M + 0.2, whole.y1 - width - MIN_ROOM_M - 0.2)
    end = whole.x1 if rng.random() < 0.5 else whole.x1 - rng.uniform(MIN_ROOM_M, 3.2)
    corridor = Rect(x0=0.0, y0=start, x1=end, y1=start + width)
    others = [Rect(x0=0.0, y0=0.0, x1=end, y1=start), Rect(x0=0.0, y0=start + width, x1=end, y1=whole.y1)]
    if end < whole.x1:
        others.append(Rect(x0=end, y0=0.0, x1=whole.x1, y1=whole.y1))
    rooms = _split_until(others, wanted - 1, rng) + [corridor]
    if rng.random() < 0.5:  # a corridor along y as often as along x
        rooms = [Rect(x0=room.y0, y0=room.x0, x1=room.y1, y1=room.x1) for room in rooms]
    return tuple(rooms), len(rooms) - 1


def draw_doors(rooms: tuple[Rect, ...], corridor: int | None, rng: np.random.Generator) -> tuple[Door, ...]:
    """Join all rooms by a random tree of doors, the corridor's first, and add a few that close loops."""
    pairs = [pair for pair in _touching(rooms) if pair[4] - pair[3] >= 0.9 + 2 * DOOR_MARGIN_M]
    order = rng.permutation(len(pairs))
    ranked = sorted(order, key=lambda i: corridor is None or corridor not in pairs[i][0])
    group = list(range(len(rooms)))
    doors = []
    for index in ranked:
        (a, b), axis, at, low, high = pairs[index]
        if group[a] == group[b] and rng.random() > 0.3:
            continue
        group = [group[a] if g == group[b] else g for g in group]
        room_for = high - low - 2 * DOOR_MARGIN_M
        width = min(room_for, rng.uniform(1.5, 2.0) if rng.random() < 0.2 else rng.uniform(0.95, 1.25))
        start = rng.uniform(low + DOOR_MARGIN_M, high - DOOR_MARGIN_M - width)
        doors.append(Door(rooms=(a, b), axis=axis, at=at, low=start, high=start + width))
    return tuple(doors)


def all_joined(rooms: tuple[Rect, ...], doors: tuple[Door, ...]) -> bool:
    """Whether every room can be reached from the first."""
    seen, frontier = {0}, [0]
    while frontier:
        here = frontier.pop()
        for door in doors:
            if here in door.rooms:
                there = door.rooms[0] + door.rooms[1] - here
                if there not in seen:
                    seen.add(there)
                    frontier.append(there)
    return len(seen) == len(rooms)


def _split_until(rooms: list[Rect], wanted: int, rng: np.random.Generator) -> list[Rect]:
    """Halve the largest room, across its longer side, until there are enough or none is large enough."""
    rooms = list(rooms)
    while True:
        rooms.sort(key=lambda room: max(room.width, room.depth) + 0.2 * room.area)
        largest = rooms[-1]
        long = max(largest.width, largest.depth)
        too_long = long > MAX_ROOM_M
        if long < 2 * MIN_ROOM_M or (len(rooms) >= wanted and not too_long):
            return rooms
        cut = rng.uniform(max(MIN_ROOM_M, 0.38 * long), min(long - MIN_ROOM_M, 0.62 * long))
        rooms.pop()
        if largest.width >= largest.depth:
            middle = largest.x0 + cut
            rooms.append(Rect(x0=largest.x0, y0=largest.y0, x1=middle, y1=largest.y1))
            rooms.append(Rect(x0=middle, y0=largest.y0, x1=largest.x1, y1=largest.y1))
        else:
            middle = largest.y0 + cut
            rooms.append(Rect(x0=largest.x0, y0=largest.y0, x1=largest.x1, y1=middle))
            rooms.append(Rect(x0=largest.x0, y0=middle, x1=largest.x1, y1=largest.y1))


def _touching(rooms: tuple[Rect, ...]) -> list[tuple[tuple[int, int], str, float, float, float]]:
    """Pairs of rooms that share a wall: ((a, b), the wall's axis, where it stands, from, to)."""
    found: list[tuple[tuple[int, int], str, float, float, float]] = []
    for a, first in enumerate(rooms):
        for b, second in enumerate(rooms):
            if abs(first.x1 - second.x0) < 1e-9:
                found.append(((a, b), "y", first.x1, max(first.y0, second.y0), min(first.y1, second.y1)))
            if abs(first.y1 - second.y0) < 1e-9:
                found.append(((a, b), "x", first.y1, max(first.x0, second.x0), min(first.x1, second.x1)))
    return found
