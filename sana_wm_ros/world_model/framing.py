"""Pictures and intrinsics of a camera as they come, at the size that a model wants."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry.camera import Crop, Pinhole

_ASPECT_TOLERANCE = 0.02


def scaled(camera: Pinhole, width: int, height: int) -> Pinhole:
    """The camera for another size of the same picture; ``ValueError`` when it is another shape of picture."""
    aspect = (camera.width / camera.height) / (width / height)
    if abs(aspect - 1.0) > _ASPECT_TOLERANCE:
        raise ValueError(
            f"camera_info is for {camera.width}x{camera.height} pictures, but they come as {width}x{height}, "
            "another shape: publish the camera_info of the picture that is sent"
        )
    sx, sy = width / camera.width, height / camera.height
    return Pinhole(
        fx=camera.fx * sx,
        fy=camera.fy * sy,
        cx=(camera.cx + 0.5) * sx - 0.5,
        cy=(camera.cy + 0.5) * sy - 0.5,
        width=width,
        height=height,
    )


def cropped(image_HWC: NDArray[np.uint8], crop: Crop, width: int, height: int) -> NDArray[np.uint8]:
    """The rectangle at a new size, averaged over areas where it shrinks."""
    part_HWC = image_HWC[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    if (crop.width, crop.height) == (width, height):
        return np.ascontiguousarray(part_HWC)
    kind = cv2.INTER_AREA if crop.width >= width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(part_HWC, (width, height), interpolation=kind), dtype=np.uint8)
