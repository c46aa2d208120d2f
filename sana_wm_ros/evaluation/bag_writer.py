"""Write mcap bags without ROS: messages of the common types from arrays, a topic opened when its first comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sana_wm_ros.evaluation.metrics import Floats, Pictures
from sana_wm_ros.geometry.se3 import quaternion_from_yaw

STORE = get_typestore(Stores.ROS2_JAZZY)


class BagWriter:
    """A new mcap bag; raises ``FileExistsError`` where one is. Times in seconds."""

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise FileExistsError(f"{path} exists already; choose another folder or remove it")
        path.parent.mkdir(parents=True, exist_ok=True)
        # 8 is read by every rosbag2 from Humble on
        self._writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, topic: str, time_s: float, message: Any) -> None:
        """Append a message."""
        kind = message.__msgtype__
        self.write_raw(topic, kind, round(time_s * 1e9), STORE.serialize_cdr(message, kind))

    def write_raw(self, topic: str, msgtype: str, time_ns: int, data: Any) -> None:
        """Append a message as ROS 2 serialises it."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, msgtype, typestore=STORE)
        self._writer.write(self._connections[topic], max(0, time_ns), data)


def make(msgtype: str, /, **fields: Any) -> Any:
    """A message by the name of its type."""
    return STORE.types[msgtype](**fields)


def header(time_s: float, frame: str) -> Any:
    """A stamped header."""
    second, nano = divmod(max(0, round(time_s * 1e9)), 1_000_000_000)
    stamp = make("builtin_interfaces/msg/Time", sec=second, nanosec=nano)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)


def vector(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Any:
    """A Vector3."""
    return make("geometry_msgs/msg/Vector3", x=float(x), y=float(y), z=float(z))


def point(x: float, y: float, z: float = 0.0) -> Any:
    """A Point."""
    return make("geometry_msgs/msg/Point", x=float(x), y=float(y), z=float(z))


def pose(pose_3: Floats | Sequence[float]) -> Any:
    """A planar Pose."""
    x, y, z, w = (float(value) for value in quaternion_from_yaw(float(pose_3[2])))
    turn = make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
    return make("geometry_msgs/msg/Pose", position=point(pose_3[0], pose_3[1]), orientation=turn)


def pose_stamped(time_s: float, frame: str, pose_3: Floats | Sequence[float]) -> Any:
    """A PoseStamped."""
    return make("geometry_msgs/msg/PoseStamped", header=header(time_s, frame), pose=pose(pose_3))


def path(time_s: float, frame: str, times_F: Floats, poses_F3: Floats) -> Any:
    """A Path whose poses are stamped with the times at which the robot should be there."""
    poses = [pose_stamped(time_s + t, frame, p) for t, p in zip(times_F, poses_F3, strict=True)]
    return make("nav_msgs/msg/Path", header=header(time_s, frame), poses=poses)


def twist_stamped(time_s: float, frame: str, twist_3: Floats) -> Any:
    """A TwistStamped."""
    value = make(
        "geometry_msgs/msg/Twist", linear=vector(twist_3[0], twist_3[1]), angular=vector(z=twist_3[2])
    )
    return make("geometry_msgs/msg/TwistStamped", header=header(time_s, frame), twist=value)


def number(value: float) -> Any:
    """A Float32."""
    return make("std_msgs/msg/Float32", data=float(value))


def image(time_s: float, frame: str, picture_HWC: Pictures) -> Any:
    """An rgb8 Image."""
    height, width, _ = picture_HWC.shape
    return make(
        "sensor_msgs/msg/Image",
        header=header(time_s, frame),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(picture_HWC).reshape(-1),
    )


def scan(time_s: float, frame: str, clearance_K: Floats, max_range_m: float) -> Any:
    """Clearance by sector as a LaserScan about the base, one ray through each sector's middle."""
    step = 2 * np.pi / len(clearance_K)
    return make(
        "sensor_msgs/msg/LaserScan",
        header=header(time_s, frame),
        angle_min=0.0,
        angle_max=float(step * (len(clearance_K) - 1)),
        angle_increment=float(step),
        time_increment=0.0,
        scan_time=0.0,
        range_min=0.0,
        range_max=float(max_range_m),
        ranges=clearance_K.astype(np.float32),
        intensities=np.zeros(0, np.float32),
    )


def status(name: str, level: int, message: str, values: Mapping[str, object]) -> Any:
    """A DiagnosticStatus; numbers are written with four digits."""
    pairs = [
        make("diagnostic_msgs/msg/KeyValue", key=key, value=f"{v:.4g}" if isinstance(v, float) else str(v))
        for key, v in values.items()
    ]
    return make(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=level,
        name=name,
        message=message,
        hardware_id="",
        values=pairs,
    )


def diagnostics(time_s: float, statuses: list[Any]) -> Any:
    """A DiagnosticArray."""
    return make("diagnostic_msgs/msg/DiagnosticArray", header=header(time_s, ""), status=statuses)


def line(
    time_s: float,
    frame: str,
    *,
    number: int,
    points_F3: Floats,
    colours_F4: Floats,
    width_m: float,
    text: str,
) -> Any:
    """A Marker: a line with a colour (red, green, blue, alpha in [0, 1]) at each point, x, y, z."""
    colours = [make("std_msgs/msg/ColorRGBA", r=r, g=g, b=b, a=a) for r, g, b, a in colours_F4.tolist()]
    nothing = np.zeros(0, np.uint8)
    return make(
        "visualization_msgs/msg/Marker",
        header=header(time_s, frame),
        ns="imagined",
        id=number,
        type=4,
        action=0,
        pose=pose((0.0, 0.0, 0.0)),
        scale=vector(width_m),
        color=colours[0],
        lifetime=make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
        frame_locked=False,
        points=[point(*xyz) for xyz in points_F3.tolist()],
        colors=colours,
        texture_resource="",
        texture=make("sensor_msgs/msg/CompressedImage", header=header(0.0, ""), format="", data=nothing),
        uv_coordinates=[],
        text=text,
        mesh_resource="",
        mesh_file=make("visualization_msgs/msg/MeshFile", filename="", data=nothing),
        mesh_use_embedded_materials=False,
    )


def markers(shown: list[Any]) -> Any:
    """A MarkerArray that replaces all earlier ones."""
    first = line(
        0.0, "", number=0, points_F3=np.zeros((1, 3)), colours_F4=np.zeros((1, 4)), width_m=0.0, text=""
    )
    first.action, first.ns = 3, ""
    if shown:
        first.header = shown[0].header
    return make("visualization_msgs/msg/MarkerArray", markers=[first, *shown])
