"""The camera: where it sits on the robot, and its intrinsics through crop, resize and undistortion.

Pixel convention: integer pixel centres, so an image W wide spans [-0.5, W - 0.5].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.se2 import FloatArray

# Columns: the optical axes (x right, y down, z forward) in a body frame (x forward, y left, z up); REP-103.
_BODY_OPTICAL = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


def base_to_optical(xyz_m: ArrayLike, rpy_rad: ArrayLike) -> FloatArray:
    """T_base_camera (4x4, optical axes) from the pose of the camera's *body* frame in the base.

    The body frame looks along its x axis, so a positive pitch looks down (REP-103).
    """
    T_base_camera: FloatArray = se3.from_xyz_rpy(xyz_m, rpy_rad) @ _BODY_OPTICAL
    return T_base_camera


def body_place(T_base_camera_44: ArrayLike) -> tuple[float, float, float, float, float, float]:
    """x, y, z, roll, pitch, yaw of the camera's body in the base: undoes ``base_to_optical``."""
    body_44 = np.asarray(T_base_camera_44, dtype=np.float64) @ se3.inverse(_BODY_OPTICAL)
    x, y, z = (float(value) for value in body_44[:3, 3])
    roll, pitch, yaw = se3.to_rpy(body_44)
    return x, y, z, roll, pitch, yaw


def camera_poses(base_poses_3: ArrayLike, T_base_camera_44: ArrayLike) -> FloatArray:
    """Camera-to-world matrices (..., 4, 4) of a camera fixed on a base at poses (..., 3)."""
    pose, mount = np.asarray(base_poses_3, dtype=np.float64), np.asarray(T_base_camera_44, dtype=np.float64)
    # se3.from_planar(pose) @ mount, entry by entry: many products of small matrices take far longer.
    cos, sin = np.cos(pose[..., 2]), np.sin(pose[..., 2])
    cameras = np.empty((*pose.shape[:-1], 4, 4))
    for column, (x, y) in enumerate(mount[:2].T):
        cameras[..., 0, column] = x * cos - y * sin
        cameras[..., 1, column] = x * sin + y * cos
    cameras[..., :2, 3] += pose[..., :2]
    cameras[..., 2:, :] = mount[2:]
    return cameras


@dataclass(frozen=True, kw_only=True)
class Pinhole:
    """Intrinsics in pixels of an image of the given size."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if not np.isfinite(values).all() or self.fx <= 0 or self.fy <= 0:
            raise ValueError(
                f"camera intrinsics (fx, fy, cx, cy) = {values}: focal lengths must be positive, all finite; "
                "an uncalibrated driver sends zeros: calibrate it, or give the intrinsics as parameters"
            )
        if self.width <= 0 or self.height <= 0:
            raise ValueError(f"image size {self.width}x{self.height} must be positive")

    @staticmethod
    def from_field_of_view(horizontal_rad: float, width: int, height: int) -> Pinhole:
        """Square pixels, the principal point in the middle."""
        if not 0 < horizontal_rad < np.pi:
            raise ValueError(f"horizontal field of view {horizontal_rad} rad must lie in (0, pi)")
        focal = width / (2 * np.tan(horizontal_rad / 2))
        return Pinhole(
            fx=focal, fy=focal, cx=(width - 1) / 2, cy=(height - 1) / 2, width=width, height=height
        )


@dataclass(frozen=True, kw_only=True)
class Crop:
    """A rectangle of whole source pixels: ``image[top : top + height, left : left + width]``."""

    left: int
    top: int
    width: int
    height: int


def cover_crop(width: int, height: int, out_width: int, out_height: int) -> Crop:
    """The largest centred rectangle with the output's aspect ratio (to a pixel).

    Cropping to it and resizing to the output's size is "resize to cover, then crop the centre".
    """
    for name, value in dict(width=width, height=height, out_width=out_width, out_height=out_height).items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}")
    scale = max(out_width / width, out_height / height)
    crop_width = min(width, max(1, round(out_width / scale)))
    crop_height = min(height, max(1, round(out_height / scale)))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return Crop(left=left, top=top, width=crop_width, height=crop_height)


def fit_to_model(source: Pinhole, out_width: int, out_height: int) -> tuple[Pinhole, Crop]:
    """What ``cover_crop`` and a resize to ``out_width`` x ``out_height`` make of a camera.

    Each axis is scaled by its own exact ratio, so rounding the crop to whole pixels costs no accuracy.
    """
    crop = cover_crop(source.width, source.height, out_width, out_height)
    sx, sy = out_width / crop.width, out_height / crop.height
    fitted = Pinhole(
        fx=source.fx * sx,
        fy=source.fy * sy,
        cx=(source.cx - crop.left + 0.5) * sx - 0.5,
        cy=(source.cy - crop.top + 0.5) * sy - 0.5,
        width=out_width,
        height=out_height,
    )
    return fitted, crop


Undistortion = Literal["none", "brown", "fisheye"]

_MODELS: dict[str, tuple[Undistortion, tuple[int, ...]]] = {
    "": ("brown", (4, 5, 8, 12, 14)),  # many drivers leave the name empty beside plumb_bob coefficients
    "none": ("brown", (4, 5, 8, 12, 14)),
    "plumb_bob": ("brown", (4, 5)),
    "rational_polynomial": ("brown", (8, 12, 14)),
    "equidistant": ("fisheye", (4,)),
    "fisheye": ("fisheye", (4,)),
}


def undistortion(model: str, coefficients: Sequence[float]) -> Undistortion:
    """Which undistortion a CameraInfo asks for.

    "none" when there is nothing to undo, "brown" for OpenCV's ``undistort`` family, "fisheye" for
    ``cv2.fisheye``. Raises ValueError for an unknown model or a wrong number of coefficients.
    """
    values = np.asarray(coefficients, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"distortion coefficients {values.tolist()} must be finite")
    if values.size == 0 or not values.any():
        # An equidistant lens bends rays even with zero coefficients.
        return "fisheye" if model in ("equidistant", "fisheye") and values.size else "none"
    if model not in _MODELS:
        known = ", ".join(name for name in _MODELS if name)
        raise ValueError(f"distortion model '{model}' is not known (known: {known}); use rectified images")
    kind, counts = _MODELS[model]
    if values.size not in counts:
        raise ValueError(f"distortion model '{model}' has {values.size} coefficients, expected {counts}")
    return kind
