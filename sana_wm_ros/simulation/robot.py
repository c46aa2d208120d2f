"""The simulated robot's camera: where it is mounted and what it sees."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry.camera import Pinhole, base_to_optical

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
    def pinhole(self) -> Pinhole:
        return Pinhole.from_field_of_view(self.hfov_rad, self.width, self.height)

    @property
    def vfov_rad(self) -> float:
        return 2 * math.atan(self.height / 2 / self.pinhole.fy)

    @property
    def intrinsics_4(self) -> NDArray[np.float32]:
        """fx, fy, cx, cy with pixel centres on integers."""
        pinhole = self.pinhole
        return np.array([pinhole.fx, pinhole.fy, pinhole.cx, pinhole.cy], np.float32)

    @property
    def T_base_camera_44(self) -> FloatArray:
        """The optical frame (x right, y down, z forward) in the base frame (x forward, y left, z up)."""
        return base_to_optical((self.forward_m, 0.0, self.up_m), (0.0, self.pitch_rad, 0.0))


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
