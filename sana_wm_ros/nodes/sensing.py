"""Camera, odometry and scan from their topics into the observation buffer; never waits for the model.

Each kind of message has a callback group of its own, so a slow picture does not hold up odometry. A message
that cannot be used is refused by name: logged the first time, counted every time.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from nav_msgs.msg import Odometry
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan

from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.camera import Pinhole
from sana_wm_ros.nodes import conversions, pictures, plain_qos
from sana_wm_ros.nodes.extrinsics import TransformSource
from sana_wm_ros.nodes.settings import CameraSettings
from sana_wm_ros.planning.present import present_state
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import FloatArray, RobotState
from sana_wm_ros.world_model.lens import Lens, Rectifier
from sana_wm_ros.world_model.observation_buffer import ObservationBuffer

Message = TypeVar("Message")
_SOURCE_SWITCH_S = 1.0  # the other image topic takes over after the first was silent for so long
_SCAN_MAX_AGE_S = 0.5


class Sensing:
    """Subscribes, converts, hands over; and remembers when what came, by the steady clock."""

    def __init__(
        self,
        node: Node,
        buffer: ObservationBuffer,
        transforms: TransformSource,
        settings: CameraSettings,
        base_frame: str,
        trace: Callable[[str, float], None],
    ) -> None:
        self._node, self._buffer, self._transforms = node, buffer, transforms
        self._settings, self._base_frame, self._trace = settings, base_frame, trace
        self._rectifier: Rectifier | None = None
        self._image_source = ""
        self._scan: tuple[float, Scan] | None = None
        self._silent_since: dict[str, float] = {}
        self.refused: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.odometry_frame = ""
        self.camera_frame = ""
        self.problem = ""
        self.image_cost_s = 0.0
        self._subscriptions = [
            self._subscribe(Image, "image", lambda m: self._on_image("image", m, pictures.rgb_from_image), 5),
            self._subscribe(
                CompressedImage,
                "image/compressed",
                lambda m: self._on_image("image/compressed", m, pictures.rgb_from_compressed),
                5,
            ),
            self._subscribe(CameraInfo, "camera_info", self._on_camera_info, 1),
            self._subscribe(Odometry, "odom", self._on_odometry, 50),
            self._subscribe(LaserScan, "scan", self._on_scan, 1),
        ]

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def silence_s(self, stream: str) -> float:
        """Seconds by the steady clock since a usable message of "camera" or "odometry" came."""
        return time.monotonic() - self._silent_since.get(stream, -math.inf)

    def present_state(self, now_s: float) -> RobotState | None:
        """The newest odometry carried on to the present, or None while there is none."""
        return present_state(self._buffer.latest_motion, now_s)

    def present_scan(self, now_s: float) -> Scan | None:
        """The newest scan while it is fresh."""
        scan = self._scan
        return scan[1] if scan is not None and abs(now_s - scan[0]) <= _SCAN_MAX_AGE_S else None

    def _subscribe(self, kind: type, topic: str, callback: Callable[[Any], None], depth: int) -> Any:
        def guarded(message: Any) -> None:
            try:
                callback(message)
            except pictures.Unreadable as error:
                self._refuse(topic, error.kind, str(error))
            except ValueError as error:
                self._refuse(topic, "unusable", str(error))
            except Exception as error:
                # One bad message must not take the node down; the stream goes stale and the robot stops.
                self._refuse(topic, type(error).__name__, f"unexpected {error!r}")
            self._say(self._buffer.drain_notes())

        return self._node.create_subscription(
            kind,
            topic,
            guarded,
            QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT),
            callback_group=MutuallyExclusiveCallbackGroup(),
            event_callbacks=plain_qos.for_subscription(self._node, topic),
        )

    def _refuse(self, topic: str, kind: str, sentence: str) -> None:
        name = f"{topic}: {kind}"
        self.refused[name] += 1
        if self.refused[name] == 1:
            self._node.get_logger().error(f"{topic} refused: {sentence} (said once; later ones are counted)")

    def _say(self, notes: list[str]) -> None:
        for note in notes:
            self._node.get_logger().warning(note)

    def _on_image(self, source: str, message: Any, convert: Callable[[Any], pictures.Picture]) -> None:
        begin_s = time.perf_counter()
        if self._image_source not in ("", source) and self.silence_s("camera") < _SOURCE_SWITCH_S:
            self.refused[f"{source}: {self._image_source} is used"] += 1
            return
        picture = convert(message)
        self._image_source = source
        self.received["image"] += 1
        self.camera_frame = self.camera_frame or message.header.frame_id
        self._place_camera()
        if self._rectifier is None:
            if not self._settings.horizontal_fov_deg:
                self.problem = "no usable camera_info came yet"
                return
            height, width = picture.shape[:2]
            angle = math.radians(self._settings.horizontal_fov_deg)
            self._see_through(
                Lens(pinhole=Pinhole.from_field_of_view(angle, width, height), kind="none", coefficients=())
            )
        assert self._rectifier is not None
        stamp_s = conversions.seconds(message.header.stamp)
        before = self._buffer.image_age_s(0.0)
        self._buffer.add_image(stamp_s, self._rectifier.apply(picture))
        self._buffer.intrinsics  # noqa: B018 - raises when camera_info and picture do not belong together
        self.problem = ""
        if self._buffer.image_age_s(0.0) != before:
            self._silent_since["camera"] = time.monotonic()
        self.image_cost_s = time.perf_counter() - begin_s
        self._trace("image", stamp_s)
        self._trace("image handled", self.image_cost_s)

    def _on_camera_info(self, message: CameraInfo) -> None:
        self.received["camera_info"] += 1
        if self._settings.horizontal_fov_deg:
            return
        lens = Lens.from_camera_info(message, rectified=self._settings.rectified)
        self.camera_frame = message.header.frame_id or self.camera_frame
        if self._rectifier is None or self._rectifier.lens != lens:
            self._see_through(lens)

    def _see_through(self, lens: Lens) -> None:
        self._rectifier = Rectifier(lens)
        self._buffer.set_camera(lens.pinhole)
        done = {"none": "no distortion to undo", "brown": "undistorted", "fisheye": "undistorted as fisheye"}
        self._node.get_logger().info(
            f"camera: {lens.pinhole.width}x{lens.pinhole.height}, fx {lens.pinhole.fx:.1f}, "
            f"pictures are used with {done[lens.kind]}"
        )

    def _place_camera(self) -> None:
        if self._settings.from_tf and self._transforms.available and self.camera_frame:
            place = self._transforms.lookup(self._base_frame, self.camera_frame)
            if place is None:
                raise ValueError(
                    f"TF has no way from {self._base_frame} to {self.camera_frame} yet; publish it, or set "
                    "camera.from_tf to false and camera.x ... camera.yaw"
                )
            self._buffer.set_extrinsics(place)

    def _on_odometry(self, message: Odometry) -> None:
        frame = message.header.frame_id
        if frame != self.odometry_frame:
            if self.odometry_frame:
                self._buffer.clear(f"odometry changed its frame from {self.odometry_frame} to {frame}")
            self.odometry_frame = frame
        stamp_s, pose_3, twist_3 = conversions.planar_motion(message)
        before = self._buffer.odometry_age_s(0.0)
        self._buffer.add_odometry(stamp_s, pose_3, twist_3)
        self.received["odometry"] += 1
        if self._buffer.odometry_age_s(0.0) != before:
            self._silent_since["odometry"] = time.monotonic()

    def _on_scan(self, message: LaserScan) -> None:
        stamp_s = conversions.seconds(message.header.stamp)
        state = self.present_state(stamp_s)
        if state is None:
            return
        mount_3: FloatArray = np.zeros(3)
        if message.header.frame_id != self._base_frame:
            mount_44 = self._transforms.lookup(self._base_frame, message.header.frame_id)
            if mount_44 is None:
                raise ValueError(
                    f"the scan is in frame {message.header.frame_id!r} and TF has no way to it from "
                    f"{self._base_frame}: the scan is not used"
                )
            mount_3 = se3.to_planar(mount_44)
        self.received["scan"] += 1
        bearings = message.angle_min + message.angle_increment * np.arange(len(message.ranges))
        ranges = np.asarray(message.ranges, dtype=np.float64)
        ranges = np.where(ranges >= message.range_min, ranges, np.inf)
        scan = Scan.from_ranges(
            ranges, bearings, base_pose_3=state.pose_3, max_range_m=message.range_max, base_scanner_3=mount_3
        )
        self._scan = (stamp_s, scan)
