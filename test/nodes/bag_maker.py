"""Small recordings for tests: a robot that drives an arc past a pattern, in any bag format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

START_S = 1_600_000_000.0


def write_bag(
    path: Path,
    *,
    storage: str = "mcap",
    seconds: float = 4.0,
    rate_hz: float = 10.0,
    camera_info: bool = True,
    compressed: bool = False,
    stamp_shift_s: float = 0.0,
    cameras: tuple[str, ...] = ("camera",),
) -> Path:
    """0.5 m/s and 0.2 rad/s; 60 x 40 pictures. ``stamp_shift_s``: header stamps less recording times."""
    ros1 = storage == "ros1"
    store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_JAZZY)
    messages = list(
        _messages(store.types, ros1, seconds, rate_hz, camera_info, compressed, stamp_shift_s, cameras)
    )
    if ros1:
        target = path.with_suffix(".bag")
        writer: Any = Writer1(target)
    else:
        target = path
        plugin = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}[storage]
        writer = Writer(target, version=9, storage_plugin=plugin)
    connections: dict[str, Any] = {}
    with writer:
        for topic, time_s, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=store)
            data = store.serialize_ros1(message, kind) if ros1 else store.serialize_cdr(message, kind)
            writer.write(connections[topic], round(time_s * 1e9), data)
    return target


def _messages(
    types: Any,
    ros1: bool,
    seconds: float,
    rate_hz: float,
    info: bool,
    compressed: bool,
    shift_s: float,
    cameras: Any,
) -> Any:
    rng = np.random.default_rng(0)
    wall = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    pose = np.zeros(3)
    for index in range(int(seconds * rate_hz)):
        time_s = START_S + index / rate_hz
        nanoseconds = round((time_s + shift_s) * 1e9)
        stamp = types["builtin_interfaces/msg/Time"](sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
        sequence = {"seq": index} if ros1 else {}

        def header(frame: str, stamp: Any = stamp, sequence: Any = sequence) -> Any:
            return types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame, **sequence)

        yield "/odom", time_s, _odometry(types, header("odom"), pose)
        for camera in cameras:
            picture = np.roll(wall, index, axis=1)
            if info:
                yield f"/{camera}/camera_info", time_s, _camera_info(types, header("optical"), ros1)
            if compressed:
                data = np.frombuffer(cv2.imencode(".png", picture)[1].tobytes(), dtype=np.uint8)
                kind = types["sensor_msgs/msg/CompressedImage"]
                yield (
                    f"/{camera}/image/compressed",
                    time_s,
                    kind(header=header("optical"), format="png", data=data),
                )
            else:
                yield (
                    f"/{camera}/image",
                    time_s,
                    types["sensor_msgs/msg/Image"](
                        header=header("optical"),
                        height=40,
                        width=60,
                        encoding="rgb8",
                        is_bigendian=0,
                        step=180,
                        data=picture.ravel(),
                    ),
                )
        step = 0.5 / rate_hz
        pose = pose + [step * np.cos(pose[2]), step * np.sin(pose[2]), 0.2 / rate_hz]


def _odometry(types: Any, header: Any, pose: Any) -> Any:
    vector, quaternion = types["geometry_msgs/msg/Vector3"], types["geometry_msgs/msg/Quaternion"]
    place = types["geometry_msgs/msg/Pose"](
        position=types["geometry_msgs/msg/Point"](x=pose[0], y=pose[1], z=0.0),
        orientation=quaternion(x=0.0, y=0.0, z=np.sin(pose[2] / 2), w=np.cos(pose[2] / 2)),
    )
    twist = types["geometry_msgs/msg/Twist"](
        linear=vector(x=0.5, y=0.0, z=0.0), angular=vector(x=0.0, y=0.0, z=0.2)
    )
    return types["nav_msgs/msg/Odometry"](
        header=header,
        child_frame_id="base_link",
        pose=types["geometry_msgs/msg/PoseWithCovariance"](pose=place, covariance=np.zeros(36)),
        twist=types["geometry_msgs/msg/TwistWithCovariance"](twist=twist, covariance=np.zeros(36)),
    )


def _camera_info(types: Any, header: Any, ros1: bool) -> Any:
    k = np.array([30.0, 0.0, 29.5, 0.0, 30.0, 19.5, 0.0, 0.0, 1.0])
    p = np.array([30.0, 0.0, 29.5, 0.0, 0.0, 30.0, 19.5, 0.0, 0.0, 0.0, 1.0, 0.0])
    matrices = {"d": np.zeros(5), "k": k, "r": np.eye(3).ravel(), "p": p}
    if ros1:
        matrices = {name.upper(): value for name, value in matrices.items()}
    return types["sensor_msgs/msg/CameraInfo"](
        header=header,
        height=40,
        width=60,
        distortion_model="plumb_bob",
        binning_x=0,
        binning_y=0,
        roi=types["sensor_msgs/msg/RegionOfInterest"](
            x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
        **matrices,
    )
