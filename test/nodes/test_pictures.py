"""Every image encoding becomes the same RGB picture, and everything else is refused by name."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image

from sana_wm_ros.nodes.pictures import Unreadable, image_from_rgb, rgb_from_compressed, rgb_from_image

RED, GREEN, BLUE = (200, 0, 0), (0, 180, 0), (0, 0, 160)
# 2 x 4 pixels: red, green on top; blue, grey below, each two pixels wide.
SCENE = np.array([[RED, RED, GREEN, GREEN], [BLUE, BLUE, (90, 90, 90), (90, 90, 90)]], dtype=np.uint8)


def message(encoding: str, pixels: np.ndarray, *, padding: int = 0, big_endian: bool = False) -> Image:
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    if pixels.dtype == np.uint16:
        rows = rows.astype(">u2" if big_endian else "<u2")
    data = b"".join(row.tobytes() + b"\xee" * padding for row in rows)
    step = len(data) // height
    return Image(
        height=height,
        width=width,
        encoding=encoding,
        step=step,
        is_bigendian=int(big_endian),
        data=array.array("B", data),
    )


def with_alpha(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels, np.full((*pixels.shape[:2], 1), 77, np.uint8)], axis=2)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", SCENE),
        ("bgr8", SCENE[..., ::-1]),
        ("8UC3", SCENE[..., ::-1]),
        ("rgba8", with_alpha(SCENE)),
        ("bgra8", with_alpha(SCENE[..., ::-1])),
    ],
)
def test_colour_encodings_give_the_scene(encoding: str, pixels: np.ndarray, padding: int) -> None:
    picture = rgb_from_image(message(encoding, np.ascontiguousarray(pixels), padding=padding))
    np.testing.assert_array_equal(picture, SCENE)


@pytest.mark.parametrize("padding", [0, 3])
def test_grey_becomes_three_equal_channels(padding: int) -> None:
    grey = np.array([[0, 50, 100], [150, 200, 255]], dtype=np.uint8)
    picture = rgb_from_image(message("mono8", grey, padding=padding))
    np.testing.assert_array_equal(picture, np.repeat(grey[..., None], 3, axis=2))


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("padding", [0, 6])
def test_sixteen_bit_grey_keeps_its_high_byte_in_either_byte_order(big_endian: bool, padding: int) -> None:
    grey = np.array([[0x0000, 0x12FF, 0x80EE], [0xFF01, 0x3344, 0x7FAA]], dtype=np.uint16)
    picture = rgb_from_image(message("mono16", grey, padding=padding, big_endian=big_endian))
    np.testing.assert_array_equal(picture[..., 0], [[0x00, 0x12, 0x80], [0xFF, 0x33, 0x7F]])
    assert (picture[..., 0] == picture[..., 2]).all()


@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_give_the_uniform_colour_that_they_were_made_from(pattern: str) -> None:
    colour = dict(zip("rgb", (200, 120, 40), strict=True))
    tile = np.array([colour[letter] for letter in pattern], dtype=np.uint8).reshape(2, 2)
    picture = rgb_from_image(message(f"bayer_{pattern}8", np.tile(tile, (4, 5))))
    np.testing.assert_array_equal(picture[2:-2, 2:-2], np.broadcast_to((200, 120, 40), (4, 6, 3)))


@pytest.mark.parametrize(("encoding", "order"), [("yuv422", "uyvy"), ("yuv422_yuy2", "yuyv")])
@pytest.mark.parametrize("padding", [0, 4])
def test_yuv422_in_both_byte_orders(encoding: str, order: str, padding: int) -> None:
    # BT.601, 8 bit: pure red of value 255 is Y = 81, U (Cb) = 90, V (Cr) = 240.
    parts = {"y": 81, "u": 90, "v": 240}
    pair = [parts[letter] for letter in order]
    pixels = np.tile(np.array(pair, dtype=np.uint8).reshape(1, 2, 2), (2, 3, 1))
    picture = rgb_from_image(message(encoding, pixels, padding=padding))
    assert picture.shape == (2, 6, 3)
    assert np.abs(picture.astype(int) - [255, 0, 0]).max() <= 2


def test_trailing_bytes_do_no_harm() -> None:
    longer = message("rgb8", SCENE)
    longer.data = array.array("B", bytes(longer.data) + b"\x01\x02\x03")
    np.testing.assert_array_equal(rgb_from_image(longer), SCENE)


@pytest.mark.parametrize("encoding", ["32FC1", "16UC1", "rgb16", "bayer_rggb16", "nv12", ""])
def test_other_encodings_are_refused_by_name(encoding: str) -> None:
    with pytest.raises(Unreadable, match="known: rgb8") as caught:
        rgb_from_image(message(encoding, SCENE))
    assert repr(encoding) in str(caught.value)


def test_truncated_data_is_refused_with_the_bytes_that_are_missing() -> None:
    short = message("rgb8", SCENE)
    short.data = array.array("B", bytes(short.data)[:-1])
    with pytest.raises(Unreadable, match="23 bytes.*needs 24") as caught:
        rgb_from_image(short)
    assert caught.value.kind == "truncated data"


def test_a_row_step_that_cannot_hold_a_row_is_refused() -> None:
    wrong = message("rgb8", SCENE)
    wrong.step = 5
    with pytest.raises(Unreadable, match="row step 5 is too small"):
        rgb_from_image(wrong)


@pytest.mark.parametrize(("height", "width"), [(0, 4), (2, 0), (60000, 60000)])
def test_impossible_sizes_are_refused(height: int, width: int) -> None:
    with pytest.raises(Unreadable, match=f"{width}x{height}"):
        rgb_from_image(Image(height=height, width=width, encoding="mono8", step=width))


def compressed(suffix: str, name: str, pixels: np.ndarray) -> CompressedImage:
    done, data = cv2.imencode(suffix, pixels)
    assert done
    return CompressedImage(format=name, data=array.array("B", data.tobytes()))


def big_scene() -> np.ndarray:
    return np.repeat(np.repeat(SCENE, 32, axis=0), 32, axis=1)


@pytest.mark.parametrize("name", ["png", "bgr8; png compressed bgr8", "rgb8; png compressed bgr8"])
def test_png_is_read_exactly(name: str) -> None:
    picture = rgb_from_compressed(compressed(".png", name, np.ascontiguousarray(big_scene()[..., ::-1])))
    np.testing.assert_array_equal(picture, big_scene())


def test_jpeg_is_read_nearly_exactly() -> None:
    picture = rgb_from_compressed(compressed(".jpg", "jpeg", np.ascontiguousarray(big_scene()[..., ::-1])))
    assert np.abs(picture[8:24, 8:24].astype(int) - RED).max() <= 4


def test_grey_and_sixteen_bit_compressed_pictures() -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    np.testing.assert_array_equal(rgb_from_compressed(compressed(".png", "mono8; png", grey))[..., 1], grey)
    deep = grey.astype(np.uint16) << 8
    picture = rgb_from_compressed(compressed(".png", "mono16; png", deep))
    assert np.abs(picture[..., 1].astype(int) - grey).max() <= 1


def test_a_publisher_that_left_rgb_order_in_its_jpeg_is_understood() -> None:
    left = compressed(".png", "rgb8; png compressed rgb8", big_scene())
    np.testing.assert_array_equal(rgb_from_compressed(left), big_scene())


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.5, 0.98])
def test_a_truncated_compressed_picture_is_refused_instead_of_half_grey(suffix: str, kept: float) -> None:
    rng = np.random.default_rng(0)
    whole = compressed(suffix, suffix[1:], rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    part = bytes(whole.data)[: int(len(whole.data) * kept)]
    with pytest.raises(Unreadable, match="truncated"):
        rgb_from_compressed(CompressedImage(format=whole.format, data=array.array("B", part)))


@pytest.mark.parametrize("name", ["h264", "compressedDepth png", "webp"])
def test_other_compressions_are_refused_by_name(name: str) -> None:
    with pytest.raises(Unreadable, match=r"cannot be read; known: jpeg, png|holds distances"):
        rgb_from_compressed(CompressedImage(format=name, data=array.array("B", b"\x00\x00\x01garbage")))


def test_garbage_behind_a_jpeg_header_is_refused() -> None:
    garbage = b"\xff\xd8\xff" + b"\x42" * 500 + b"\xff\xd9"
    with pytest.raises(Unreadable, match="could not be decoded|undecodable"):
        rgb_from_compressed(CompressedImage(format="jpeg", data=array.array("B", garbage)))


def test_a_picture_survives_the_way_to_a_message_and_back() -> None:
    sent = image_from_rgb(SCENE, stamp=Time(sec=3), frame_id="camera")
    assert (sent.header.frame_id, sent.header.stamp.sec, sent.step) == ("camera", 3, 12)
    np.testing.assert_array_equal(rgb_from_image(sent), SCENE)
