"""A recorded drive on the model's frame grid, read from a bag through the very buffer that the node uses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sana_wm_ros.evaluation.bags import BadBag, Bag, Topic, open_bag, stamp_s
from sana_wm_ros.evaluation.clearance_check import MeasuredClearance, sector_minimum
from sana_wm_ros.evaluation.imagination_check import Drive
from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.pictures import rgb_picture
from sana_wm_ros.geometry.camera import Pinhole, base_to_optical, undistortion
from sana_wm_ros.geometry.se3 import from_quaternion, yaw_from_quaternion
from sana_wm_ros.world_model.observation_buffer import NewFrames, ObservationBuffer
from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


@dataclass(frozen=True, kw_only=True)
class DriveInput:
    """What is known of a bag that the bag may not say, and which of its topics to take (None: the busiest).

    field_of_view_rad: horizontal, where there is no camera_info. camera_xyz_m, camera_rpy_rad: the camera's
    body frame in the base, where there is no /tf_static.
    """

    image_topic: str | None = None
    odometry_topic: str | None = None
    camera_xyz_m: tuple[float, float, float] = (0.1, 0.0, 0.35)
    camera_rpy_rad: tuple[float, float, float] = (0.0, 0.12, 0.0)
    field_of_view_rad: float = 1.5708


@dataclass(frozen=True, kw_only=True)
class RecordedDrive:
    """The longest stretch without a gap, all odometry (stamp, x, y, yaw), and what was counted or assumed."""

    path: Path
    drive: Drive
    odometry_T4: Floats
    topics: list[Topic]
    duration_s: float
    counts: dict[str, int]
    notes: list[str]
    measured: MeasuredClearance | None = None


def read_drive(path: Path, spec: ModelSpec, given: DriveInput | None = None) -> RecordedDrive:
    """Read an input bag. Raises ``BadBag`` where pictures or odometry are missing or never meet."""
    given = given or DriveInput()
    with open_bag(path) as bag:
        image = _needed(bag, IMAGE_TYPES, given.image_topic, "pictures")
        odometry = _needed(bag, ("nav_msgs/msg/Odometry",), given.odometry_topic, "odometry")
        notes = [f"pictures from {image.name}, odometry from {odometry.name}"]
        buffer = ObservationBuffer(spec, _extrinsics(bag, image, odometry, given, notes))
        info = bag.find(("sensor_msgs/msg/CameraInfo",))
        scan = bag.find(("sensor_msgs/msg/LaserScan",), ending="scan")
        names = {topic.name for topic in (image, odometry, info, scan) if topic is not None}
        scans: list[tuple[float, Floats]] = []
        pieces: list[list[NewFrames]] = []
        stamped: list[tuple[float, float, float, float]] = []
        for name, msgtype, _, message in bag.messages(names):
            if name == image.name:
                picture = rgb_picture(message, msgtype)
                if info is None and buffer.intrinsics is None:
                    _assume_field_of_view(buffer, picture.shape, given, notes)
                buffer.add_image(stamp_s(message), picture)
            elif name == odometry.name:
                stamped += _add_odometry(buffer, message)
            elif scan is not None and name == scan.name:
                scans += _sectors(message, spec)
            else:
                _set_camera(buffer, message, notes)
            taken = buffer.take()
            if taken is not None:
                pieces = [*pieces, [taken]] if taken.restart else [*pieces[:-1], [*pieces[-1], taken]]
        notes += buffer.drain_notes()
        return RecordedDrive(
            path=path,
            drive=_longest(path, pieces, buffer.intrinsics, notes),
            odometry_T4=np.array(stamped, dtype=np.float64).reshape(-1, 4),
            topics=bag.topics,
            duration_s=bag.duration_s,
            counts=dict(Counter(buffer.counts)),
            notes=notes,
            measured=_measured(scans, spec),
        )


def _sectors(message: Any, spec: ModelSpec) -> list[tuple[float, Floats]]:
    """A scan as clearance by sector, where it was taken about the robot's own axes."""
    if message.header.frame_id.rpartition("/")[2] not in ("base_link", "base_footprint"):
        return []  # a scanner mounted elsewhere measures from another centre
    ranges = np.asarray(message.ranges, dtype=np.float64)
    angles = message.angle_min + message.angle_increment * np.arange(len(ranges))
    return [(stamp_s(message), sector_minimum(ranges, angles, spec.sectors, spec.max_range_m))]


def _measured(scans: list[tuple[float, Floats]], spec: ModelSpec) -> MeasuredClearance | None:
    if not scans:
        return None
    return MeasuredClearance(
        stamps_T=np.array([stamp for stamp, _ in scans]),
        clearance_TK=np.stack([clearance for _, clearance in scans]),
        max_range_m=spec.max_range_m,
    )


def _needed(bag: Bag, msgtypes: tuple[str, ...], name: str | None, what: str) -> Topic:
    found = bag.find(msgtypes, name=name)
    if found is None:
        there = ", ".join(f"{topic.name} ({topic.msgtype})" for topic in bag.topics) or "nothing"
        wanted = f"topic {name} of type " if name else ""
        raise BadBag(f"{bag.path}: no {what}; expected {wanted}{' or '.join(msgtypes)}, found {there}")
    return found


def _add_odometry(buffer: ObservationBuffer, message: Any) -> list[tuple[float, float, float, float]]:
    pose, twist, q = message.pose.pose, message.twist.twist, message.pose.pose.orientation
    try:
        yaw = yaw_from_quaternion((q.x, q.y, q.z, q.w))
    except ValueError:
        yaw = float("nan")  # the buffer refuses and counts it
    pose_3 = np.array([pose.position.x, pose.position.y, yaw])
    buffer.add_odometry(stamp_s(message), pose_3, np.array([twist.linear.x, twist.linear.y, twist.angular.z]))
    return [(stamp_s(message), *pose_3.tolist())] if np.isfinite(pose_3).all() else []


def _set_camera(buffer: ObservationBuffer, message: Any, notes: list[str]) -> None:
    matrix = np.asarray(message.k if hasattr(message, "k") else message.K, dtype=np.float64)
    coefficients = message.d if hasattr(message, "d") else message.D
    if undistortion(message.distortion_model, coefficients) != "none":
        sentence = f"the lens's distortion ({message.distortion_model}) was not undone for this check"
        if sentence not in notes:
            notes.append(sentence)
    buffer.set_camera(
        Pinhole(
            fx=matrix[0], fy=matrix[4], cx=matrix[2], cy=matrix[5], width=message.width, height=message.height
        )
    )


def _assume_field_of_view(
    buffer: ObservationBuffer, shape: tuple[int, ...], given: DriveInput, notes: list[str]
) -> None:
    buffer.set_camera(Pinhole.from_field_of_view(given.field_of_view_rad, shape[1], shape[0]))
    degrees = np.degrees(given.field_of_view_rad)
    sentence = f"no camera_info: a horizontal field of view of {degrees:.0f} degrees was assumed"
    if sentence not in notes:
        notes.append(sentence)


def _extrinsics(bag: Bag, image: Topic, odometry: Topic, given: DriveInput, notes: list[str]) -> Floats:
    """T_base_camera: from /tf_static where it links the two frames, else as given."""
    frames: dict[str, str] = {}
    parents: dict[str, tuple[str, Floats]] = {}
    for name, _, _, message in bag.messages({image.name, odometry.name, "/tf_static"}):
        if name == image.name:
            frames.setdefault("camera", message.header.frame_id)
        elif name == odometry.name:
            frames.setdefault("base", message.child_frame_id)
        else:
            for link in message.transforms:
                t, q = link.transform.translation, link.transform.rotation
                matrix = from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
                parents[link.child_frame_id] = (link.header.frame_id, matrix)
        if len(frames) == 2 and (parents or bag.find(("tf2_msgs/msg/TFMessage",), name="/tf_static") is None):
            break
    frame, T = frames.get("camera", ""), np.eye(4)
    for _ in range(len(parents) + 1):  # a chain longer than the table would be a loop
        if frame == frames.get("base") and frame:
            notes.append("the camera's place on the robot is from /tf_static")
            return T
        if frame not in parents:
            break
        frame, step = parents[frame]
        T = step @ T
    notes.append("no /tf_static from base to camera: the camera's place on the robot was assumed")
    return base_to_optical(given.camera_xyz_m, given.camera_rpy_rad)


def _longest(
    path: Path, pieces: list[list[NewFrames]], intrinsics: Intrinsics | None, notes: list[str]
) -> Drive:
    if not pieces or intrinsics is None:
        raise BadBag(
            f"{path}: no picture could be given a pose; do the stamps of pictures and odometry overlap?"
        )
    longest = max(pieces, key=lambda piece: sum(len(part.stamps_T) for part in piece))
    if len(pieces) > 1:
        notes.append(f"the recording falls into {len(pieces)} stretches by gaps; the longest one was checked")
    return Drive(
        frames_THWC=np.concatenate([part.frames_THWC for part in longest]),
        poses_T44=np.concatenate([part.poses_T44 for part in longest]),
        stamps_T=np.concatenate([part.stamps_T for part in longest]),
        intrinsics=intrinsics,
    )
