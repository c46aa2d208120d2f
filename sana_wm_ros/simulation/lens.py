"""A real lens bends the picture: draw a wider ideal one and bend it, as CameraInfo's plumb_bob says."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.simulation.robot import Camera


class Lens:
    """Makes the pictures of a camera with distortion from those of ``ideal``, a wider one without.

    Source: OpenCV's camera model, x' = x (1 + k1 r^2 + k2 r^4), which ROS calls plumb_bob.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        if not any(camera.distortion):
            self.ideal, self._map = camera, None
            return
        fx, fy, cx, cy = (float(value) for value in camera.intrinsics_4)
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
        columns, rows = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        pixels = np.stack([columns, rows], axis=-1).reshape(-1, 1, 2).astype(np.float64)
        rays = cv2.undistortPoints(pixels, matrix, np.array([*camera.distortion, 0.0, 0.0, 0.0]))
        rays = rays.reshape(camera.height, camera.width, 2)
        # As many pixels more on each side as the outermost rays need, at the same focal length.
        margin_x = max(0, math.ceil(np.abs(rays[..., 0]).max() * fx - (camera.width - 1) / 2) + 1)
        margin_y = max(0, math.ceil(np.abs(rays[..., 1]).max() * fy - (camera.height - 1) / 2) + 1)
        width, height = camera.width + 2 * margin_x, camera.height + 2 * margin_y
        fov = 2 * math.atan(width / 2 / fx)
        self.ideal = replace(camera, width=width, height=height, hfov_rad=fov, distortion=(0.0, 0.0))
        self._map = cv2.convertMaps(
            (rays[..., 0] * fx + cx + margin_x).astype(np.float32),
            (rays[..., 1] * fy + cy + margin_y).astype(np.float32),
            cv2.CV_16SC2,
        )

    def bend(self, picture_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture of ``ideal`` as the camera has it."""
        if self._map is None:
            return picture_HWC
        bent = cv2.remap(picture_HWC, *self._map, interpolation=cv2.INTER_LINEAR)
        return np.asarray(bent, dtype=np.uint8)
