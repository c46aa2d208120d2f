"""Where the camera looks, and what cropping and resizing do to its intrinsics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sana_wm_ros.geometry import camera, se3
from sana_wm_ros.geometry.camera import Crop, Pinhole


def test_a_level_camera_looks_ahead_with_y_down():
    matrix = camera.base_to_optical([0.1, 0.0, 0.35], [0, 0, 0])
    assert np.allclose(matrix[:3, 2], [1, 0, 0])  # optical z is the base's forward
    assert np.allclose(matrix[:3, 0], [0, -1, 0])  # optical x is the base's right
    assert np.allclose(matrix[:3, 1], [0, 0, -1])  # optical y is down
    assert np.allclose(matrix[:3, 3], [0.1, 0, 0.35])


def test_positive_pitch_looks_down():
    forward = camera.base_to_optical([0, 0, 0], [0, 0.1, 0])[:3, 2]
    assert np.allclose(forward, [np.cos(0.1), 0, -np.sin(0.1)])


def test_a_turned_base_carries_its_camera():
    extrinsics = camera.base_to_optical([0.1, 0, 0.3], [0, 0, 0])
    pose = camera.camera_poses([[1.0, 2.0, np.pi / 2]], extrinsics)[0]
    assert np.allclose(pose[:3, 3], [1.0, 2.1, 0.3])
    assert np.allclose(pose[:3, 2], [0, 1, 0])


def test_many_cameras_equal_the_products_of_their_matrices():
    bases = np.random.default_rng(0).uniform(-9, 9, (3, 5, 3))
    mount = camera.base_to_optical([0.1, -0.2, 0.3], [0.02, 0.1, -0.4])
    assert np.allclose(camera.camera_poses(bases, mount), se3.from_planar(bases) @ mount, atol=1e-14)


def test_vga_to_the_nano_size_by_hand():
    # 640x480 to 96x64: scale max(.15, .1333); crop height 64/.15 = 426.67 -> 427, top (480-427)//2 = 26.
    source = Pinhole(fx=500, fy=510, cx=319.5, cy=239.5, width=640, height=480)
    fitted, crop = camera.fit_to_model(source, 96, 64)
    assert crop == Crop(left=0, top=26, width=640, height=427)
    assert fitted.fx == pytest.approx(500 * 96 / 640)
    assert fitted.fy == pytest.approx(510 * 64 / 427)
    assert fitted.cx == pytest.approx((319.5 + 0.5) * 96 / 640 - 0.5)  # 47.5: the middle stays the middle
    assert fitted.cy == pytest.approx((239.5 - 26 + 0.5) * 64 / 427 - 0.5)


sizes = st.integers(1, 2000)


@given(sizes, sizes, st.integers(1, 200), st.integers(1, 200))
def test_the_crop_is_inside_centred_and_touches_two_sides(width, height, out_width, out_height):
    crop = camera.cover_crop(width, height, out_width, out_height)
    assert (
        crop.left >= 0
        and crop.left + crop.width <= width
        and crop.top >= 0
        and crop.top + crop.height <= height
    )
    assert crop.width == width or crop.height == height
    assert abs(2 * crop.left + crop.width - width) <= 1 and abs(2 * crop.top + crop.height - height) <= 1


@given(
    st.integers(200, 1500), st.integers(200, 1500), st.floats(0.3, 2.8), st.floats(-1, 1), st.floats(-1, 1)
)
def test_a_ray_lands_on_the_same_scene_point_before_and_after(width, height, fov, x, y):
    source = Pinhole.from_field_of_view(fov, width, height)
    fitted, crop = camera.fit_to_model(source, 96, 64)
    u, v = source.fx * x + source.cx, source.fy * y + source.cy
    # pixel edges, not centres, scale: shift by half a pixel
    moved_u = (u + 0.5 - crop.left) / crop.width * 96 - 0.5
    moved_v = (v + 0.5 - crop.top) / crop.height * 64 - 0.5
    assert fitted.fx * x + fitted.cx == pytest.approx(moved_u, abs=1e-6)
    assert fitted.fy * y + fitted.cy == pytest.approx(moved_v, abs=1e-6)


def test_a_field_of_view_of_ninety_degrees_has_a_focal_length_of_half_the_width():
    assert Pinhole.from_field_of_view(np.pi / 2, 96, 64).fx == pytest.approx(48)


@pytest.mark.parametrize("values", [dict(fx=0.0), dict(fy=-1.0), dict(cx=np.nan), dict(width=0)])
def test_an_uncalibrated_camera_is_refused(values):
    good = dict(fx=50.0, fy=50.0, cx=48.0, cy=32.0, width=96, height=64)
    with pytest.raises(ValueError, match="must be positive"):
        Pinhole(**{**good, **values})


def test_undistortion_is_decided_by_model_and_coefficients():
    assert camera.undistortion("plumb_bob", [0.0] * 5) == "none"
    assert camera.undistortion("", []) == "none"
    assert camera.undistortion("plumb_bob", [-0.3, 0.1, 0, 0, 0]) == "brown"
    assert camera.undistortion("rational_polynomial", [0.1] * 8) == "brown"
    assert camera.undistortion("equidistant", [0.0] * 4) == "fisheye"


@pytest.mark.parametrize(
    "model, coefficients, message",
    [
        ("double_sphere", [0.1, 0.2], "double_sphere.*not known.*rectified"),
        ("plumb_bob", [0.1, 0.2], "2 coefficients"),
        ("plumb_bob", [np.nan] * 5, "finite"),
    ],
)
def test_undistortion_refuses_what_it_does_not_know(model, coefficients, message):
    with pytest.raises(ValueError, match=message):
        camera.undistortion(model, coefficients)
