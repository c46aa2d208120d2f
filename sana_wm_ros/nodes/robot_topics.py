"""What a robot says on topics, whether it is simulated or dreamed: names, types, QoS and frames are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan
from std_msgs.msg import Bool

from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.camera import Pinhole, body_place
from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.nodes import conversions, pictures
from sana_wm_ros.nodes.settings import Parameter

try:
    from tf2_msgs.msg import TFMessage
except ImportError:  # not among the wheels: odometry carries the pose, and the log tells the camera's place
    TFMessage = None

BASE, CAMERA, ODOM = "base_link", "camera_optical_frame", "odom"
PARAMETERS = (
    Parameter(
        name="coding",
        default="raw",
        text="How pictures go out: on image, on image/compressed, or on both.",
        choices=("raw", "jpeg", "both"),
    ),
    Parameter(name="scan", default=True, text="Publish a laser scan."),
    Parameter(name="clock", default=False, text="Publish /clock and stamp with the robot's own time."),
)


class RobotTopics:
    """Publishes for one robot. values: of ``PARAMETERS`` by name."""

    def __init__(self, node: Node, values: dict[str, Any]) -> None:
        self._node = node
        sensors = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)  # best-effort ears hear it, too
        raw, jpeg = values["coding"] != "jpeg", values["coding"] != "raw"
        self._image = node.create_publisher(Image, "image", sensors) if raw else None
        self._jpeg = node.create_publisher(CompressedImage, "image/compressed", sensors) if jpeg else None
        self._info = node.create_publisher(CameraInfo, "camera_info", sensors)
        self._odometry = node.create_publisher(Odometry, "odom", 50)
        self._scan = node.create_publisher(LaserScan, "scan", sensors) if values["scan"] else None
        self._contact = node.create_publisher(Bool, "contact", 10)
        self._clock = node.create_publisher(Clock, "/clock", 10) if values["clock"] else None
        self._tf = self._tf_static = None
        if TFMessage is not None:
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._tf = node.create_publisher(TFMessage, "/tf", 50)
            self._tf_static = node.create_publisher(TFMessage, "/tf_static", latched)

    def introduce(self, T_base_camera_44: FloatArray) -> None:
        """Where the camera is: on /tf_static, or in the log where there is no TF."""
        if self._tf_static is None:
            words = " ".join(f"{name}:={value}" for name, value in planner_camera(T_base_camera_44).items())
            self._node.get_logger().info(
                f"tf2_msgs is not installed, so no TF; the planner's parameters for this camera: {words}"
            )
            return
        transform = TransformStamped(child_frame_id=CAMERA)
        transform.header.frame_id = BASE
        move, turn = transform.transform.translation, transform.transform.rotation
        move.x, move.y, move.z = (float(value) for value in T_base_camera_44[:3, 3])
        turn.x, turn.y, turn.z, turn.w = (float(value) for value in se3.to_quaternion(T_base_camera_44))
        self._tf_static.publish(TFMessage(transforms=[transform]))

    def stamp(self, time_s: float) -> Any:
        """The stamp of what is said at ``time_s`` of the robot's own clock; /clock tells it where that is asked for."""
        if self._clock is None:
            return self._node.get_clock().now().to_msg()
        # The robot's own time begins at one second: zero stands for "no time yet" all over ROS.
        stamp = conversions.to_stamp(1.0 + time_s)
        self._clock.publish(Clock(clock=stamp))
        return stamp

    def tell_motion(self, stamp: Any, pose_3: FloatArray, twist_2: tuple[float, float]) -> None:
        """Odometry, and the transform that goes with it."""
        self._odometry.publish(odometry(stamp, pose_3, twist_2))
        if self._tf is not None:
            self._tf.publish(TFMessage(transforms=[planar_transform(stamp, ODOM, BASE, pose_3)]))

    def tell_drift(self, stamp: Any, map_frame: str, true_3: FloatArray, odom_3: FloatArray) -> None:
        """Where ``odom`` lies in the map, from where the robot truly is and where it thinks that it is."""
        if self._tf is not None:
            place_44 = se3.from_planar(true_3) @ se3.inverse(se3.from_planar(odom_3))
            transform = planar_transform(stamp, map_frame, ODOM, se3.to_planar(place_44))
            self._tf.publish(TFMessage(transforms=[transform]))

    def tell_picture(
        self,
        stamp: Any,
        picture_HWC: pictures.Picture,
        camera: Pinhole,
        distortion: tuple[float, ...] = (),
    ) -> None:
        """What the camera sees, (H, W, 3) RGB, and its camera_info."""
        self._info.publish(camera_info(stamp, camera, distortion))
        if self._image is not None:
            self._image.publish(pictures.image_from_rgb(picture_HWC, stamp=stamp, frame_id=CAMERA))
        if self._jpeg is not None:
            self._jpeg.publish(pictures.jpeg_from_rgb(picture_HWC, stamp=stamp, frame_id=CAMERA))

    def tell_contact(self, touched: bool) -> None:
        """What the bumper says."""
        self._contact.publish(Bool(data=touched))

    def tell_scan(self, stamp: Any, ranges_R: Callable[[], FloatArray], max_range_m: float) -> None:
        """A full turn of ranges in metres, measured only where a scan is wanted."""
        if self._scan is not None:
            self._scan.publish(scan(stamp, ranges_R(), max_range_m))


def odometry(stamp: Any, pose_3: FloatArray, twist_2: tuple[float, float]) -> Odometry:
    """Pose (x, y, yaw) and twist (speed, yaw rate) of the base."""
    message = Odometry(child_frame_id=BASE)
    message.header.stamp, message.header.frame_id = stamp, ODOM
    message.pose.pose = conversions.to_pose(pose_3)
    message.twist.twist = conversions.to_twist(conversions.planar_twist(twist_2))
    return message


def planar_transform(stamp: Any, parent: str, child: str, pose_3: FloatArray) -> TransformStamped:
    """A planar pose (x, y, yaw) of a frame in another as a transform."""
    transform = TransformStamped(child_frame_id=child)
    transform.header.stamp, transform.header.frame_id = stamp, parent
    pose = conversions.to_pose(pose_3)
    transform.transform.translation.x = pose.position.x
    transform.transform.translation.y = pose.position.y
    transform.transform.rotation = pose.orientation
    return transform


def scan(stamp: Any, ranges_R: FloatArray, max_range_m: float) -> LaserScan:
    """A full turn around the base; where nothing was met it says infinity (REP 117)."""
    seen_R = np.where(ranges_R >= max_range_m, np.inf, ranges_R)
    return conversions.to_scan(seen_R, stamp=stamp, frame_id=BASE, max_range_m=max_range_m)


def camera_info(stamp: Any, camera: Pinhole, distortion: tuple[float, ...] = ()) -> CameraInfo:
    """The camera and its lens (k1, k2, ... of plumb_bob; none: an ideal pinhole)."""
    message = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    message.header.stamp, message.header.frame_id = stamp, CAMERA
    fx, fy, cx, cy = camera.fx, camera.fy, camera.cx, camera.cy
    message.d = [*distortion, *[0.0] * (5 - len(distortion))]
    message.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def planner_camera(T_base_camera_44: FloatArray) -> dict[str, bool | float]:
    """The planner node's parameters that say where this camera is."""
    names = ("x", "y", "z", "roll", "pitch", "yaw")
    place = zip(names, body_place(T_base_camera_44), strict=True)
    return {"camera.from_tf": False, **{f"camera.{name}": round(value, 4) for name, value in place}}
