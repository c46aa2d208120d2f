"""Image messages to uint8 RGB arrays: what is understood, and a refusal by name of everything else.

cv_bridge reads the pixels. Around it stands what its ports disagree about: padded rows, big-endian
words, ``yuv422`` and 16-bit grey are brought into order here, so the same message gives the same
picture on a full ROS and on the wheels.
"""

from __future__ import annotations

import array
import sys
from dataclasses import dataclass

import cv2
import numpy as np
from cv_bridge import CvBridge
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage, Image

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class _Layout:
    channels: int
    bytes_per_channel: int
    to_rgb: int | None  # OpenCV conversion code; None where the pixels are RGB already


# ROS names a Bayer pattern by its first row's first two pixels and the second row's; OpenCV by the
# second row's second and third. So rggb is OpenCV's BayerBG, and so on.
_LAYOUTS = {
    "rgb8": _Layout(3, 1, None),
    "bgr8": _Layout(3, 1, cv2.COLOR_BGR2RGB),
    "rgba8": _Layout(4, 1, cv2.COLOR_RGBA2RGB),
    "bgra8": _Layout(4, 1, cv2.COLOR_BGRA2RGB),
    "8UC1": _Layout(1, 1, cv2.COLOR_GRAY2RGB),
    "8UC3": _Layout(3, 1, cv2.COLOR_BGR2RGB),
    "mono8": _Layout(1, 1, cv2.COLOR_GRAY2RGB),
    "mono16": _Layout(1, 2, cv2.COLOR_GRAY2RGB),
    "bayer_rggb8": _Layout(1, 1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": _Layout(1, 1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": _Layout(1, 1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": _Layout(1, 1, cv2.COLOR_BayerGB2RGB),
    "yuv422": _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Layout(2, 1, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _Layout(2, 1, cv2.COLOR_YUV2RGB_YUY2),
}
_BEYOND_CV_BRIDGE = {"mono16", "yuv422", "uyvy", "yuv422_yuy2", "yuyv"}
_MAX_PIXELS = 1 << 26


class Unreadable(ValueError):
    """A picture that cannot be used. ``kind`` names the sort of fault, so that it is said once."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def rgb_from_image(message: Image) -> Picture:
    """A sensor_msgs/Image as uint8 RGB (height, width, 3); raises ``Unreadable``."""
    layout = _LAYOUTS.get(message.encoding)
    if layout is None:
        known = ", ".join(_LAYOUTS)
        raise Unreadable(
            f"encoding {message.encoding!r}",
            f"pictures with encoding {message.encoding!r} cannot be read; known: {known}",
        )
    pixels_HWC = _tight_pixels(message, layout)
    if message.encoding == "mono16":
        pixels_HWC = (pixels_HWC >> 8).astype(np.uint8)
    if layout.to_rgb is None:
        return np.ascontiguousarray(pixels_HWC)
    if layout.channels == 2 and message.width % 2:
        raise Unreadable("odd width", f"{message.encoding} needs an even width, got {message.width}")
    if message.encoding.startswith("bayer") and (message.width < 4 or message.height < 4):
        raise Unreadable("tiny Bayer picture", f"a Bayer picture of {message.width}x{message.height} pixels")
    return np.asarray(cv2.cvtColor(pixels_HWC, layout.to_rgb), dtype=np.uint8)


def _tight_pixels(message: Image, layout: _Layout) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The pixels without padding, in this machine's byte order: (H, W), (H, W, 2..4)."""
    height, width = message.height, message.width
    if height == 0 or width == 0 or height * width > _MAX_PIXELS:
        raise Unreadable("size", f"a picture of {width}x{height} pixels cannot be used")
    row = width * layout.channels * layout.bytes_per_channel
    if message.step < row:
        raise Unreadable(
            "row step",
            f"row step {message.step} is too small: {width} pixels of {message.encoding} take {row} bytes",
        )
    needed = message.step * (height - 1) + row
    if len(message.data) < needed:
        raise Unreadable(
            "truncated data",
            f"picture is truncated: {len(message.data)} bytes, but {width}x{height} {message.encoding} with a "
            f"row step of {message.step} needs {needed}",
        )
    if message.step == row and message.encoding not in _BEYOND_CV_BRIDGE and not message.is_bigendian:
        return np.asarray(CvBridge().imgmsg_to_cv2(_exactly(message, needed), "passthrough"))
    flat = np.frombuffer(message.data, dtype=np.uint8, count=needed)
    rows = np.lib.stride_tricks.as_strided(
        flat, shape=(height, row), strides=(message.step, 1), writeable=False
    )
    pixels = np.ascontiguousarray(rows)
    if layout.bytes_per_channel == 2:
        words = pixels.view(">u2" if message.is_bigendian else "<u2")
        return words.astype(np.uint16)
    return pixels if layout.channels == 1 else pixels.reshape(height, width, layout.channels)


def _exactly(message: Image, needed: int) -> Image:
    """The message with as many bytes as its picture has: cv_bridge trips over trailing ones."""
    if len(message.data) == needed:
        return message
    return Image(
        header=message.header,
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        step=message.step,
        data=array.array("B", bytes(message.data)[:needed]),
    )


def rgb_from_compressed(message: CompressedImage) -> Picture:
    """A sensor_msgs/CompressedImage (jpeg, png) as uint8 RGB (height, width, 3); raises ``Unreadable``."""
    data = bytes(message.data)
    _check_compressed(message.format, data)
    try:
        pixels = CvBridge().compressed_imgmsg_to_cv2(message, "passthrough")
    except (cv2.error, TypeError, ValueError) as error:
        raise Unreadable("undecodable data", f"picture of format {message.format!r}: {error}") from error
    if pixels is None or pixels.size == 0:
        raise Unreadable(
            "undecodable data",
            f"picture of format {message.format!r} could not be decoded ({len(data)} bytes)",
        )
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise Unreadable("pixel type", f"picture of format {message.format!r} has {pixels.dtype} pixels")
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if channels == 3 and "compressed rgb" in message.format:  # its publisher skipped the swap to BGR
        return np.ascontiguousarray(pixels)
    codes = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
    return np.asarray(cv2.cvtColor(pixels, codes[channels]), dtype=np.uint8)


def _check_compressed(name: str, data: bytes) -> None:
    """Refuse what a decoder would turn into garbage or a half-grey picture without a word."""
    if "compressedDepth" in name:
        raise Unreadable(
            "depth", "a compressedDepth topic holds distances, not a picture: choose a colour topic"
        )
    if data.startswith(b"\xff\xd8\xff"):
        whole = data.rstrip(b"\x00").endswith(b"\xff\xd9")
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        whole = b"IEND" in data[-64:]
    else:
        raise Unreadable(
            f"format {name!r}", f"compressed pictures of format {name!r} cannot be read; known: jpeg, png"
        )
    if not whole:
        raise Unreadable(
            "truncated data", f"{name} picture is truncated: its end is missing ({len(data)} bytes)"
        )


def image_from_rgb(picture_HWC: Picture, *, stamp: object, frame_id: str) -> Image:
    """uint8 RGB (height, width, 3) as an ``rgb8`` message."""
    height, width = picture_HWC.shape[:2]
    message = Image(
        height=height, width=width, encoding="rgb8", step=3 * width, is_bigendian=sys.byteorder == "big"
    )
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    message.data = array.array("B", np.ascontiguousarray(picture_HWC).tobytes())
    return message


def jpeg_from_rgb(
    picture_HWC: Picture, *, stamp: object, frame_id: str, quality: int = 90
) -> CompressedImage:
    """uint8 RGB (height, width, 3) as a JPEG message."""
    _, data = cv2.imencode(".jpg", picture_HWC[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    message = CompressedImage(format="jpeg", data=array.array("B", data.tobytes()))
    message.header.stamp = stamp
    message.header.frame_id = frame_id
    return message
