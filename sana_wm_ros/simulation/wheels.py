"""From a command to the motion of the base: latency, limits, lag and slip; and a robot that has nothing but these."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.planning.motion_models import max_curvature
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.robot import Handling

FloatArray = NDArray[np.float64]
Twist2 = tuple[float, float]

TIME_STEP_S = 0.0125
MOTOR_RESERVE = 4.0
"""Motors accelerate so many times harder than anybody is allowed to ask for. What is asked for within the limits
is then followed closely, though it comes in steps, and a command that jumps is still not obeyed at once."""


class Wheels:
    """Carries commands to the wheels, step by step of ``TIME_STEP_S``. Twists are (speed, yaw rate)."""

    def __init__(self, robot: Robot, handling: Handling) -> None:
        self.robot, self.handling = robot, handling
        self._gain = 1.0 - math.exp(-TIME_STEP_S / max(handling.lag_s, 1e-6))
        self.stand()

    def stand(self) -> None:
        """At rest, with no command on the way."""
        self._twist: Twist2 = (0.0, 0.0)
        self._on_the_way = deque([(0.0, 0.0)] * round(self.handling.latency_s / TIME_STEP_S))

    def push(self, command: Twist2, base: Twist2) -> Twist2:
        """What the base's twist becomes within one step, from what it is: the wheels push, slip and lag."""
        self._on_the_way.append(command)
        self._twist = wheels_after(self.robot, self._on_the_way.popleft(), self._twist)
        along, turn = 1.0 - self.handling.slip_along, 1.0 - self.handling.slip_turn
        speed = base[0] + self._gain * (along * self._twist[0] - base[0])
        return speed, base[1] + self._gain * (turn * self._twist[1] - base[1])


class FreeRobot:
    """A robot in the middle of nowhere: it does what a real one would, had it nothing to run into."""

    def __init__(self, robot: Robot, handling: Handling, start_3: FloatArray) -> None:
        self._wheels = Wheels(robot, handling)
        self.place(start_3)

    def place(self, pose_3: FloatArray) -> None:
        """Set it down somewhere, at rest."""
        self._wheels.stand()
        self._base: Twist2 = (0.0, 0.0)
        self.pose_3 = np.array(pose_3, dtype=np.float64)

    @property
    def twist_2(self) -> Twist2:
        """Forward speed and yaw rate."""
        return self._base

    def hold(self, command: Twist2, duration_s: float) -> None:
        """Hold a command for a whole number of time steps."""
        x, y, yaw = (float(value) for value in self.pose_3)
        for _ in range(round(duration_s / TIME_STEP_S)):
            self._base = self._wheels.push(command, self._base)
            speed, rate = self._base
            heading = yaw + rate * TIME_STEP_S / 2
            x += speed * math.cos(heading) * TIME_STEP_S
            y += speed * math.sin(heading) * TIME_STEP_S
            yaw += rate * TIME_STEP_S
        self.pose_3 = np.array([x, y, yaw])


def wheels_after(robot: Robot, command: Twist2, wheels: Twist2) -> Twist2:
    """Speed and yaw rate that the wheels have one time step on, on their way to a command.

    A scalar twin of ``planning.motion_models.step_towards``, which takes 30 times as long for one robot.
    """
    dv = MOTOR_RESERVE * robot.max_acceleration_mps2 * TIME_STEP_S
    dw = MOTOR_RESERVE * robot.max_yaw_acceleration_radps2 * TIME_STEP_S
    speed = min(max(command[0], -robot.max_reverse_mps), robot.max_speed_mps)
    speed = min(max(speed, wheels[0] - dv), wheels[0] + dv)
    rate = min(max(command[1], -robot.max_yaw_rate_radps), robot.max_yaw_rate_radps)
    rate = min(max(rate, wheels[1] - dw), wheels[1] + dw)
    if robot.drive == "ackermann":
        most = max_curvature(robot) * abs(speed)
        rate = min(max(rate, -most), most)
    return speed, rate
