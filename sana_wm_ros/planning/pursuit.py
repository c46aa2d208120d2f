"""Drives N robots through via points to a goal and stops there: commands for the motion model's roll-outs.

Dimension letters: N candidates, V via points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry.se2 import wrap_angle
from sana_wm_ros.planning.motion_models import max_curvature
from sana_wm_ros.planning.types import FloatArray, Robot

_COS_30, _COS_75 = np.cos(np.radians(30)), np.cos(np.radians(75))


def braking_speed(distance: FloatArray, deceleration: float, period_s: float) -> FloatArray:
    """The highest speed from which a robot that brakes once per frame still stops within ``distance``.

    Solves d = v^2 / (2 a) + v T / 2 (the sum over frames of T seconds), and never oversteps within a frame.
    """
    per_frame = deceleration * period_s
    root = np.sqrt(0.25 + 2 * np.maximum(distance, 0.0) / (per_frame * period_s))
    return np.minimum(per_frame * (root - 0.5), distance / period_s)


class Pursuit:
    """Holds which via point each candidate is at.

    vias_NV2 are points in ``odom``; counts_N says how many of them each candidate passes before its end in
    ends_N2; speeds_N are cruising speeds in m/s. A robot within ``arrive_m`` of its end stands, turned to
    ``yaw_rad`` unless that is None.
    """

    def __init__(
        self,
        robot: Robot,
        vias_NV2: FloatArray,
        counts_N: NDArray[np.int64],
        ends_N2: FloatArray,
        speeds_N: FloatArray,
        period_s: float,
        *,
        arrive_m: float,
        yaw_rad: float | None,
    ) -> None:
        size = len(vias_NV2)
        self._points_NV2 = np.concatenate([vias_NV2, ends_N2[:, None]], axis=1)
        self._counts_N = counts_N
        self._rows_N = np.arange(size)
        self._speeds_N, self._period_s = speeds_N, period_s
        self._robot, self._yaw_rad = robot, yaw_rad
        self._stage_N = np.zeros(size, dtype=np.int64)
        self._last_N = counts_N == 0
        self._targets_2N = self._targets()
        self._arrived_N = np.zeros(size, dtype=bool)
        self._near_m = max(0.3, robot.max_speed_mps * period_s)
        self._arrive_m = arrive_m

    def command(self, poses_3N: FloatArray, active_N: NDArray[np.bool_]) -> FloatArray:
        """Wanted twists (3, N) at poses (3, N); only ``active_N`` candidates move on to their next point."""
        offset, distance = self._to_target(poses_3N)
        passed_N = active_N & ~self._last_N & (distance < self._near_m)
        if passed_N.any():
            self._stage_N += passed_N
            self._last_N = self._stage_N >= self._counts_N
            self._targets_2N = self._targets()
            offset, distance = self._to_target(poses_3N)
        self._arrived_N |= active_N & self._last_N & (distance < self._arrive_m)

        error = np.arctan2(offset[1], offset[0]) - poses_3N[2]
        error -= (2 * np.pi) * np.rint(error / (2 * np.pi))
        slowing = braking_speed(distance, 0.8 * self._robot.max_acceleration_mps2, self._period_s)
        cruise = np.minimum(self._speeds_N, np.where(self._last_N, slowing, np.inf))
        if self._robot.drive == "ackermann":
            wanted = self._steer(error, distance, cruise)
        else:
            wanted = self._turn_and_go(error, distance, cruise)
        if self._arrived_N.any():
            wanted = np.where(self._arrived_N, self._at_goal(poses_3N), wanted)
        return wanted

    def _targets(self) -> FloatArray:
        stage = np.where(self._last_N, self._points_NV2.shape[1] - 1, self._stage_N)
        return np.ascontiguousarray(self._points_NV2[self._rows_N, stage].T)

    def _to_target(self, poses_3N: FloatArray) -> tuple[FloatArray, FloatArray]:
        offset = self._targets_2N - poses_3N[:2]
        return offset, np.hypot(offset[0], offset[1])

    def _turn(self, error: FloatArray) -> FloatArray:
        size = np.abs(error)
        rate = braking_speed(size, 0.8 * self._robot.max_yaw_acceleration_radps2, self._period_s)
        rate = np.minimum(np.minimum(rate, size / (1.5 * self._period_s)), self._robot.max_yaw_rate_radps)
        return np.copysign(rate, error)

    def _turn_and_go(self, error: FloatArray, distance: FloatArray, cruise: FloatArray) -> FloatArray:
        wanted = np.zeros((3, len(error)))
        if self._robot.drive == "omnidirectional":
            # It also turns towards where it goes: the camera should see that.
            wanted[0], wanted[1] = cruise * np.cos(error), cruise * np.sin(error)
            wanted[2] = np.where(distance > self._near_m, self._turn(error), 0.0)
            return wanted
        # Full speed within 30 degrees of the target, on the spot beyond 75, so curves stay smooth and narrow.
        share = (np.cos(error) - _COS_75) / (_COS_30 - _COS_75)
        wanted[0] = cruise * np.minimum(np.maximum(share, 0.0), 1.0)
        wanted[2] = self._turn(error)
        return wanted

    def _steer(self, error: FloatArray, distance: FloatArray, cruise: FloatArray) -> FloatArray:
        # Pure pursuit (Coulter 1992): the arc through the target has the curvature 2 sin(error) / distance.
        tightest = max_curvature(self._robot)
        arc = np.clip(2 * np.sin(error) / np.maximum(distance, 1e-6), -tightest, tightest)
        arc = np.where(np.abs(error) > np.pi / 2, np.copysign(tightest, error), arc)
        # A target inside the turning circle can only be reached after driving away from it.
        lateral, ahead = distance * np.sin(np.abs(error)), distance * np.cos(error)
        inside = np.hypot(ahead, lateral - 1 / tightest) < 0.95 / tightest
        curvature = np.where(inside, 0.0, arc)
        speed = cruise * np.where(np.abs(curvature) > 0.7 * tightest, 0.6, 1.0)
        return np.array([speed, np.zeros_like(speed), speed * curvature])

    def _at_goal(self, poses_3N: FloatArray) -> FloatArray:
        wanted = np.zeros_like(poses_3N)
        if self._yaw_rad is not None and self._robot.drive != "ackermann":
            error = wrap_angle(self._yaw_rad - poses_3N[2])
            wanted[2] = np.where(np.abs(error) > 0.02, self._turn(error), 0.0)
        return wanted
