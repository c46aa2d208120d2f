"""Candidates on their way through the true building: where each touches something, and stays.

A robot is a disc that goes where it is told until it comes closer to something that it touches. Dimension
letters: N candidates, F latent frames, T ticks of the movers, S steps, M movers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry import se2
from sana_wm_ros.simulation.movers import Crowd, Movers
from sana_wm_ros.simulation.shapes import Shapes

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

TICKS_PER_FRAME = 4
_STEPS_PER_TICK = 2
_STEPS = TICKS_PER_FRAME * _STEPS_PER_TICK
"""Per latent frame: 0.06 s, in which the robot moves less than 4 cm."""
_CLOSER_M = 1e-6


@dataclass(frozen=True, kw_only=True)
class Walkers:
    """N robots. asked_N3: where the commands have led; pose_N3: where they are; stopped_N: by something."""

    asked_N3: FloatArray
    pose_N3: FloatArray
    stopped_N: BoolArray
    crowd: Crowd

    def select(self, index_N: NDArray[np.int64]) -> Walkers:
        """Some of them."""
        return Walkers(
            asked_N3=self.asked_N3[index_N],
            pose_N3=self.pose_N3[index_N],
            stopped_N=self.stopped_N[index_N],
            crowd=self.crowd.select(index_N),
        )


@dataclass(frozen=True, kw_only=True)
class Walked:
    """What came of F latent frames.

    poses_NT3, places_NTM2: robot and movers at the end of each tick. contact_NF: it was stopped, in this
    frame or before. stood_NF: it did not move since the end of the frame before (never said of the first).
    """

    poses_NT3: FloatArray
    places_NTM2: FloatArray
    contact_NF: BoolArray
    stood_NF: BoolArray
    after: Walkers


def walk(
    walkers: Walkers, asked_NF3: FloatArray, *, walls: Shapes, movers: Movers, radius_m: float
) -> Walked:
    """Go along arcs through the poses asked for, one latent frame each."""
    size, frames = asked_NF3.shape[:2]
    way_NS3 = _steps_between(np.concatenate([walkers.asked_N3[:, None], asked_NF3], axis=1))
    stops = _Stops(walkers, way_NS3, walls, radius_m)
    places_NTM2, crowd = stops.beside(movers, walkers.crowd)
    step_S = np.arange(1, way_NS3.shape[1])
    held_NS = step_S >= stops.step_N[:, None]
    true_NS3 = np.where(held_NS[..., None], stops.pose_N3[:, None], way_NS3[:, 1:])
    contact_NF = held_NS[:, _STEPS - 1 :: _STEPS]
    stood_NF = step_S[::_STEPS] > stops.step_N[:, None]
    stood_NF[:, 0] = False
    return Walked(
        poses_NT3=true_NS3[:, _STEPS_PER_TICK - 1 :: _STEPS_PER_TICK],
        places_NTM2=places_NTM2,
        contact_NF=contact_NF,
        stood_NF=stood_NF,
        after=Walkers(
            asked_N3=asked_NF3[:, -1],
            pose_N3=true_NS3[:, -1],
            stopped_N=walkers.stopped_N | contact_NF[:, -1],
            crowd=crowd,
        ),
    )


class _Stops:
    """The step at whose end each robot is stopped (beyond the way's last: never), and where it stays.

    Row 0 of the way is where the robot is now, row s the end of step s.
    """

    def __init__(self, walkers: Walkers, way_NS3: FloatArray, walls: Shapes, radius_m: float) -> None:
        self._way_NS3, self._radius_m = way_NS3, radius_m
        touch_NS = _touching(_gaps(walls, way_NS3, radius_m), radius_m)
        first_N = np.where(touch_NS.any(axis=1), touch_NS.argmax(axis=1), way_NS3.shape[1])
        self.step_N = np.where(walkers.stopped_N, 0, first_N)
        self.pose_N3 = walkers.pose_N3.copy()
        rows = np.flatnonzero(~walkers.stopped_N & touch_NS.any(axis=1))
        self.pose_N3[rows] = _where_it_touches(
            way_NS3[rows, first_N[rows] - 1],
            way_NS3[rows, first_N[rows]],
            lambda points_P2: walls.distance(points_P2) - radius_m,
        )

    def beside(self, movers: Movers, crowd: Crowd) -> tuple[FloatArray, Crowd]:
        """Step the movers tick by tick: places (N, T, M, 2) at each tick's end, and what they do then."""
        ticks = (self._way_NS3.shape[1] - 1) // _STEPS_PER_TICK
        places_NTM2 = np.empty((len(self._way_NS3), ticks, len(movers), 2))
        if len(movers) == 0:
            return places_NTM2, crowd
        reach_M = self._radius_m + movers.radius_M
        before_NM2 = movers.places(crowd)
        for tick in range(ticks):
            robot_N2 = self._robot(tick * _STEPS_PER_TICK)
            crowd = movers.after_tick(crowd, robot_N2, self._radius_m)
            after_NM2 = movers.places(crowd)
            for part in range(1, _STEPS_PER_TICK + 1):
                step = tick * _STEPS_PER_TICK + part
                here_NM2 = before_NM2 + (part / _STEPS_PER_TICK) * (after_NM2 - before_NM2)
                moved_N2 = self._robot(step)
                gap_NM = _apart(here_NM2, moved_N2) - reach_M
                hit_NM = (gap_NM < 0) & (_apart(here_NM2, robot_N2) - reach_M > gap_NM + _CLOSER_M)
                hit_N = hit_NM.any(axis=1) & (step < self.step_N)
                for n in np.flatnonzero(hit_N):
                    self.step_N[n] = step
                    self.pose_N3[n] = _where_it_touches(
                        self._way_NS3[n, step - 1][None],
                        self._way_NS3[n, step][None],
                        lambda points_P2, n=n, here_NM2=here_NM2: (  # type: ignore[misc]
                            _apart(here_NM2[n][None], points_P2) - reach_M
                        ).min(axis=1),
                    )[0]
                robot_N2 = self._robot(step)
            places_NTM2[:, tick], before_NM2 = after_NM2, after_NM2
        return places_NTM2, crowd

    def _robot(self, step: int) -> FloatArray:
        """Where the robots are at the end of a step, (N, 2)."""
        stopped_N = step >= self.step_N
        return np.where(stopped_N[:, None], self.pose_N3[:, :2], self._way_NS3[:, step, :2])


def _steps_between(poses_NF3: FloatArray) -> FloatArray:
    """The arcs through poses, in ``_STEPS`` steps each: (N, 1 + F * _STEPS, 3), the first pose first."""
    start_NF3 = poses_NF3[:, :-1]
    twist_NF3 = se2.log(se2.between(start_NF3, poses_NF3[:, 1:]))
    parts_S = np.arange(1, _STEPS + 1) / _STEPS
    steps = se2.compose(start_NF3[:, :, None], se2.exp(twist_NF3[:, :, None], parts_S))
    return np.concatenate([poses_NF3[:, :1], steps.reshape(len(poses_NF3), -1, 3)], axis=1)


def _gaps(walls: Shapes, way_NS3: FloatArray, radius_m: float) -> FloatArray:
    """Distances (N, S) from each pose of the way to the walls; inf where a disc cannot reach them.

    A frame's first distance less the frame's length bounds the others, so most need no look.
    """
    size, steps = way_NS3.shape[:2]
    gap_NS = np.full((size, steps), np.inf)
    gap_NS[:, ::_STEPS] = walls.distance(way_NS3[:, ::_STEPS, :2].reshape(-1, 2)).reshape(size, -1)
    length_NS = np.linalg.norm(np.diff(way_NS3[..., :2], axis=1), axis=-1)
    length_NF = length_NS.reshape(size, -1, _STEPS).sum(axis=-1)
    near_NF = gap_NS[:, :-1:_STEPS] - length_NF < radius_m
    near_NS = np.zeros((size, steps), np.bool_)
    near_NS[:, 1:] = np.repeat(near_NF, _STEPS, axis=1)
    gap_NS[near_NS] = walls.distance(way_NS3[near_NS][:, :2])
    return gap_NS


def _touching(gap_NS: FloatArray, radius_m: float) -> BoolArray:
    """Steps that end in contact and came closer to it; none does before it begins."""
    touch_NS = gap_NS < radius_m
    touch_NS[:, 1:] &= gap_NS[:, 1:] < gap_NS[:, :-1] - _CLOSER_M
    touch_NS[:, 0] = False
    return touch_NS


def _where_it_touches(
    before_N3: FloatArray, after_N3: FloatArray, gap: Callable[[FloatArray], FloatArray]
) -> FloatArray:
    """The pose between two at which the gap closes, by bisection to a tenth of a millimetre."""
    twist_N3 = se2.log(se2.between(before_N3, after_N3))
    low_N, high_N = np.zeros(len(before_N3)), np.ones(len(before_N3))
    for _ in range(9):
        middle_N = (low_N + high_N) / 2
        free_N = gap(se2.compose(before_N3, se2.exp(twist_N3, middle_N))[:, :2]) >= 0
        low_N, high_N = np.where(free_N, middle_N, low_N), np.where(free_N, high_N, middle_N)
    return se2.compose(before_N3, se2.exp(twist_N3, low_N))


def _apart(places_NM2: FloatArray, points_N2: FloatArray) -> FloatArray:
    """Distances (N, M)."""
    away_NM2 = places_NM2 - points_N2[:, None]
    return np.asarray(np.hypot(away_NM2[..., 0], away_NM2[..., 1]))
