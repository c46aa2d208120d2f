"""Put movers into a building: people and carts on rounds of their own, some of them far-wandering."""

from __future__ import annotations

import numpy as np

from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.movers import Mover
from sana_wm_ros.simulation.navigation import Navigator
from sana_wm_ros.simulation.patterns import Rgb

_COUNTS = {"lab": (0.65, 0.25, 0.10, 0.0), "varied": (0.3, 0.3, 0.25, 0.15)}
"""Shares of buildings with 0, 1, 2 and 3 movers."""
_LARGEST_M = 0.26
_ROOM_BESIDE_M = 0.12
_EVERY = 3  # a track keeps every third cell of a path: a third of a metre


def draw_movers(plan: FloorPlan, rng: np.random.Generator) -> tuple[Mover, ...]:
    """None to three movers. Their tracks lead around the furniture and through doors, never through walls."""
    count = int(rng.choice(4, p=_COUNTS[plan.family]))
    if count == 0:
        return ()
    navigator = Navigator(plan, _LARGEST_M + _ROOM_BESIDE_M)
    return tuple(_draw_mover(navigator, rng) for _ in range(count))


def _draw_mover(navigator: Navigator, rng: np.random.Generator) -> Mover:
    person = rng.random() < 0.75
    radius = float(rng.uniform(0.2, _LARGEST_M) if person else rng.uniform(0.16, 0.22))
    closed = rng.random() < 0.5  # a round that repeats, or a long wandering there and back
    track = _track(
        navigator, rng, stops=int(rng.integers(2, 4) if closed else rng.integers(5, 9)), closed=closed
    )
    return Mover(
        track_P3=track,
        closed=closed,
        begin_s=float(rng.uniform(0.0, track[-1][0])),
        radius_m=radius,
        height_m=float(rng.uniform(1.55, 1.85) if person else rng.uniform(0.35, 0.6)),
        rgb=_colour(rng),
    )


def _track(
    navigator: Navigator, rng: np.random.Generator, *, stops: int, closed: bool
) -> tuple[tuple[float, float, float], ...]:
    """From place to place with a rest at each, at a walking pace for buildings."""
    pace = rng.uniform(0.3, 0.7)
    cell = first = int(rng.integers(len(navigator.cells_P2)))
    goals = []
    for _ in range(stops):
        found = navigator.search(*navigator.cells_P2[cell])
        near = np.flatnonzero((found.cost_P > 1.5) & (found.cost_P < 9.0))
        cell = int(rng.choice(near)) if len(near) else cell
        goals.append(cell)
    if closed:
        goals.append(first)
    time_s, here = 0.0, navigator.cells_P2[first]
    points = [(0.0, float(here[0]), float(here[1]))]
    cell = first
    for goal in goals:
        found = navigator.search(*navigator.cells_P2[cell])
        if goal != cell and np.isfinite(found.cost_P[goal]):
            path_P2 = found.path_to(goal)
            for point in [*path_P2[_EVERY:-1:_EVERY], navigator.cells_P2[goal]]:
                time_s += float(np.hypot(*(point - here))) / pace
                points.append((time_s, float(point[0]), float(point[1])))
                here = point
        time_s += float(rng.uniform(0.5, 3.0))
        points.append((time_s, float(here[0]), float(here[1])))
        cell = goal
    return tuple(points)


def _colour(rng: np.random.Generator) -> Rgb:
    red, green, blue = (float(value) for value in rng.uniform(0.15, 0.85, 3))
    return red, green, blue
