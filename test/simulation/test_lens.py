"""A lens bends pictures as its CameraInfo says, so that OpenCV can straighten them again."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.drive import DriveConfig, draw_scene
from sana_wm_ros.simulation.lens import Lens
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.simulator import Simulator

BENT = Camera(width=240, height=160, distortion=(-0.15, 0.01))


def test_an_ideal_camera_s_pictures_pass_through() -> None:
    lens, picture = Lens(Camera()), np.zeros((64, 96, 3), np.uint8)
    assert lens.ideal is lens.camera
    assert lens.bend(picture) is picture


def test_the_ideal_picture_is_wider_at_the_same_focal_length() -> None:
    lens = Lens(BENT)
    assert lens.ideal.width > BENT.width and lens.ideal.height > BENT.height
    assert lens.ideal.intrinsics_4[0] == pytest.approx(BENT.intrinsics_4[0], rel=1e-5)


@pytest.mark.usefixtures("pictures")
def test_straightening_a_bent_picture_gives_what_a_pinhole_sees() -> None:
    scene = draw_scene(1_000_002, DriveConfig(family="varied"))
    lens, straight = Lens(BENT), Camera(width=240, height=160)
    looks = []
    for camera in (lens.ideal, straight):
        with Simulator(scene.plan, robot=Robot(), camera=camera, start_3=scene.start_3) as simulator:
            looks.append(simulator.look())
    bent = lens.bend(looks[0])
    assert bent.shape == looks[1].shape
    fx, fy, cx, cy = (float(value) for value in BENT.intrinsics_4)
    matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])
    again = cv2.undistort(bent, matrix, np.array([*BENT.distortion, 0.0, 0.0, 0.0]))
    inside = slice(12, -12)
    off = np.abs(again.astype(float) - looks[1])[inside, inside].mean()
    unbent = np.abs(bent.astype(float) - looks[1])[inside, inside].mean()
    assert off < 3.0 < unbent  # what is left is interpolation at edges


def test_cameras_vary_by_seed_and_half_of_the_recorded_ones_bend() -> None:
    config = DriveConfig(family="varied", lens=True)
    cameras = [draw_scene(seed, config).camera for seed in range(1_000_000, 1_000_016)]
    assert 3 <= sum(camera.distortion[0] < 0 for camera in cameras) <= 13
    assert np.ptp([camera.up_m for camera in cameras]) > 0.1
    assert np.ptp([camera.pitch_rad for camera in cameras]) > math.radians(5)
    assert np.ptp([camera.hfov_rad for camera in cameras]) > math.radians(10)
    handlings = [draw_scene(seed, config).handling for seed in range(1_000_000, 1_000_004)]
    assert len({handling.latency_s for handling in handlings}) == 4
    assert not any(
        any(draw_scene(seed, DriveConfig()).camera.distortion) for seed in range(1_000_000, 1_000_004)
    )
