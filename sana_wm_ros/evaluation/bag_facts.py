"""What a recording holds for the planner: which topics, how the camera sits, how fast the robot drove, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from transforms3d.euler import mat2euler

from sana_wm_ros.evaluation.bags import BadBag, Bag, Topic, open_bag, stamp_s
from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.camera import base_to_optical
from sana_wm_ros.geometry.se2 import FloatArray

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO, ODOMETRY = "sensor_msgs/msg/CameraInfo", "nav_msgs/msg/Odometry"
SCAN, TF = "sensor_msgs/msg/LaserScan", "tf2_msgs/msg/TFMessage"
_KINDS = {"image": (IMAGE, COMPRESSED), "camera_info": (INFO,), "odom": (ODOMETRY,), "scan": (SCAN,)}
_OPTIONAL = ("scan", "camera_info")


@dataclass(frozen=True, kw_only=True)
class BagFacts:
    """A recording at a glance.

    topics: the planner's input ("image", "camera_info", "odom", "scan") to the recording's topic.
    stamp_ahead_s: header stamps less recording times, by the middle picture of the first ones.
    path_T4: time (s, by stamp) and pose (x, y, yaw) of the recorded odometry.
    camera_xyz_rpy: the camera's body in the base frame from /tf_static, or None when it does not say.
    """

    path: Path
    topics: dict[str, Topic]
    transforms: tuple[str, ...]
    duration_s: float
    stamp_ahead_s: float
    odometry_frame: str
    base_frame: str
    path_T4: FloatArray = field(repr=False)
    speed_mps: float
    yaw_rate_radps: float
    camera_xyz_rpy: tuple[float, ...] | None

    @property
    def names(self) -> set[str]:
        """The topics that a replay sends."""
        return {topic.name for topic in self.topics.values()} | set(self.transforms)

    def pose_at(self, time_s: float) -> FloatArray:
        """The recorded pose nearest to a time."""
        pose_3: FloatArray = self.path_T4[np.abs(self.path_T4[:, 0] - time_s).argmin(), 1:]
        return pose_3


def read_facts(path: Path, wanted: dict[str, str] | None = None) -> BagFacts:
    """Look through a recording. ``wanted`` names topics where types alone do not tell.

    Raises ``BadBag`` with what is missing and what is there.
    """
    with open_bag(path) as bag:
        topics = _choose(bag, wanted or {})
        transforms = tuple(topic.name for topic in bag.topics if topic.msgtype == TF and topic.count)
        ahead_s, camera_frame = _first_pictures(bag, topics["image"])
        frames, motions = _odometry(bag, topics["odom"])
        mounts = _static_transforms(bag, transforms)
        duration_s = bag.duration_s
    place = _chain(mounts, frames[1], camera_frame)
    return BagFacts(
        path=path,
        topics=topics,
        transforms=transforms,
        duration_s=duration_s,
        stamp_ahead_s=ahead_s,
        odometry_frame=frames[0],
        base_frame=frames[1],
        path_T4=motions[:, :4],
        speed_mps=float(np.percentile(np.abs(motions[:, 4]), 99)),
        yaw_rate_radps=float(np.percentile(np.abs(motions[:, 5]), 99)),
        camera_xyz_rpy=None if place is None else _body(place),
    )


def _choose(bag: Bag, wanted: dict[str, str]) -> dict[str, Topic]:
    unknown = set(wanted) - set(_KINDS)
    if unknown:
        raise BadBag(f"the planner has no input {sorted(unknown)}; it has {sorted(_KINDS)}")
    chosen: dict[str, Topic] = {}
    for role, kinds in _KINDS.items():
        # Only an image decides between several cameras; its camera_info is the one beside it.
        beside = (
            chosen["image"].name.removesuffix("/compressed").rsplit("/", 1)[0]
            if role == "camera_info"
            else ""
        )
        name = wanted.get(role) or (f"{beside}/camera_info" if role == "camera_info" else None)
        topic = bag.find(kinds, name=name)
        if topic is None and role not in wanted:
            topic = bag.find(kinds)
        if topic is not None:
            chosen[role] = topic
        elif role in wanted or role not in _OPTIONAL:
            there = ", ".join(f"{t.name} ({t.msgtype}, {t.count})" for t in bag.topics) or "nothing"
            asked = f"no topic {name}" if name else "no topic"
            raise BadBag(f"{bag.path}: {asked} of type {' or '.join(kinds)} for {role}; there is {there}")
    return chosen


def _first_pictures(bag: Bag, topic: Topic) -> tuple[float, str]:
    ahead, frame = [], ""
    for _, _, time_s, message in bag.messages({topic.name}):
        ahead.append(stamp_s(message) - time_s)
        frame = message.header.frame_id
        if len(ahead) == 20:
            break
    return float(np.median(ahead)), frame


def _odometry(bag: Bag, topic: Topic) -> tuple[tuple[str, str], FloatArray]:
    rows, frames = [], ("", "")
    for _, _, _, message in bag.messages({topic.name}):
        pose, twist = message.pose.pose, message.twist.twist
        q = pose.orientation
        try:
            yaw = se3.yaw_from_quaternion((q.x, q.y, q.z, q.w))
        except ValueError:
            continue
        frames = (message.header.frame_id, message.child_frame_id or "base_link")
        rows.append(
            (stamp_s(message), pose.position.x, pose.position.y, yaw, twist.linear.x, twist.angular.z)
        )
    motions = np.array(rows, dtype=np.float64).reshape(-1, 6)
    motions = motions[np.isfinite(motions).all(axis=1)]
    if len(motions) == 0:
        raise BadBag(f"{bag.path}: {topic.name} holds no usable odometry")
    return frames, motions


def _static_transforms(bag: Bag, names: Iterable[str]) -> list[tuple[str, str, FloatArray]]:
    found = []
    for _, _, _, message in bag.messages({name for name in names if name.endswith("tf_static")}):
        for one in message.transforms:
            t, q = one.transform.translation, one.transform.rotation
            matrix = se3.from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
            found.append((one.header.frame_id.lstrip("/"), one.child_frame_id.lstrip("/"), matrix))
    return found


def _chain(edges: list[tuple[str, str, FloatArray]], base: str, camera: str) -> FloatArray | None:
    """T_base_camera along any chain of static transforms."""
    reached: dict[str, FloatArray] = {base.lstrip("/"): np.eye(4)}
    for _ in range(len(edges) + 1):
        for parent, child, matrix in edges:
            if parent in reached and child not in reached:
                reached[child] = reached[parent] @ matrix
            elif child in reached and parent not in reached:
                reached[parent] = reached[child] @ se3.inverse(matrix)
    return reached.get(camera.lstrip("/"))


def _body(T_base_optical_44: FloatArray) -> tuple[float, ...]:
    """x, y, z, roll, pitch, yaw of the camera's body (x ahead) from its optical frame."""
    body_44: Any = T_base_optical_44 @ se3.inverse(base_to_optical((0, 0, 0), (0, 0, 0)))
    return (
        *(float(value) for value in body_44[:3, 3]),
        *(float(a) for a in mat2euler(body_44[:3, :3], "sxyz")),
    )
