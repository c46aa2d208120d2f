"""Drives N robots through via points to a goal and stops there: commands for the motion model's roll-outs.

Dimension letters: N candidates, V via points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry.se2 import wrap_angle
from sana_wm_ros.planning.motion_models import max_curvature
from sana_wm_ros.planning.types import FloatArray, Robot

_COS_30, _COS_75 = float(np.cos(np.radians(30))), float(np.cos(np.radians(75)))
_FAR_M = 1e9


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
        self._robot, self._yaw_rad = robot, yaw_rad
        self._near_m = max(0.3, robot.max_speed_mps * period_s)
        self._arrive_m = arrive_m
        self._stage_N = np.zeros(size, dtype=np.int64)
        self._arrived_N = np.zeros(size, dtype=bool)
        # Metres and radians go through the same formulas: of both no more per second than can be stopped in time.
        self._most_2N = np.array([speeds_N, np.full(size, robot.max_yaw_rate_radps)])
        per_frame_21 = (0.8 * period_s) * np.array(
            [[robot.max_acceleration_mps2], [robot.max_yaw_acceleration_radps2]]
        )
        self._brake_21 = 2 * per_frame_21 / period_s
        self._half_21, self._quarter_21 = 0.5 * per_frame_21, 0.25 * per_frame_21**2
        self._frame_21 = np.array([[period_s], [1.5 * period_s]])
        self._on_to_targets()

    def command(self, poses_3N: FloatArray, active_N: NDArray[np.bool_]) -> FloatArray:
        """Wanted twists (3, N) at poses (3, N); only ``active_N`` candidates move on to their next point."""
        offset, distance = self._to_target(poses_3N)
        reached_N = distance < self._reach_N
        reached_N &= active_N
        if np.count_nonzero(reached_N):
            self._stage_N += reached_N & ~self._last_N
            self._on_to_targets()
            offset, distance = self._to_target(poses_3N)
            self._arrived_N |= active_N & self._last_N & (distance < self._arrive_m)
            self._most_2N[:, self._arrived_N] = 0.0
            self._reach_N[self._arrived_N] = 0.0

        error = np.arctan2(offset[1], offset[0])
        error -= poses_3N[2]
        error -= (2 * np.pi) * np.rint(error * (0.5 / np.pi))
        cruise, rate = self._slowing(distance + self._onward_N, np.abs(error), self._most_2N)
        if self._robot.drive == "ackermann":
            return self._steer(error, distance, cruise)
        wanted = self._turn_and_go(error, distance, cruise, np.copysign(rate, error))
        if self._yaw_rad is not None and np.count_nonzero(self._arrived_N):
            wanted = np.where(self._arrived_N, self._at_goal(poses_3N, self._yaw_rad), wanted)
        return wanted

    def _on_to_targets(self) -> None:
        self._last_N = self._stage_N >= self._counts_N
        stage = np.where(self._last_N, self._points_NV2.shape[1] - 1, self._stage_N)
        self._targets_2N = np.ascontiguousarray(self._points_NV2[self._rows_N, stage].T)
        self._reach_N = np.where(self._last_N, self._arrive_m, self._near_m)
        self._onward_N = np.where(self._last_N, 0.0, _FAR_M)  # beyond a point that is passed at full speed

    def _to_target(self, poses_3N: FloatArray) -> tuple[FloatArray, FloatArray]:
        offset = self._targets_2N - poses_3N[:2]
        return offset, np.hypot(offset[0], offset[1])

    def _slowing(self, left_m: FloatArray, turn_rad: FloatArray, most_2N: FloatArray) -> FloatArray:
        """Speeds and yaw rates (2, N), at most so high that who brakes once per frame still stops in time.

        Solves d = v^2 / (2 a) + v T / 2 (the sum over frames of T seconds), and never oversteps within a frame;
        turns take one and a half.
        """
        left_2N = np.array([left_m, turn_rad])
        speed_2N = left_2N * self._brake_21
        speed_2N += self._quarter_21
        np.sqrt(speed_2N, out=speed_2N)
        speed_2N -= self._half_21
        left_2N /= self._frame_21
        np.minimum(speed_2N, left_2N, out=speed_2N)
        return np.minimum(speed_2N, most_2N, out=speed_2N)

    def _turn_and_go(
        self, error: FloatArray, distance: FloatArray, cruise: FloatArray, turn: FloatArray
    ) -> FloatArray:
        wanted = np.zeros((3, len(error)))
        if self._robot.drive == "omnidirectional":
            # It also turns towards where it goes: the camera should see that.
            wanted[0], wanted[1] = cruise * np.cos(error), cruise * np.sin(error)
            wanted[2] = np.where(distance > self._near_m, turn, 0.0)
            return wanted
        # Full speed within 30 degrees of the target, on the spot beyond 75, so curves stay smooth and narrow.
        share = np.cos(error)
        share -= _COS_75
        share /= _COS_30 - _COS_75
        np.minimum(np.maximum(share, 0.0, out=share), 1.0, out=share)
        np.multiply(cruise, share, out=wanted[0])
        wanted[2] = turn
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

    def _at_goal(self, poses_3N: FloatArray, yaw_rad: float) -> FloatArray:
        wanted = np.zeros_like(poses_3N)
        error = wrap_angle(yaw_rad - poses_3N[2])
        size = np.abs(error)
        rate = self._slowing(np.zeros_like(size), size, np.full((2, 1), self._robot.max_yaw_rate_radps))[1]
        wanted[2] = np.where(size > 0.02, np.copysign(rate, error), 0.0)
        return wanted
