"""The simulated robot: where its camera is mounted and what it sees, and how well it does what it is told."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry.camera import Pinhole, base_to_optical

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera on the robot; metres, radians, pixels. ``pitch_rad`` is positive downwards.

    distortion: k1 and k2 of plumb_bob (``Lens`` draws it); zeros are an ideal pinhole.
    """

    width: int = 96
    height: int = 64
    hfov_rad: float = math.radians(90.0)
    forward_m: float = 0.1
    up_m: float = 0.35
    pitch_rad: float = math.radians(7.5)
    distortion: tuple[float, float] = (0.0, 0.0)

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


@dataclass(frozen=True, kw_only=True)
class Handling:
    """What lies between a command and the motion.

    latency_s: until a command reaches the wheels. lag_s: time constant with which they follow it.
    slip_along, slip_turn: shares of the wheels' motion that are lost on the floor; odometry, which counts
    wheels, never knows.
    """

    latency_s: float = 0.0
    lag_s: float = 0.06
    slip_along: float = 0.0
    slip_turn: float = 0.0

    def __post_init__(self) -> None:
        for name, most in (("latency_s", 1.0), ("lag_s", 1.0), ("slip_along", 0.5), ("slip_turn", 0.5)):
            value = getattr(self, name)
            if not 0.0 <= value <= most:  # also refuses NaN
                raise ValueError(f"{name} is {value}, expected 0 to {most}")


_FIELD_OF_VIEW_DEG = {"lab": (86.0, 94.0), "varied": (76.0, 104.0)}
_UP_M = {"lab": (0.3, 0.4), "varied": (0.24, 0.5)}
_PITCH_DEG = {"lab": (5.0, 10.0), "varied": (0.0, 14.0)}
_SLIP = {"lab": 0.005, "varied": 0.03}


def draw_camera(
    rng: np.random.Generator, width: int = 96, height: int = 64, *, family: str = "lab", lens: bool = False
) -> Camera:
    """A camera mounted a little differently on every robot; more so in the family ``varied``.

    ``lens``: half of them have one that bends the picture, as cheap cameras do.
    """
    camera = Camera(
        width=width,
        height=height,
        hfov_rad=math.radians(rng.uniform(*_FIELD_OF_VIEW_DEG[family])),
        forward_m=rng.uniform(0.08, 0.12),
        up_m=rng.uniform(*_UP_M[family]),
        pitch_rad=math.radians(rng.uniform(*_PITCH_DEG[family])),
    )
    bends, k1, k2 = rng.random() < 0.5, rng.uniform(-0.18, -0.03), rng.uniform(0.0, 0.015)
    return replace(camera, distortion=(float(k1), float(k2))) if lens and bends else camera


def draw_handling(rng: np.random.Generator, family: str) -> Handling:
    """Wheels, motors and floors differ from robot to robot."""
    slip = _SLIP[family]
    return Handling(
        latency_s=float(rng.uniform(0.0, 0.08)),
        lag_s=float(rng.uniform(0.04, 0.09)),
        slip_along=float(rng.uniform(0.0, slip)),
        slip_turn=float(rng.uniform(0.0, 1.5 * slip)),
    )
