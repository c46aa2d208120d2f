"""Image messages of a bag to RGB arrays, without ROS."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_TO_RGB: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, cv2.COLOR_GRAY2RGB),
    "8UC1": (1, cv2.COLOR_GRAY2RGB),
    "8UC3": (3, cv2.COLOR_BGR2RGB),
    # OpenCV names a Bayer pattern by its second row's pixels, ROS by its first row's.
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2RGB),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
}


def rgb_picture(message: Any, msgtype: str) -> NDArray[np.uint8]:
    """A sensor_msgs Image or CompressedImage as uint8 RGB (H, W, 3).

    Raises ValueError naming the encoding when it is not one of those the planner takes.
    """
    if msgtype.endswith("CompressedImage"):
        picture = cv2.imdecode(np.frombuffer(bytes(message.data), dtype=np.uint8), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError(f"a compressed picture (format '{message.format}') is neither jpeg nor png")
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    if message.encoding in ("mono16", "16UC1"):
        gray = _pixels(message, 1, ">u2" if message.is_bigendian else "<u2") >> 8
        return np.repeat(gray.astype(np.uint8), 3, axis=2)
    if message.encoding not in _TO_RGB:
        raise ValueError(
            f"pictures are encoded as '{message.encoding}'; expected one of {', '.join(_TO_RGB)}"
        )
    channels, conversion = _TO_RGB[message.encoding]
    pixels = _pixels(message, channels, "u1")
    rgb = pixels if conversion is None else cv2.cvtColor(pixels, conversion)
    return np.ascontiguousarray(rgb, dtype=np.uint8)


def _pixels(message: Any, channels: int, kind: str) -> NDArray[Any]:
    """Rows without their padding, (H, W, channels)."""
    size = np.dtype(kind).itemsize
    data = np.asarray(message.data, dtype=np.uint8)
    needed = message.width * channels * size
    if message.step < needed or data.size < message.height * message.step:
        raise ValueError(
            f"a {message.width}x{message.height} '{message.encoding}' picture came with {data.size} bytes "
            f"and a row step of {message.step}; expected rows of at least {needed}"
        )
    rows = data[: message.height * message.step].reshape(message.height, message.step)[:, :needed]
    return np.ascontiguousarray(rows).view(kind).reshape(message.height, message.width, channels)
