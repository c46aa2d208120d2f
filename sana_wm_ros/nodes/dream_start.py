"""Where a dream begins: one picture, or what a recording's first seconds show."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.evaluation.drive import CameraGuess, read_drive
from sana_wm_ros.geometry.camera import Pinhole, base_to_optical, camera_poses, fit_to_model
from sana_wm_ros.nodes.settings import CameraSettings
from sana_wm_ros.simulation.dream import DreamStart
from sana_wm_ros.world_model.framing import cropped
from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec

ASSUMED_FIELD_OF_VIEW_DEG = 90.0


def from_picture(path: Path, spec: ModelSpec, camera: CameraSettings) -> DreamStart:
    """A picture's view from the origin of ``odom``; raises ``FileNotFoundError`` or ``ValueError`` naming the file.

    camera: where it sits on the robot and how wide it sees (0: 90 degrees), for a picture does not tell.
    """
    picture_HWC = read_picture(path)
    height, width = picture_HWC.shape[:2]
    angle = math.radians(camera.horizontal_fov_deg or ASSUMED_FIELD_OF_VIEW_DEG)
    pinhole = Pinhole.from_field_of_view(angle, width, height)
    fitted, crop = fit_to_model(pinhole, spec.image_width, spec.image_height)
    place_44 = base_to_optical((camera.x, camera.y, camera.z), (camera.roll, camera.pitch, camera.yaw))
    return DreamStart(
        frames_THWC=cropped(picture_HWC, crop, spec.image_width, spec.image_height)[None],
        poses_T44=camera_poses(np.zeros((1, 3)), place_44),
        intrinsics=Intrinsics(fx=fitted.fx, fy=fitted.fy, cx=fitted.cx, cy=fitted.cy),
        T_base_camera_44=place_44,
        name=path.name,
    )


def from_bag(path: Path, spec: ModelSpec, camera: CameraSettings, seconds: float) -> DreamStart:
    """The first seconds of a recording's longest stretch; raises ``BadBag`` naming the bag.

    camera: taken where the bag does not say where the camera is, or how wide it sees.
    """
    guess = CameraGuess(
        xyz_m=(camera.x, camera.y, camera.z),
        rpy_rad=(camera.roll, camera.pitch, camera.yaw),
        field_of_view_rad=math.radians(camera.horizontal_fov_deg),
        rectified=camera.rectified,
    )
    recorded = read_drive(path, spec, guess=guess)
    drive, group = recorded.drive, spec.frames_per_latent
    most = (len(drive.frames_THWC) - 1) // group
    frames = 1 + group * max(0, min(most, round(seconds / spec.latent_period_s)))
    return DreamStart(
        frames_THWC=drive.frames_THWC[:frames],
        poses_T44=drive.poses_T44[:frames],
        intrinsics=drive.intrinsics,
        T_base_camera_44=recorded.T_base_camera_44,
        name=path.name,
    )


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture file as uint8 RGB (H, W, 3)."""
    if not path.is_file():
        raise FileNotFoundError(2, "no such picture", str(path))
    data = np.frombuffer(path.read_bytes(), np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if pixels is None:
        raise ValueError(f"{path}: not a picture that can be read; JPEG, PNG, WebP and BMP can")
    return np.ascontiguousarray(pixels[..., ::-1])
