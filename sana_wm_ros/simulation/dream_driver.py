"""Who drives a dreamed robot alone: back and forth on the way that was seen, or wherever there is room."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.planning.pursuit import Pursuit
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.dream import Dream, DreamStep
from sana_wm_ros.simulation.wheels import Twist2

LEAST_WAY_M = 1.5
_STRIDE_M = 0.4
_SPEED_MPS = 0.4
_NEAR_M = 0.8
_TURN_RADPS = 0.8


class Driver(Protocol):
    """Gives the command for the next step."""

    def command(self, pose_3: FloatArray, newest: DreamStep | None) -> Twist2: ...


def driver_for(dream: Dream, robot: Robot) -> Driver:
    """Back the way that was seen where there is one, else wandering."""
    way_P2 = thinned(dream.start.poses_T3[:, :2])
    return Retracer(way_P2, robot, dream.period_s) if len(way_P2) * _STRIDE_M > LEAST_WAY_M else Wanderer()


class Retracer:
    """Drives a way (P, 2) from its end to its beginning, and forth again, and so on."""

    def __init__(self, way_P2: FloatArray, robot: Robot, period_s: float) -> None:
        self._way_P2, self._robot, self._period_s = way_P2, robot, period_s
        self._turn_round()

    def command(self, pose_3: FloatArray, newest: DreamStep | None) -> Twist2:
        """Towards the next point of the way; contact is for the planner to avoid, not for this."""
        if math.dist(pose_3[:2], self._way_P2[-1]) < _STRIDE_M:
            self._turn_round()
        wanted_31 = self._pursuit.command(np.asarray(pose_3)[:, None], np.array([True]))
        return float(wanted_31[0, 0]), float(wanted_31[2, 0])

    def _turn_round(self) -> None:
        self._way_P2 = self._way_P2[::-1]
        self._pursuit = Pursuit(
            self._robot,
            self._way_P2[None, 1:-1],
            np.array([len(self._way_P2) - 2]),
            self._way_P2[None, -1],
            np.array([_SPEED_MPS]),
            self._period_s,
            arrive_m=0.5 * _STRIDE_M,
            yaw_rad=None,
        )


class Wanderer:
    """Drives ahead, keeps to the side where there is more room, and turns in place before what is near."""

    def __init__(self) -> None:
        self._turning = 0.0

    def command(self, pose_3: FloatArray, newest: DreamStep | None) -> Twist2:
        """From what is imagined around the robot."""
        if newest is None:
            return _SPEED_MPS, 0.0
        clearance_K = newest.clearance_K
        sectors = len(clearance_K)
        eighth = max(1, sectors // 8)
        left = float(clearance_K[1 : 1 + 2 * eighth].mean())
        right = float(clearance_K[-2 * eighth :].mean())
        ahead = min(float(clearance_K[k]) for k in range(-eighth // 2, eighth // 2 + 1))
        if ahead < _NEAR_M or newest.contact:
            self._turning = self._turning or math.copysign(_TURN_RADPS, left - right)
            return 0.0, self._turning
        self._turning = 0.0
        return _SPEED_MPS, 0.5 * max(-1.0, min(1.0, (left - right) / 4.0))


def thinned(points_P2: FloatArray) -> FloatArray:
    """Points of a way, at least ``_STRIDE_M`` apart."""
    kept = [points_P2[0]]
    for point_2 in points_P2:
        if math.dist(point_2, kept[-1]) >= _STRIDE_M:
            kept.append(point_2)
    return np.array(kept)
