"""A bag's messages into the observation buffer, as the node's sensing does it from topics: lens, stamps, scans.

What cannot be used is refused by name, counted every time and told once.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from sana_wm_ros.evaluation.bag_facts import BagFacts
from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.pictures import rgb_picture
from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.camera import Pinhole
from sana_wm_ros.planning.present import present_state
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.world_model.lens import Lens, Rectifier
from sana_wm_ros.world_model.observation_buffer import ObservationBuffer

ASSUMED_FIELD_OF_VIEW_RAD = math.pi / 2


class BagSensing:
    """Feeds one buffer.

    scan: time and points in ``odom`` of the newest scan. field_of_view_rad: horizontal, taken instead of
    camera_info; 0 takes camera_info, or 90 degrees where there is none.
    """

    def __init__(
        self,
        facts: BagFacts,
        buffer: ObservationBuffer,
        *,
        field_of_view_rad: float = 0.0,
        rectified: bool = False,
    ) -> None:
        self._facts, self._buffer = facts, buffer
        self._field_of_view_rad, self._rectified = field_of_view_rad, rectified
        self._roles = {topic.name: role for role, topic in facts.topics.items()}
        self._rectifier: Rectifier | None = None
        self.received: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.notes: list[str] = []
        self.problem = ""
        self.scan: tuple[float, Scan] | None = None

    def take(self, topic: str, msgtype: str, recorded_s: float, message: Any) -> None:
        """Take in one message; topics that are no input are left alone."""
        role = self._roles.get(topic)
        if role is None:
            return
        try:
            time_s = self._facts.time_of(message, recorded_s)
            if role == "image":
                self._take_image(time_s, msgtype, message)
            elif role == "odom":
                self._buffer.add_odometry(time_s, *planar_motion(message))
            elif role == "camera_info":
                self._take_camera_info(message)
            else:
                self._take_scan(time_s, message)
            self.received[role] += 1
        except ValueError as error:
            self.refused[topic] += 1
            if self.refused[topic] == 1:
                self.notes.append(f"{topic} refused: {error} (said once; later ones are counted)")
        self.notes += self._buffer.drain_notes()

    def _take_image(self, time_s: float, msgtype: str, message: Any) -> None:
        picture = rgb_picture(message, msgtype)
        if self._rectifier is None:
            if "camera_info" in self._facts.topics and not self._field_of_view_rad:
                self.problem = "no usable camera_info came yet"
                return
            angle = self._field_of_view_rad or ASSUMED_FIELD_OF_VIEW_RAD
            if not self._field_of_view_rad:
                degrees = math.degrees(angle)
                self.notes.append(
                    f"no camera_info: a horizontal field of view of {degrees:.0f} degrees was assumed"
                )
            pinhole = Pinhole.from_field_of_view(angle, picture.shape[1], picture.shape[0])
            self._see_through(Lens(pinhole=pinhole, kind="none", coefficients=()))
        assert self._rectifier is not None
        self._buffer.add_image(time_s, self._rectifier.apply(picture))
        self._buffer.intrinsics  # noqa: B018 - raises when camera_info and picture do not belong together
        self.problem = ""

    def _take_camera_info(self, message: Any) -> None:
        if self._field_of_view_rad:
            return
        lens = Lens.from_camera_info(message, rectified=self._rectified)
        if self._rectifier is None or self._rectifier.lens != lens:
            self._see_through(lens)

    def _see_through(self, lens: Lens) -> None:
        self._rectifier = Rectifier(lens)
        self._buffer.set_camera(lens.pinhole)

    def _take_scan(self, time_s: float, message: Any) -> None:
        state = present_state(self._buffer.latest_motion, time_s)
        if state is None:
            return
        mount_44 = self._facts.place_of(message.header.frame_id)
        if mount_44 is None:
            raise ValueError(
                f"/tf_static has no way from the base to the scan's frame {message.header.frame_id!r}"
            )
        ranges, bearings = scan_rays(message)
        self.scan = (
            time_s,
            Scan.from_ranges(
                ranges,
                bearings,
                base_pose_3=state.pose_3,
                max_range_m=float(message.range_max),
                base_scanner_3=se3.to_planar(mount_44),
            ),
        )


def planar_motion(message: Any) -> tuple[Floats, Floats]:
    """Pose (x, y, yaw) and twist (vx, vy, yaw rate) of a nav_msgs/Odometry; ``ValueError``: no rotation."""
    pose, twist, q = message.pose.pose, message.twist.twist, message.pose.pose.orientation
    yaw = se3.yaw_from_quaternion((q.x, q.y, q.z, q.w))
    pose_3 = np.array([pose.position.x, pose.position.y, yaw])
    return pose_3, np.array([twist.linear.x, twist.linear.y, twist.angular.z])


def scan_rays(message: Any) -> tuple[Floats, Floats]:
    """Ranges and bearings of a sensor_msgs/LaserScan; what is nearer than the sensor can tell is infinite."""
    ranges = np.asarray(message.ranges, dtype=np.float64)
    bearings = message.angle_min + message.angle_increment * np.arange(len(ranges))
    return np.where(ranges >= message.range_min, ranges, np.inf), bearings
