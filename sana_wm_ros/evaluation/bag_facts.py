"""What a recording holds for the planner: which topics, how the camera sits, how fast the robot drove, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sana_wm_ros.evaluation.bags import BadBag, Bag, Topic, open_bag, stamp_s
from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.camera import body_place
from sana_wm_ros.geometry.se2 import FloatArray

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
INFO, ODOMETRY = "sensor_msgs/msg/CameraInfo", "nav_msgs/msg/Odometry"
SCAN, TF = "sensor_msgs/msg/LaserScan", "tf2_msgs/msg/TFMessage"
_KINDS = {"image": (IMAGE, COMPRESSED), "camera_info": (INFO,), "odom": (ODOMETRY,), "scan": (SCAN,)}
_OPTIONAL = ("scan", "camera_info")
_FIRST = 20  # messages that tell what a topic's stamps and frames are like
_CLOCKS_APART_S = 1.0

Edges = list[tuple[str, str, FloatArray]]


@dataclass(frozen=True, kw_only=True)
class BagFacts:
    """A recording at a glance.

    topics: the planner's input ("image", "camera_info", "odom", "scan") to the recording's topic.
    stamp_ahead_s: header stamps less recording times, by the middle one of the first pictures.
    stamps_usable: header stamps are there and of one clock; else recording times have to serve.
    path_T4: time (s) and pose (x, y, yaw) of the recorded odometry, motion_T3 its twists.
    camera_xyz_rpy: the camera's body in the base frame from /tf_static, or None when it does not say.
    missing: what an offline run has to do without, a sentence each.
    """

    path: Path
    topics: dict[str, Topic]
    transforms: tuple[str, ...]
    duration_s: float
    stamp_ahead_s: float
    stamps_usable: bool
    odometry_frame: str
    base_frame: str
    path_T4: FloatArray = field(repr=False)
    motion_T3: FloatArray = field(repr=False)
    camera_xyz_rpy: tuple[float, ...] | None
    mounts: Edges = field(repr=False)
    missing: tuple[str, ...] = ()

    @property
    def names(self) -> set[str]:
        """The topics that a replay sends."""
        return {topic.name for topic in self.topics.values()} | set(self.transforms)

    @property
    def speed_mps(self) -> float:
        """The recorded robot's top speed."""
        return float(np.percentile(np.abs(self.motion_T3[:, 0]), 99)) if len(self.motion_T3) else 0.0

    @property
    def yaw_rate_radps(self) -> float:
        """The recorded robot's greatest turning rate."""
        return float(np.percentile(np.abs(self.motion_T3[:, 2]), 99)) if len(self.motion_T3) else 0.0

    def pose_at(self, time_s: float) -> FloatArray:
        """The recorded pose nearest to a time."""
        pose_3: FloatArray = self.path_T4[np.abs(self.path_T4[:, 0] - time_s).argmin(), 1:]
        return pose_3

    def place_of(self, frame: str) -> FloatArray | None:
        """T_base_frame by static transforms, or None when they do not lead there."""
        return _chain(self.mounts, self.base_frame, frame)

    def time_of(self, message: Any, recorded_s: float) -> float:
        """When a message was made: its stamp, or where stamps are of no use the time of its recording."""
        return stamp_s(message) if self.stamps_usable else recorded_s


def read_facts(path: Path, wanted: dict[str, str] | None = None) -> BagFacts:
    """Look through a recording. ``wanted`` names topics where types alone do not tell.

    Raises ``BadBag`` with what is missing and what is there, or which topics fit when several do.
    """
    with open_bag(path) as bag:
        return facts_of(bag, wanted, complete=True)


def facts_of(bag: Bag, wanted: dict[str, str] | None = None, *, complete: bool) -> BagFacts:
    """Look through an open recording; ``complete``: without camera or odometry it is refused with ``BadBag``."""
    topics, missing = choose_topics(bag, wanted or {}, complete=complete)
    transforms = tuple(topic.name for topic in bag.topics if topic.msgtype == TF and topic.count)
    ahead, frames = _first_headers(bag, topics)
    usable, why = _judge_stamps(ahead)
    missing += [why] if why else []
    base, motions = "base_link", np.zeros((0, 7))
    if "odom" in topics:
        base, motions = _odometry(bag, topics["odom"], usable)
        if len(motions) == 0 and complete:
            raise BadBag(f"{bag.path}: {topics['odom'].name} holds no usable odometry")
    mounts = _static_transforms(bag, transforms)
    place = _chain(mounts, base, frames["image"]) if "image" in frames else None
    return BagFacts(
        path=bag.path,
        topics=topics,
        transforms=transforms,
        duration_s=bag.duration_s,
        stamp_ahead_s=ahead.get("image", ahead.get("odom", 0.0)) if usable else 0.0,
        stamps_usable=usable,
        odometry_frame=frames.get("odom", "odom"),
        base_frame=base,
        path_T4=motions[:, :4],
        motion_T3=motions[:, 4:],
        camera_xyz_rpy=None if place is None else body_place(place),
        mounts=mounts,
        missing=tuple(missing),
    )


def choose_topics(bag: Bag, wanted: dict[str, str], *, complete: bool) -> tuple[dict[str, Topic], list[str]]:
    """The topic of each input, by name where given and else by type, and what is missing in words.

    Raises ``BadBag`` where several fit, naming them and the option that chooses; where a named one is not
    there; and, if ``complete``, where camera or odometry are missing.
    """
    unknown = set(wanted) - set(_KINDS)
    if unknown:
        raise BadBag(f"the planner has no input {sorted(unknown)}; it has {sorted(_KINDS)}")
    chosen: dict[str, Topic] = {}
    missing: list[str] = []
    for role, kinds in _KINDS.items():
        fitting = [topic for topic in bag.topics if topic.msgtype in kinds and topic.count]
        if role == "camera_info" and role not in wanted and "image" in chosen:
            # Only an image decides between several cameras; its camera_info is the one beside it.
            beside = f"{_camera(chosen['image'].name)}/camera_info"
            fitting = [topic for topic in fitting if topic.name == beside] or fitting
        if role in wanted:
            fitting = [topic for topic in fitting if topic.name == wanted[role]]
        elif role == "image" and len({topic.name.removesuffix("/compressed") for topic in fitting}) == 1:
            fitting = fitting[:1]  # one camera's picture, raw and compressed: "/x/image" sorts first
        if len(fitting) > 1:
            names = ", ".join(f"{topic.name} ({topic.count})" for topic in fitting)
            raise BadBag(
                f"{bag.path}: several topics could be {role}: {names}; "
                f"choose one with --topic {role}:={fitting[0].name}"
            )
        if fitting:
            chosen[role] = fitting[0]
        elif role in wanted or (complete and role not in _OPTIONAL):
            there = ", ".join(f"{t.name} ({t.msgtype}, {t.count})" for t in bag.topics) or "nothing"
            asked = f"no topic {wanted[role]}" if role in wanted else "no topic"
            raise BadBag(f"{bag.path}: {asked} of type {' or '.join(kinds)} for {role}; there is {there}")
        elif role not in _OPTIONAL:
            missing.append(f"no {role}: the bag has no topic of type {' or '.join(kinds)}")
    return chosen, missing


def _camera(image_topic: str) -> str:
    return image_topic.removesuffix("/compressed").rsplit("/", 1)[0]


def _first_headers(bag: Bag, topics: dict[str, Topic]) -> tuple[dict[str, float], dict[str, str]]:
    """By input: header stamps less recording times (the middle of the first ones; NaN without stamps), frames."""
    ahead: dict[str, float] = {}
    frames: dict[str, str] = {}
    for role in ("image", "odom"):
        if role not in topics:
            continue
        found = []
        for _, _, time_s, message in bag.messages({topics[role].name}):
            frames.setdefault(role, message.header.frame_id)
            stamp = stamp_s(message)
            found.append(stamp - time_s if stamp > 0 else float("nan"))
            if len(found) == _FIRST:
                break
        ahead[role] = float(np.median(found)) if found else float("nan")
    return ahead, frames


def _judge_stamps(ahead: dict[str, float]) -> tuple[bool, str]:
    """Whether header stamps can be used, and if not why."""
    unstamped = [role for role, value in ahead.items() if not np.isfinite(value)]
    if unstamped:
        return False, f"no usable stamps on {' and '.join(unstamped)}: the times of recording were used"
    if len(ahead) == 2 and abs(ahead["image"] - ahead["odom"]) > _CLOCKS_APART_S:
        apart = ahead["image"] - ahead["odom"]
        return False, (
            f"the stamps of camera and odometry are of different clocks ({apart:+.1f} s apart): the times of "
            "recording were used"
        )
    return True, ""


def _odometry(bag: Bag, topic: Topic, stamps_usable: bool) -> tuple[str, FloatArray]:
    """The base frame, and rows of time, x, y, yaw, vx, vy, yaw rate in order of time."""
    rows, base = [], "base_link"
    for _, _, time_s, message in bag.messages({topic.name}):
        pose, twist = message.pose.pose, message.twist.twist
        q = pose.orientation
        try:
            yaw = se3.yaw_from_quaternion((q.x, q.y, q.z, q.w))
        except ValueError:
            continue
        base = message.child_frame_id or base
        moves = (twist.linear.x, twist.linear.y, twist.angular.z)
        time_s = stamp_s(message) if stamps_usable else time_s
        rows.append((time_s, pose.position.x, pose.position.y, yaw, *moves))
    motions = np.array(rows, dtype=np.float64).reshape(-1, 7)
    motions = motions[np.isfinite(motions).all(axis=1)]
    _, first = np.unique(motions[:, 0], return_index=True)
    return base, motions[first]


def _static_transforms(bag: Bag, names: Iterable[str]) -> Edges:
    found = []
    for _, _, _, message in bag.messages({name for name in names if name.endswith("tf_static")}):
        for one in message.transforms:
            t, q = one.transform.translation, one.transform.rotation
            matrix = se3.from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
            found.append((one.header.frame_id.lstrip("/"), one.child_frame_id.lstrip("/"), matrix))
    return found


def _chain(edges: Edges, base: str, frame: str) -> FloatArray | None:
    """T_base_frame along any chain of static transforms."""
    reached: dict[str, FloatArray] = {base.lstrip("/"): np.eye(4)}
    for _ in range(len(edges) + 1):
        for parent, child, matrix in edges:
            if parent in reached and child not in reached:
                reached[child] = reached[parent] @ matrix
            elif child in reached and parent not in reached:
                reached[parent] = reached[child] @ se3.inverse(matrix)
    return reached.get(frame.lstrip("/"))
