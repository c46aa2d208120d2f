"""Wheel odometry that drifts like a real one: wrong scales, and noise that grows with the way driven."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


class DriftingOdometry:
    """Integrates the robot's own motion with errors drawn once per drive and noise drawn per step.

    The defaults are those of a small robot on a hard floor: 1 % of the way and of the turning, and a slow
    drift of the heading (a few degrees in a minute).
    """

    def __init__(
        self,
        start_3: FloatArray,
        rng: np.random.Generator,
        *,
        scale_error: float = 0.01,
        turn_error: float = 0.01,
        noise_per_sqrt_m: float = 0.006,
        noise_per_sqrt_rad: float = 0.004,
        slip_along: float = 0.0,
        slip_turn: float = 0.0,
    ) -> None:
        """``slip_along`` and ``slip_turn`` are what the wheels lose on the floor and odometry counts."""
        self.pose_3 = np.array(start_3, dtype=np.float64)
        self._rng = rng
        self._scale = (1.0 + scale_error * rng.normal()) / (1.0 - slip_along)
        self._turn_scale = (1.0 + turn_error * rng.normal()) / (1.0 - slip_turn)
        self._noise_m, self._noise_rad = noise_per_sqrt_m, noise_per_sqrt_rad

    def update(self, before_3: FloatArray, after_3: FloatArray) -> FloatArray:
        """Take in one true motion and return the pose now reported."""
        cos, sin = math.cos(before_3[2]), math.sin(before_3[2])
        dx, dy = after_3[0] - before_3[0], after_3[1] - before_3[1]
        forward, left = cos * dx + sin * dy, cos * dy - sin * dx
        turned = math.remainder(after_3[2] - before_3[2], 2 * math.pi)
        way = math.hypot(forward, left)
        noise_forward, noise_turn = self._rng.normal(size=2)
        forward = forward * self._scale + self._noise_m * math.sqrt(way) * noise_forward
        spread = self._noise_rad * math.sqrt(abs(turned) + 0.3 * way)
        turned = turned * self._turn_scale + spread * noise_turn
        yaw = self.pose_3[2]
        heading = yaw + turned / 2
        # the left part is tiny and appears only where a wall pushes the robot aside
        self.pose_3 = np.array(
            [
                self.pose_3[0] + forward * math.cos(heading) - left * math.sin(yaw),
                self.pose_3[1] + forward * math.sin(heading) + left * math.cos(yaw),
                yaw + turned,
            ]
        )
        return self.pose_3
