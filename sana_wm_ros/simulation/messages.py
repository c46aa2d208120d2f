"""Build the ROS messages of a simulated robot with the ``rosbags`` types, for ROS 1 and ROS 2 alike."""

from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.simulator import MAX_RANGE_M

FloatArray = NDArray[np.float64]
ImageCoding = Literal["jpeg", "png", "raw"]
BASE_FRAME, CAMERA_FRAME, ODOM_FRAME = "base_link", "camera_optical_frame", "odom"


class Messages:
    """Makes messages of one ROS generation; times are nanoseconds."""

    def __init__(self, ros: Literal[1, 2]) -> None:
        self._ros = ros
        self.store: Typestore = get_typestore(Stores.ROS2_JAZZY if ros == 2 else Stores.ROS1_NOETIC)
        if ros == 1:
            text = "geometry_msgs/TransformStamped[] transforms"
            self.store.register(get_types_from_msg(text, "tf2_msgs/msg/TFMessage"))

    def _new(self, name: str, **fields: Any) -> Any:
        return self.store.types[name](**fields)

    def header(self, stamp_ns: int, frame: str) -> Any:
        """A header; ROS 1 has a sequence number that nobody reads."""
        second, nano = divmod(stamp_ns, 1_000_000_000)
        stamp = self._new("builtin_interfaces/msg/Time", sec=second, nanosec=nano)
        extra = {"seq": 0} if self._ros == 1 else {}
        return self._new("std_msgs/msg/Header", stamp=stamp, frame_id=frame, **extra)

    def image(self, stamp_ns: int, picture_HWC: NDArray[np.uint8], coding: ImageCoding) -> Any:
        """A CompressedImage, or an rgb8 Image where coding is ``raw``."""
        header = self.header(stamp_ns, CAMERA_FRAME)
        if coding == "raw":
            height, width, _ = picture_HWC.shape
            return self._new(
                "sensor_msgs/msg/Image",
                header=header,
                height=height,
                width=width,
                encoding="rgb8",
                is_bigendian=0,
                step=3 * width,
                data=np.ascontiguousarray(picture_HWC).reshape(-1),
            )
        options = [cv2.IMWRITE_JPEG_QUALITY, 90] if coding == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
        whole, data = cv2.imencode(f".{coding}", picture_HWC[..., ::-1], options)
        if not whole:
            raise RuntimeError(f"OpenCV could not write a picture as {coding}")
        return self._new(
            "sensor_msgs/msg/CompressedImage", header=header, format=coding, data=data.reshape(-1)
        )

    def camera_info(self, stamp_ns: int, camera: Camera) -> Any:
        """The camera and its lens."""
        fx, fy, cx, cy = (float(value) for value in camera.intrinsics_4)
        matrices = {
            "d": np.array([*camera.distortion, 0.0, 0.0, 0.0]),
            "k": np.array([fx, 0, cx, 0, fy, cy, 0, 0, 1.0]),
            "r": np.eye(3).reshape(-1),
            "p": np.array([fx, 0, cx, 0, 0, fy, cy, 0, 0, 0, 1.0, 0]),
        }
        if self._ros == 1:
            matrices = {name.upper(): value for name, value in matrices.items()}
        region = self._new(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        )
        return self._new(
            "sensor_msgs/msg/CameraInfo",
            header=self.header(stamp_ns, CAMERA_FRAME),
            height=camera.height,
            width=camera.width,
            distortion_model="plumb_bob",
            binning_x=0,
            binning_y=0,
            roi=region,
            **matrices,
        )

    def odometry(self, stamp_ns: int, pose_3: FloatArray, twist_2: tuple[float, float]) -> Any:
        """Pose of the base in ``odom`` and its twist in the base frame."""
        pose = self._new(
            "geometry_msgs/msg/Pose",
            position=self._new("geometry_msgs/msg/Point", x=float(pose_3[0]), y=float(pose_3[1]), z=0.0),
            orientation=self._yaw(float(pose_3[2])),
        )
        spread = np.diag([1e-3, 1e-3, 1e-6, 1e-6, 1e-6, 1e-3]).reshape(-1)
        return self._new(
            "nav_msgs/msg/Odometry",
            header=self.header(stamp_ns, ODOM_FRAME),
            child_frame_id=BASE_FRAME,
            pose=self._new("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=spread),
            twist=self._new(
                "geometry_msgs/msg/TwistWithCovariance", twist=self._twist(twist_2), covariance=spread.copy()
            ),
        )

    def command(self, stamp_ns: int, command: tuple[float, float]) -> Any:
        """A TwistStamped."""
        header = self.header(stamp_ns, BASE_FRAME)
        return self._new("geometry_msgs/msg/TwistStamped", header=header, twist=self._twist(command))

    def odom_to_base(self, stamp_ns: int, pose_3: FloatArray) -> Any:
        """The transform that odometry publishes."""
        move = (float(pose_3[0]), float(pose_3[1]), 0.0)
        return self._transform(stamp_ns, ODOM_FRAME, BASE_FRAME, move, self._yaw(float(pose_3[2])))

    def base_to_camera(self, stamp_ns: int, camera: Camera) -> Any:
        """Where the camera is mounted: optical axes, pitched down."""
        # optical from base: the rotation of a level forward camera, tilted about its own x by -pitch
        half = -camera.pitch_rad / 2
        level = np.array([-0.5, 0.5, -0.5, 0.5])  # x, y, z, w
        tilt = np.array([math.sin(half), 0.0, 0.0, math.cos(half)])
        x, y, z, w = (float(value) for value in _quaternion_product(level, tilt))
        rotation = self._new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
        return self._transform(
            stamp_ns, BASE_FRAME, CAMERA_FRAME, (camera.forward_m, 0.0, camera.up_m), rotation
        )

    def scan(self, stamp_ns: int, ranges_R: FloatArray, period_s: float) -> Any:
        """A full turn of ranges from the base's centre; beyond the sensor's reach is infinite (REP 117)."""
        step = 2 * math.pi / len(ranges_R)
        seen_R = np.where(ranges_R >= MAX_RANGE_M, np.inf, ranges_R).astype(np.float32)
        return self._new(
            "sensor_msgs/msg/LaserScan",
            header=self.header(stamp_ns, BASE_FRAME),
            angle_min=0.0,
            angle_max=2 * math.pi - step,
            angle_increment=step,
            time_increment=0.0,
            scan_time=period_s,
            range_min=0.05,
            range_max=MAX_RANGE_M,
            ranges=seen_R,
            intensities=np.zeros(0, np.float32),
        )

    def contact(self, touched: bool) -> Any:
        """Whether the bumper was touched."""
        return self._new("std_msgs/msg/Bool", data=touched)

    def _twist(self, twist_2: tuple[float, float]) -> Any:
        linear = self._new("geometry_msgs/msg/Vector3", x=float(twist_2[0]), y=0.0, z=0.0)
        angular = self._new("geometry_msgs/msg/Vector3", x=0.0, y=0.0, z=float(twist_2[1]))
        return self._new("geometry_msgs/msg/Twist", linear=linear, angular=angular)

    def _yaw(self, yaw: float) -> Any:
        return self._new(
            "geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=math.sin(yaw / 2), w=math.cos(yaw / 2)
        )

    def _transform(
        self, stamp_ns: int, parent: str, child: str, move: tuple[float, float, float], rotation: Any
    ) -> Any:
        translation = self._new("geometry_msgs/msg/Vector3", x=move[0], y=move[1], z=move[2])
        one = self._new(
            "geometry_msgs/msg/TransformStamped",
            header=self.header(stamp_ns, parent),
            child_frame_id=child,
            transform=self._new("geometry_msgs/msg/Transform", translation=translation, rotation=rotation),
        )
        return self._new("tf2_msgs/msg/TFMessage", transforms=[one])


def _quaternion_product(a_4: FloatArray, b_4: FloatArray) -> FloatArray:
    """a after b, both (x, y, z, w)."""
    (ax, ay, az, aw), (bx, by, bz, bw) = a_4, b_4
    return np.array(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ]
    )
