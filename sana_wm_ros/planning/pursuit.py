"""Drives N robots through via points to a goal and stops there: commands for the motion model's roll-outs.

Dimension letters: N candidates, V via points, S stages of all candidates in a row.
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
    """Holds which stage each candidate is at: on its way to one of its via points, to its end, or arrived.

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
        self._robot, self._yaw_rad = robot, yaw_rad
        self._near_m = max(0.3, robot.max_speed_mps * period_s)
        self._arrive_m = arrive_m
        # Of every stage its point, how near that must be to be reached, metres to go beyond it, and the speeds: one
        # look into the table moves a candidate on.
        size, stages = len(vias_NV2), vias_NV2.shape[1] + 2
        on_NV = np.arange(stages) < counts_N[:, None]
        there_NV = np.arange(stages) > counts_N[:, None]
        table_6NV = np.empty((6, size, stages))
        table_6NV[:2] = ends_N2.T[..., None]
        table_6NV[:2, :, :-2] = np.where(on_NV[:, :-2], np.moveaxis(vias_NV2, -1, 0), table_6NV[:2, :, :-2])
        table_6NV[2] = np.where(on_NV, self._near_m, np.where(there_NV, 0.0, arrive_m))
        table_6NV[3] = np.where(on_NV, _FAR_M, 0.0)  # a point on the way is passed at full speed
        table_6NV[4] = np.where(there_NV, 0.0, speeds_N[:, None])
        table_6NV[5] = np.where(there_NV, 0.0, robot.max_yaw_rate_radps)
        self._table_6S = table_6NV.reshape(6, -1)
        self._at_N = stages * np.arange(size)
        self._ends_N = self._at_N + counts_N
        # Metres and radians go through the same formulas: of both no more per second than can be stopped in time.
        limits_21 = np.array([[robot.max_acceleration_mps2], [robot.max_yaw_acceleration_radps2]])
        # Whole arrays: broadcasting one number to N takes longer than N of them.
        per_frame_2N = (0.8 * period_s) * np.repeat(limits_21, size, axis=1)
        self._brake_2N = 2 * per_frame_2N / period_s
        self._half_2N, self._quarter_2N = 0.5 * per_frame_2N, 0.25 * per_frame_2N**2
        self._frame_2N = np.repeat([[period_s], [1.5 * period_s]], size, axis=1)
        self._move_on(np.zeros(size, dtype=np.bool_))

    def command(self, poses_3N: FloatArray, active_N: NDArray[np.bool_]) -> FloatArray:
        """Wanted twists (3, N) at poses (3, N); only ``active_N`` candidates move on to their next point."""
        offset, distance = self._to_target(poses_3N)
        reached_N = distance < self._reach_N
        reached_N &= active_N
        if np.count_nonzero(reached_N):
            self._move_on(reached_N)
            offset, distance = self._to_target(poses_3N)
            # Who passed the last via point may stand at its end already.
            reached_N &= (self._at_N == self._ends_N) & (distance < self._arrive_m)
            if np.count_nonzero(reached_N):
                self._move_on(reached_N)

        error = np.arctan2(offset[1], offset[0])
        error -= poses_3N[2]
        error -= (2 * np.pi) * np.rint(error * (0.5 / np.pi))
        left_2N = np.empty((2, len(error)))
        np.add(distance, self._onward_N, out=left_2N[0])
        np.abs(error, out=left_2N[1])
        cruise, rate = self._slowing(left_2N, self._most_2N)
        if self._robot.drive == "ackermann":
            return self._steer(error, distance, cruise)
        wanted = self._turn_and_go(error, distance, cruise, rate)
        if self._yaw_rad is not None and np.count_nonzero(arrived_N := self._at_N > self._ends_N):
            wanted = np.where(arrived_N, self._at_goal(poses_3N, self._yaw_rad), wanted)
        return wanted

    def _move_on(self, reached_N: NDArray[np.bool_]) -> None:
        self._at_N += reached_N
        now_6N = self._table_6S.take(self._at_N, axis=1)
        self._targets_2N, self._reach_N, self._onward_N, self._most_2N = (
            now_6N[:2],
            now_6N[2],
            now_6N[3],
            now_6N[4:],
        )

    def _to_target(self, poses_3N: FloatArray) -> tuple[FloatArray, FloatArray]:
        offset = self._targets_2N - poses_3N[:2]
        return offset, np.hypot(offset[0], offset[1])

    def _slowing(self, left_2N: FloatArray, most_2N: FloatArray) -> FloatArray:
        """Speeds and yaw rates (2, N), at most so high that who brakes once per frame still stops in what is left.

        Solves d = v^2 / (2 a) + v T / 2 (the sum over frames of T seconds), and never oversteps within a frame;
        turns take one and a half.
        """
        speed_2N = left_2N * self._brake_2N
        speed_2N += self._quarter_2N
        np.sqrt(speed_2N, out=speed_2N)
        speed_2N -= self._half_2N
        np.minimum(speed_2N, left_2N / self._frame_2N, out=speed_2N)
        return np.minimum(speed_2N, most_2N, out=speed_2N)

    def _turn_and_go(
        self, error: FloatArray, distance: FloatArray, cruise: FloatArray, rate: FloatArray
    ) -> FloatArray:
        wanted = np.zeros((3, len(error)))
        np.copysign(rate, error, out=wanted[2])
        if self._robot.drive == "omnidirectional":
            # It also turns towards where it goes: the camera should see that.
            wanted[0], wanted[1] = cruise * np.cos(error), cruise * np.sin(error)
            wanted[2, distance <= self._near_m] = 0.0
            return wanted
        # Full speed within 30 degrees of the target, on the spot beyond 75, so curves stay smooth and narrow.
        share = np.cos(error)
        share -= _COS_75
        share /= _COS_30 - _COS_75
        np.maximum(share, 0.0, out=share)
        np.minimum(share, 1.0, out=share)
        np.multiply(cruise, share, out=wanted[0])
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
        left_2N = np.array([np.zeros_like(size), size])
        rate = self._slowing(left_2N, np.full((2, 1), self._robot.max_yaw_rate_radps))[1]
        wanted[2] = np.where(size > 0.02, np.copysign(rate, error), 0.0)
        return wanted
