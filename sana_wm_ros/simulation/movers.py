"""Bodies that walk about: each on a track of its own by the clock, turning round where the robot is in the way.

Where they are follows from the seed, the time and the robot's way alone, so that an imagination can foretell
it exactly. They decide once per ``TICK_S`` and walk straight in between.
Dimension letters: M movers, P points of a track; arrays may have leading dimensions (candidates).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.simulation.patterns import Rgb

FloatArray = NDArray[np.float64]

TICK_S = 0.125
_MANNERS_M = 0.3
"""A mover comes no nearer than this to the robot; a robot may come nearer to it."""


@dataclass(frozen=True, kw_only=True)
class Mover:
    """An upright cylinder that walks along a track: points (time in s, x, y), the first at time 0.

    closed: after the last point the track begins again (they are the same place); otherwise it turns back.
    begin_s: where on the track it is at first.
    """

    track_P3: tuple[tuple[float, float, float], ...]
    closed: bool
    begin_s: float
    radius_m: float
    height_m: float
    rgb: Rgb

    @property
    def period_s(self) -> float:
        return self.track_P3[-1][0]


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """What the movers are doing: seconds along their tracks, and which way they go (+1 or -1)."""

    phase_M: FloatArray
    way_M: FloatArray

    def spread(self, candidates: int) -> Crowd:
        """One copy for each candidate: (N, M)."""
        shape = (candidates, self.phase_M.shape[-1])
        return Crowd(phase_M=np.tile(self.phase_M, (shape[0], 1)), way_M=np.tile(self.way_M, (shape[0], 1)))

    def select(self, index_N: NDArray[np.int64]) -> Crowd:
        """Those of some candidates."""
        return Crowd(phase_M=self.phase_M[index_N], way_M=self.way_M[index_N])


class Movers:
    """All movers of a building: how they go on, and where they are."""

    def __init__(self, movers: tuple[Mover, ...]) -> None:
        self.movers = movers
        self.radius_M = np.array([mover.radius_m for mover in movers])
        self._tracks = [np.array(mover.track_P3) for mover in movers]
        self._period_M = np.array([mover.period_s for mover in movers])
        self._closed_M = np.array([mover.closed for mover in movers], np.bool_)

    def __len__(self) -> int:
        return len(self.movers)

    def begin(self) -> Crowd:
        """At time zero."""
        begin_M = np.array([mover.begin_s for mover in self.movers])
        return Crowd(phase_M=begin_M, way_M=np.ones(len(self.movers)))

    def places(self, crowd: Crowd) -> FloatArray:
        """Where they are, (..., M, 2)."""
        places = np.empty((*crowd.phase_M.shape, 2))
        for m, track_P3 in enumerate(self._tracks):
            for axis in (0, 1):
                places[..., m, axis] = np.interp(crowd.phase_M[..., m], track_P3[:, 0], track_P3[:, 1 + axis])
        return places

    def after_tick(self, crowd: Crowd, robot_2: FloatArray, radius_m: float) -> Crowd:
        """What they do after ``TICK_S`` beside a robot at (..., 2): go on, or turn round before it."""
        phase, way = crowd.phase_M + TICK_S * crowd.way_M, crowd.way_M
        wrapped = np.mod(phase, self._period_M)
        bounced = self._period_M - np.abs(self._period_M - np.abs(phase))
        turned = np.where(self._closed_M | ((phase >= 0) & (phase <= self._period_M)), way, -way)
        then = Crowd(phase_M=np.where(self._closed_M, wrapped, bounced), way_M=turned)
        now_M = _distance(self.places(crowd), robot_2)
        then_M = _distance(self.places(then), robot_2)
        blocked = (then_M < radius_m + self.radius_M + _MANNERS_M) & (then_M < now_M)
        return replace(
            then,
            phase_M=np.where(blocked, crowd.phase_M, then.phase_M),
            way_M=np.where(blocked, -way, then.way_M),
        )


def _distance(places_M2: FloatArray, robot_2: FloatArray) -> FloatArray:
    away_M2 = places_M2 - robot_2[..., None, :]
    return np.asarray(np.hypot(away_M2[..., 0], away_M2[..., 1]))
