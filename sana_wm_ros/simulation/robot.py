"""The simulated robot: its camera, its limits, and where commands lead when nothing is in the way."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.planning.types import Robot

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A pinhole camera on the robot; metres, radians, pixels. ``pitch_rad`` is positive downwards."""

    width: int = 96
    height: int = 64
    hfov_rad: float = math.radians(90.0)
    forward_m: float = 0.1
    up_m: float = 0.35
    pitch_rad: float = math.radians(7.5)

    def __post_init__(self) -> None:
        if self.width < 8 or self.height < 8:
            raise ValueError(f"a picture of {self.width}x{self.height} is too small; 8x8 is the least")
        if not 0.2 < self.hfov_rad < 2.8:
            raise ValueError(f"hfov_rad is {self.hfov_rad}, expected 0.2 to 2.8")

    @property
    def focal_px(self) -> float:
        return self.width / 2 / math.tan(self.hfov_rad / 2)

    @property
    def vfov_rad(self) -> float:
        return 2 * math.atan(self.height / 2 / self.focal_px)

    @property
    def intrinsics_4(self) -> NDArray[np.float32]:
        """fx, fy, cx, cy with pixel centres on integers."""
        focal = self.focal_px
        return np.array([focal, focal, (self.width - 1) / 2, (self.height - 1) / 2], np.float32)

    @property
    def T_base_camera_44(self) -> FloatArray:
        """The optical frame (x right, y down, z forward) in the base frame (x forward, y left, z up)."""
        cos, sin = math.cos(self.pitch_rad), math.sin(self.pitch_rad)
        pose = np.eye(4)
        pose[:3, 0] = (0.0, -1.0, 0.0)
        pose[:3, 1] = (-sin, 0.0, -cos)
        pose[:3, 2] = (cos, 0.0, -sin)
        pose[:3, 3] = (self.forward_m, 0.0, self.up_m)
        return pose


def draw_camera(rng: np.random.Generator, width: int = 96, height: int = 64) -> Camera:
    """A camera mounted a little differently on every robot."""
    return Camera(
        width=width,
        height=height,
        hfov_rad=math.radians(rng.uniform(86.0, 94.0)),
        forward_m=rng.uniform(0.08, 0.12),
        up_m=rng.uniform(0.3, 0.4),
        pitch_rad=math.radians(rng.uniform(5.0, 10.0)),
    )


def limit_command(
    wanted: tuple[float, float], last: tuple[float, float], dt_s: float, robot: Robot
) -> tuple[float, float]:
    """The command (speed, yaw rate) nearest to the wanted one that the robot's limits allow after ``last``."""
    dv, dw = robot.max_acceleration_mps2 * dt_s, robot.max_yaw_acceleration_radps2 * dt_s
    speed = min(max(wanted[0], -robot.max_reverse_mps), robot.max_speed_mps)
    speed = min(max(speed, last[0] - dv), last[0] + dv)
    top = robot.max_yaw_rate_radps
    if robot.drive == "ackermann":  # a car turns only as fast as it rolls
        top = min(top, abs(speed) * math.tan(robot.max_steering_rad) / robot.wheelbase_m)
    rate = min(max(wanted[1], last[1] - dw), last[1] + dw)
    return speed, min(max(rate, -top), top)


def advance(pose_3: FloatArray, command: tuple[float, float], dt_s: float) -> FloatArray:
    """The pose after holding (speed, yaw rate) for a time on free ground; exact on the arc."""
    x, y, yaw = pose_3
    turned = command[1] * dt_s
    chord = command[0] * dt_s * float(np.sinc(turned / (2 * math.pi)))  # np.sinc(t) is sin(pi t) / (pi t)
    heading = yaw + turned / 2
    return np.array([x + chord * math.cos(heading), y + chord * math.sin(heading), yaw + turned])
