"""A recorded drive on the model's frame grid, read from a bag through the very buffer that the node uses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sana_wm_ros.evaluation.bag_facts import SCAN, BagFacts, facts_of
from sana_wm_ros.evaluation.bag_sensing import BagSensing, scan_rays
from sana_wm_ros.evaluation.bags import BadBag, Bag, Topic, open_bag
from sana_wm_ros.evaluation.clearance_check import MeasuredClearance, sector_minimum
from sana_wm_ros.evaluation.foretelling import Drive
from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.geometry.camera import base_to_optical
from sana_wm_ros.world_model.observation_buffer import NewFrames, ObservationBuffer
from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CONTACT = "std_msgs/msg/Bool"


@dataclass(frozen=True, kw_only=True)
class CameraGuess:
    """What is taken for granted where the bag does not say it.

    xyz_m, rpy_rad: the camera's body in the base, where there is no /tf_static. field_of_view_rad:
    horizontal; 0 takes camera_info's, or 90 degrees where there is none.
    """

    xyz_m: tuple[float, float, float] = (0.1, 0.0, 0.35)
    rpy_rad: tuple[float, float, float] = (0.0, 0.12, 0.0)
    field_of_view_rad: float = 0.0
    rectified: bool = False


@dataclass(frozen=True, kw_only=True)
class RecordedDrive:
    """The longest stretch without a gap, all odometry (time, x, y, yaw), and what was counted or assumed.

    T_base_camera_44: the camera's optical frame in the base, as far as it was known.
    contact_T2: time and 1 where a bumper (a std_msgs/Bool on a topic that ends in "contact") was pressed.
    """

    path: Path
    drive: Drive
    odometry_T4: Floats
    topics: list[Topic]
    duration_s: float
    counts: dict[str, int]
    notes: list[str]
    T_base_camera_44: Floats
    measured: MeasuredClearance | None = None
    contact_T2: Floats | None = None


def read_drive(
    path: Path, spec: ModelSpec, *, wanted: dict[str, str] | None = None, guess: CameraGuess | None = None
) -> RecordedDrive:
    """Read an input bag. Raises ``BadBag`` where pictures or odometry are missing or never meet."""
    with open_bag(path) as bag:
        return drive_of(bag, facts_of(bag, wanted, complete=True), spec, guess or CameraGuess())


def drive_of(bag: Bag, facts: BagFacts, spec: ModelSpec, guess: CameraGuess) -> RecordedDrive:
    """The drive of an open bag; raises as ``read_drive`` does."""
    notes = [f"{role}: {topic.name}" for role, topic in facts.topics.items()]
    for role in ("image", "odom"):
        if role not in facts.topics:
            raise BadBag(f"{bag.path}: without {role} there is no drive to imagine from")
    buffer = ObservationBuffer(spec, camera_place(facts, guess, notes))
    sensing = BagSensing(facts, buffer, field_of_view_rad=guess.field_of_view_rad, rectified=guess.rectified)
    bumper = bag.find((CONTACT,), ending="contact")
    names = facts.names | ({bumper.name} if bumper else set())
    scans: list[tuple[float, Floats]] = []
    contacts: list[tuple[float, float]] = []
    pieces: list[list[NewFrames]] = []
    for name, msgtype, recorded_s, message in bag.messages(names):
        sensing.take(name, msgtype, recorded_s, message)
        if msgtype == SCAN:
            scans += _sectors(message, facts, recorded_s, spec)
        elif bumper is not None and name == bumper.name:
            contacts.append((recorded_s + facts.stamp_ahead_s, float(message.data)))
        taken = buffer.take()
        if taken is not None and taken.restart:
            pieces.append([])
        if taken is not None:
            pieces[-1].append(taken)
    notes += sensing.notes
    return RecordedDrive(
        path=bag.path,
        drive=_longest(bag.path, pieces, buffer.intrinsics, notes),
        odometry_T4=facts.path_T4,
        topics=bag.topics,
        duration_s=bag.duration_s,
        counts=dict(Counter(buffer.counts)),
        notes=notes,
        T_base_camera_44=buffer.T_base_camera_44,
        measured=_measured(scans, spec),
        contact_T2=np.array(contacts).reshape(-1, 2) if contacts else None,
    )


def camera_place(facts: BagFacts, guess: CameraGuess, notes: list[str]) -> Floats:
    """T_base_camera (optical axes): from /tf_static where it links the two frames, else as guessed."""
    if facts.camera_xyz_rpy is not None:
        notes.append("the camera's place on the robot is from /tf_static")
        return base_to_optical(facts.camera_xyz_rpy[:3], facts.camera_xyz_rpy[3:])
    notes.append("no /tf_static from base to camera: the camera's place on the robot was assumed")
    return base_to_optical(guess.xyz_m, guess.rpy_rad)


def _sectors(message: Any, facts: BagFacts, recorded_s: float, spec: ModelSpec) -> list[tuple[float, Floats]]:
    """A scan as clearance by sector, where it was taken about the robot's own axes."""
    if message.header.frame_id.rpartition("/")[2] not in ("base_link", "base_footprint"):
        return []  # a scanner mounted elsewhere measures from another centre
    ranges, angles = scan_rays(message)
    clearance_K = sector_minimum(ranges, angles, spec.sectors, spec.max_range_m)
    return [(facts.time_of(message, recorded_s), clearance_K)]


def _measured(scans: list[tuple[float, Floats]], spec: ModelSpec) -> MeasuredClearance | None:
    if not scans:
        return None
    return MeasuredClearance(
        stamps_T=np.array([stamp for stamp, _ in scans]),
        clearance_TK=np.stack([clearance for _, clearance in scans]),
        max_range_m=spec.max_range_m,
    )


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
