"""Whole drives, each a script of behaviours: tours, revisits, looking away and back, bumping, wandering."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.simulation.behaviours import Behaviour, Sense, arcs, back_off, follow, turn, wait
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.movers import Movers
from sana_wm_ros.simulation.navigation import Navigator

FloatArray = NDArray[np.float64]

_CAREFUL_M = 0.3
_FROM_MOVERS_M = 0.8
_CARELESS_M = 0.18
"""Less than the robot's radius: paths graze corners."""


class Ways:
    """The free space of a building as careful and as careless drivers see it."""

    def __init__(self, plan: FloorPlan) -> None:
        self.plan = plan
        self._careful = Navigator(plan, _CAREFUL_M)
        self._careless: Navigator | None = None

    def navigator(self, careless: bool) -> Navigator:
        """``careless`` ones know the walls but not the furniture."""
        if not careless:
            return self._careful
        if self._careless is None:
            self._careless = Navigator(self.plan, _CARELESS_M, ignore_furniture=True)
        return self._careless

    def draw_start(self, rng: np.random.Generator) -> FloatArray:
        """A pose with room to turn, facing anywhere."""
        clear_P = self._careful.distance_P.copy()
        for mover_2 in Movers(self.plan.movers).places(Movers(self.plan.movers).begin()):
            away_P = np.hypot(*(self._careful.cells_P2 - mover_2).T)
            clear_P = np.minimum(clear_P, away_P - _FROM_MOVERS_M)
        roomy = np.flatnonzero(clear_P > 0.42)
        cell = self._careful.cells_P2[rng.choice(roomy)]
        return np.array([*cell, rng.uniform(-math.pi, math.pi)])

    def draw_path(
        self, sense: Sense, rng: np.random.Generator, *, careless: bool = False, near: bool = False
    ) -> FloatArray:
        """A path to a random place: in another room most times, ``near`` within a few metres."""
        navigator = self.navigator(careless)
        x, y = float(sense.pose_3[0]), float(sense.pose_3[1])
        found = navigator.search(x, y)
        low, high = (0.8, 4.0) if near else (3.0, 16.0)
        fit = np.flatnonzero((found.cost_P > low) & (found.cost_P < high))
        if len(fit) == 0:
            fit = np.flatnonzero(np.isfinite(found.cost_P))
        goal = int(rng.choice(fit))
        here = self.plan.room_of(x, y)
        for _ in range(6):  # rather another room than a far corner of this one
            if near or self.plan.room_of(*navigator.cells_P2[goal]) != here:
                break
            goal = int(rng.choice(fit))
        return found.path_to(goal)

    def path_to(self, sense: Sense, x: float, y: float) -> FloatArray:
        """A careful path to a given place."""
        found = self._careful.search(float(sense.pose_3[0]), float(sense.pose_3[1]))
        goal = self._careful.nearest(x, y)
        if not np.isfinite(found.cost_P[goal]):
            return np.array([[x, y]])
        return found.path_to(goal)


def tour(sense: Sense, ways: Ways, rng: np.random.Generator, *, until_s: float = math.inf) -> Behaviour:
    """From room to room, with a look around or a rest now and then."""
    while sense.time_s < until_s:
        path_P2 = ways.draw_path(sense, rng)
        sense = yield from _within(
            sense,
            follow(sense, path_P2, rng.uniform(0.35, 0.6), wobble=rng.choice([0.0, 0.08]), rng=rng),
            until_s,
        )
        if sense.contact:
            sense = yield from back_off(sense, rng)
        elif rng.random() < 0.5:
            sense = yield from turn(sense, rng.choice([-1, 1]) * rng.uniform(0.6, 5.0), rng.uniform(0.4, 1.1))
        elif rng.random() < 0.3:
            sense = yield from wait(sense, rng.uniform(0.5, 2.0))
    return sense


def revisit(sense: Sense, ways: Ways, rng: np.random.Generator) -> Behaviour:
    """Out through some rooms, back to where it began, the first view again; then out once more."""
    while True:
        home_3 = sense.pose_3.copy()
        sense = yield from tour(sense, ways, rng, until_s=sense.time_s + rng.uniform(7.0, 16.0))
        path_P2 = ways.path_to(sense, home_3[0], home_3[1])
        sense = yield from follow(sense, path_P2, rng.uniform(0.45, 0.6), wobble=0.0, rng=rng)
        if sense.contact:
            sense = yield from back_off(sense, rng)
            continue
        facing = math.remainder(home_3[2] - sense.pose_3[2], 2 * math.pi)
        sense = yield from turn(sense, facing, rng.uniform(0.6, 1.1))
        sense = yield from wait(sense, rng.uniform(0.5, 2.0))


def look_away(sense: Sense, ways: Ways, rng: np.random.Generator) -> Behaviour:
    """Stop here and there, turn away, wait, and turn back to the same view."""
    while True:
        path_P2 = ways.draw_path(sense, rng, near=rng.random() < 0.6)
        sense = yield from follow(sense, path_P2, rng.uniform(0.35, 0.6), wobble=0.0, rng=rng)
        if sense.contact:
            sense = yield from back_off(sense, rng)
        for _ in range(int(rng.integers(1, 3))):
            angle = rng.choice([-1, 1]) * rng.uniform(0.8, math.pi)
            sense = yield from wait(sense, rng.uniform(0.3, 1.0))
            sense = yield from turn(sense, angle, rng.uniform(0.5, 1.1))
            sense = yield from wait(sense, rng.uniform(0.3, 2.5))
            sense = yield from turn(sense, -angle, rng.uniform(0.5, 1.1))


def spin(sense: Sense, ways: Ways, rng: np.random.Generator) -> Behaviour:
    """Turn in place, once or several times around, this way and that; a short way in between."""
    while True:
        for _ in range(int(rng.integers(1, 4))):
            angle = rng.choice([-1, 1]) * rng.uniform(1.5, 4 * math.pi)
            sense = yield from turn(sense, angle, rng.uniform(0.3, 1.1))
            sense = yield from wait(sense, rng.uniform(0.0, 1.5))
        path_P2 = ways.draw_path(sense, rng, near=True)
        sense = yield from follow(sense, path_P2, rng.uniform(0.35, 0.6), wobble=0.0, rng=rng)
        if sense.contact:
            sense = yield from back_off(sense, rng)


def bump(sense: Sense, ways: Ways, rng: np.random.Generator) -> Behaviour:
    """A careful tour, and from some moment on blind arcs that sooner or later hit something."""
    sense = yield from tour(sense, ways, rng, until_s=rng.uniform(6.0, 44.0))
    while True:
        sense = yield from arcs(sense, 10.0, rng)


def careless(sense: Sense, ways: Ways, rng: np.random.Generator) -> Behaviour:
    """Paths that know the walls but not the furniture, and cut corners."""
    sense = yield from tour(sense, ways, rng, until_s=rng.uniform(2.0, 20.0))
    while True:
        path_P2 = ways.draw_path(sense, rng, careless=True)
        sense = yield from follow(sense, path_P2, rng.uniform(0.35, 0.6), wobble=0.05, rng=rng)
        if sense.contact:
            sense = yield from back_off(sense, rng)


def wander(sense: Sense, ways: Ways, rng: np.random.Generator) -> Behaviour:
    """Arcs from wall to wall, backing off from each."""
    while True:
        moving = arcs(sense, 6.0, rng)
        twist = next(moving)
        while True:
            sense = yield twist
            if sense.contact:
                sense = yield from back_off(sense, rng)
                break
            try:
                twist = moving.send(sense)
            except StopIteration:
                break


def _within(sense: Sense, behaviour: Behaviour, until_s: float) -> Behaviour:
    """A behaviour cut short at a time; one that is done before it begins returns ``sense``."""
    try:
        twist = next(behaviour)
        while True:
            sense = yield twist
            if sense.time_s >= until_s:
                return sense
            twist = behaviour.send(sense)
    except StopIteration as done:
        last: Sense = done.value
        return last


Driver = Callable[[Sense, Ways, np.random.Generator], Behaviour]
DRIVERS: dict[str, Driver] = {
    "tour": tour,
    "revisit": revisit,
    "look_away": look_away,
    "spin": spin,
    "bump": bump,
    "careless": careless,
    "wander": wander,
}
MIX: tuple[tuple[str, bool, float], ...] = (
    ("tour", True, 0.13),
    ("revisit", True, 0.15),
    ("look_away", True, 0.12),
    ("spin", True, 0.05),
    ("bump", True, 0.19),
    ("careless", True, 0.10),
    ("tour", False, 0.08),
    ("revisit", False, 0.06),
    ("wander", False, 0.12),
)
"""Name, open loop, share of all drives."""


def draw_driver(rng: np.random.Generator) -> tuple[str, bool]:
    """A driver's name and whether it drives open loop, by the shares of ``MIX``."""
    shares = np.array([share for _, _, share in MIX])
    name, open_loop, _ = MIX[int(rng.choice(len(MIX), p=shares / shares.sum()))]
    return name, open_loop
