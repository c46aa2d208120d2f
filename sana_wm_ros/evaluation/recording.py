"""What a planner published, read back from the bag that a replay wrote: plans, candidates, diagnostics.

Dimension letters: N candidates, F points of a path, K sectors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.evaluation.bags import BadBag, Bag, Topic, open_bag, stamp_s
from sana_wm_ros.evaluation.colours import FAINT_ALPHA
from sana_wm_ros.geometry.se3 import yaw_from_quaternion

Floats = NDArray[np.float64]

_TWISTS = ("geometry_msgs/msg/TwistStamped", "geometry_msgs/msg/Twist")
_DIAGNOSTICS = ("diagnostic_msgs/msg/DiagnosticArray",)
_LINE_STRIP, _DELETE = 4, 2


@dataclass(frozen=True, kw_only=True)
class CandidatesShown:
    """The candidates of one planning cycle as the markers show them; costs are NaN when unknown.

    imagined: how many points of each path were imagined; the rest only says what the commands ask for.
    """

    stamp_s: float
    paths: tuple[Floats, ...]
    imagined: tuple[int, ...]
    contacts: tuple[NDArray[np.bool_], ...]
    costs_N: Floats
    origins: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Status:
    """One diagnostic status."""

    stamp_s: float
    name: str
    level: int
    message: str
    values: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """An output bag as arrays and small records, each list in order of time (stamps in seconds)."""

    path: Path
    topics: list[Topic]
    duration_s: float
    plans: list[tuple[float, Floats]] = field(default_factory=list)
    candidates: list[CandidatesShown] = field(default_factory=list)
    diagnostics: list[Status] = field(default_factory=list)
    critics: list[Status] = field(default_factory=list)
    commands: list[tuple[float, float, float]] = field(default_factory=list)
    trust: list[tuple[float, float]] = field(default_factory=list)
    clearances: list[tuple[float, Floats]] = field(default_factory=list)
    goals: list[tuple[float, float, float]] = field(default_factory=list)
    odometry: list[tuple[float, float, float, float]] = field(default_factory=list)


def read_recording(path: Path) -> Recording:
    """Read the bag that a replay wrote. Raises ``BadBag`` where there is nothing of a planner in it."""
    with open_bag(path) as bag:
        named = _topics_of_interest(bag)
        if "plans" not in named and "diagnostics" not in named:
            names = ", ".join(topic.name for topic in bag.topics) or "none"
            raise BadBag(
                f"{path}: no nav_msgs/Path and no diagnostics in it (topics: {names}); "
                "it must be the output of `sana_wm replay`"
            )
        recording = Recording(path=path, topics=bag.topics, duration_s=bag.duration_s)
        slots = {topic.name: slot for slot, topic in named.items()}
        for name, msgtype, recorded_s, message in bag.messages(set(slots)):
            _READERS[slots[name]](recording, msgtype, recorded_s, message)
    return recording


def _topics_of_interest(bag: Bag) -> dict[str, Topic]:
    found = {
        "plans": bag.find(("nav_msgs/msg/Path",), ending="plan"),
        "candidates": bag.find(("visualization_msgs/msg/MarkerArray",), ending="rollouts"),
        "diagnostics": bag.find(_DIAGNOSTICS, ending="diagnostics"),
        "critics": bag.find(_DIAGNOSTICS, ending="critics"),
        "commands": bag.find(_TWISTS),
        "trust": bag.find(("std_msgs/msg/Float32",), ending="trust_horizon"),
        "clearances": bag.find(("sensor_msgs/msg/LaserScan",), ending="imagined/scan"),
        "goals": bag.find(("geometry_msgs/msg/PoseStamped",), ending="goal_pose"),
        "odometry": bag.find(("nav_msgs/msg/Odometry",)),
    }
    return {slot: topic for slot, topic in found.items() if topic is not None}


def _read_plan(recording: Recording, msgtype: str, recorded_s: float, message: Any) -> None:
    points = [(p.pose.position.x, p.pose.position.y) for p in message.poses]
    recording.plans.append((stamp_s(message), np.array(points, dtype=np.float64).reshape(-1, 2)))


def _read_candidates(recording: Recording, msgtype: str, recorded_s: float, message: Any) -> None:
    lines = [
        marker
        for marker in message.markers
        if marker.type == _LINE_STRIP and marker.action < _DELETE and len(marker.points) > 1
    ]
    if not lines:
        return
    labels = [_label(marker.text) for marker in lines]
    recording.candidates.append(
        CandidatesShown(
            stamp_s=stamp_s(lines[0]),
            paths=tuple(np.array([(p.x, p.y) for p in marker.points]) for marker in lines),
            imagined=tuple(_imagined_points(marker) for marker in lines),
            contacts=tuple(_contact_points(marker) for marker in lines),
            costs_N=np.array([_number(label.get("cost")) for label in labels]),
            origins=tuple(str(label.get("origin", "")) for label in labels),
        )
    )


def _imagined_points(marker: Any) -> int:
    """Points before the faint part."""
    bright = [colour.a > 2 * FAINT_ALPHA for colour in marker.colors]
    return sum(bright) if len(bright) == len(marker.points) else len(marker.points)


def _contact_points(marker: Any) -> NDArray[np.bool_]:
    """Points drawn red, which stands for expected contact; no cost is drawn so."""
    colours = np.array([(c.r, c.g, c.b) for c in marker.colors]).reshape(-1, 3)
    if len(colours) != len(marker.points):
        return np.zeros(len(marker.points), dtype=bool)
    return np.asarray((colours[:, 0] > 0.8) & (colours[:, 1:].max(axis=1) < 0.3))


def _read_statuses(target: list[Status], message: Any) -> None:
    time_s = stamp_s(message)
    for status in message.status:
        values = {pair.key: pair.value for pair in status.values}
        level = (
            int.from_bytes(status.level, "little") if isinstance(status.level, bytes) else int(status.level)
        )
        target.append(
            Status(stamp_s=time_s, name=status.name, level=level, message=status.message, values=values)
        )


def _read_command(recording: Recording, msgtype: str, recorded_s: float, message: Any) -> None:
    stamped = msgtype == "geometry_msgs/msg/TwistStamped"
    twist = message.twist if stamped else message
    time_s = stamp_s(message) if stamped else recorded_s
    recording.commands.append((time_s, float(twist.linear.x), float(twist.angular.z)))


def _read_clearance(recording: Recording, msgtype: str, recorded_s: float, message: Any) -> None:
    """Ranges of a full turn, rolled so that sector 0 looks straight ahead."""
    ranges = np.array(message.ranges, dtype=np.float64)
    ahead = round(-message.angle_min / message.angle_increment) if message.angle_increment else 0
    ranges = np.where(np.isinf(ranges), message.range_max, ranges)
    recording.clearances.append((stamp_s(message), np.roll(ranges, -ahead)))


def _read_odometry(recording: Recording, msgtype: str, recorded_s: float, message: Any) -> None:
    pose = message.pose.pose
    q = pose.orientation
    try:
        yaw = yaw_from_quaternion((q.x, q.y, q.z, q.w))
    except ValueError:
        return
    recording.odometry.append((stamp_s(message), pose.position.x, pose.position.y, yaw))


def _read_goal(recording: Recording, msgtype: str, recorded_s: float, message: Any) -> None:
    recording.goals.append((recorded_s, message.pose.position.x, message.pose.position.y))


def _read_trust(recording: Recording, msgtype: str, recorded_s: float, message: Any) -> None:
    recording.trust.append((recorded_s, float(message.data)))


def _label(text: str) -> dict[str, Any]:
    """A candidate's cost and origin, which the node writes as JSON where RViz shows nothing."""
    try:
        label = json.loads(text) if text else {}
    except json.JSONDecodeError:
        return {}
    return label if isinstance(label, dict) else {}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


_READERS = {
    "plans": _read_plan,
    "candidates": _read_candidates,
    "diagnostics": lambda recording, _, __, message: _read_statuses(recording.diagnostics, message),
    "critics": lambda recording, _, __, message: _read_statuses(recording.critics, message),
    "commands": _read_command,
    "trust": _read_trust,
    "clearances": _read_clearance,
    "goals": _read_goal,
    "odometry": _read_odometry,
}
