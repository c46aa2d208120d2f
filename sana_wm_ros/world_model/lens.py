"""A camera's lens as its camera_info describes it, and pictures with the lens's distortion undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry.camera import Pinhole, undistortion


@dataclass(frozen=True, kw_only=True)
class Lens:
    """A camera as its camera_info describes it: a pinhole, and what to undo before it is one."""

    pinhole: Pinhole
    kind: str
    coefficients: tuple[float, ...]

    @staticmethod
    def from_camera_info(message: Any, *, rectified: bool) -> Lens:
        """From a sensor_msgs/CameraInfo of ROS 1 or ROS 2; ``ValueError`` where it cannot be used.

        rectified: the pictures were undistorted already, so the projection matrix P describes them
        (REP-104: raw and rectified topics share one camera_info).
        """
        k, p, d = (getattr(message, n if hasattr(message, n) else n.upper()) for n in ("k", "p", "d"))
        fx, cx, fy, cy = (p[0], p[2], p[5], p[6]) if rectified else (k[0], k[2], k[4], k[5])
        pinhole = Pinhole(
            fx=float(fx), fy=float(fy), cx=float(cx), cy=float(cy), width=message.width, height=message.height
        )
        coefficients = tuple(float(value) for value in d)
        kind = "none" if rectified else undistortion(message.distortion_model, coefficients)
        return Lens(pinhole=pinhole, kind=kind, coefficients=coefficients)


class Rectifier:
    """Undoes a lens's distortion: the picture that a pinhole with the same camera matrix would see.

    Corners that the lens never saw stay black. The maps are made once per picture size.
    """

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self._maps: dict[tuple[int, int], tuple[NDArray[Any], NDArray[Any]]] = {}

    def apply(self, picture_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture of any size of the camera's shape, undistorted."""
        if self.lens.kind == "none":
            return picture_HWC
        size = (picture_HWC.shape[1], picture_HWC.shape[0])
        if size not in self._maps:
            self._maps = {size: self._make_maps(size)}
        first, second = self._maps[size]
        return np.asarray(cv2.remap(picture_HWC, first, second, cv2.INTER_LINEAR), dtype=np.uint8)

    def _make_maps(self, size: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
        pinhole = self.lens.pinhole
        sx, sy = size[0] / pinhole.width, size[1] / pinhole.height
        matrix = np.array(
            [
                [pinhole.fx * sx, 0.0, (pinhole.cx + 0.5) * sx - 0.5],
                [0.0, pinhole.fy * sy, (pinhole.cy + 0.5) * sy - 0.5],
                [0.0, 0.0, 1.0],
            ]
        )
        coefficients = np.array(self.lens.coefficients)
        make = (
            cv2.fisheye.initUndistortRectifyMap
            if self.lens.kind == "fisheye"
            else cv2.initUndistortRectifyMap
        )
        first, second = make(matrix, coefficients, np.eye(3), matrix, size, cv2.CV_16SC2)
        return first, second
