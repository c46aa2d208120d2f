"""Small bags and known-answer models that the evaluation's tests are made from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sana_wm_ros.evaluation.colours import CONTACT_RGB, cost_colours
from sana_wm_ros.evaluation.foretelling import Drive
from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec, Rollout

STORE = get_typestore(Stores.ROS2_JAZZY)
SPEC = ModelSpec(
    image_height=64,
    image_width=96,
    frame_rate_hz=8.0,
    frames_per_latent=4,
    latent_shape=(32, 4, 6),
    sectors=24,
    max_range_m=8.0,
    place_width=32,
)


def make(msgtype: str, /, **fields):
    return STORE.types[msgtype](**fields)


def header(time_s: float, frame: str = "odom"):
    stamp = make("builtin_interfaces/msg/Time", sec=int(time_s), nanosec=round((time_s % 1) * 1e9))
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)


def pose(x: float, y: float, yaw: float = 0.0):
    q = make("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=float(np.sin(yaw / 2)), w=float(np.cos(yaw / 2)))
    return make("geometry_msgs/msg/Pose", position=point(x, y), orientation=q)


def point(x: float, y: float, z: float = 0.0):
    return make("geometry_msgs/msg/Point", x=float(x), y=float(y), z=z)


def vector(x: float = 0.0, y: float = 0.0, z: float = 0.0):
    return make("geometry_msgs/msg/Vector3", x=x, y=y, z=z)


class BagWriter:
    """Writes messages to an mcap bag, a connection per topic as they come."""

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._connections: dict = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def write(self, topic: str, time_s: float, message) -> None:
        kind = message.__msgtype__
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(topic, kind, typestore=STORE)
        self._writer.write(self._connections[topic], round(time_s * 1e9), STORE.serialize_cdr(message, kind))


def write_input_bag(
    path: Path, *, seconds: float = 10.0, start_s: float = 100.0, rate_hz: float = 8.0
) -> None:
    """A camera that drives straight along x at 0.5 m/s and sees a picture that turns from dark to bright."""
    with BagWriter(path) as bag:
        for k in range(round(seconds * rate_hz) + 1):
            time_s = start_s + k / rate_hz
            level = round(20 + 200 * k / (seconds * rate_hz))
            bag.write("/odom", time_s, odometry(time_s, 0.5 * k / rate_hz, 0.0))
            bag.write("/camera/camera_info", time_s, camera_info(time_s))
            bag.write("/camera/image", time_s, image(time_s, np.full((64, 96, 3), level, np.uint8)))


def odometry(time_s: float, x: float, y: float, yaw: float = 0.0):
    covariance = np.zeros(36)
    twist = make("geometry_msgs/msg/Twist", linear=vector(0.5), angular=vector())
    return make(
        "nav_msgs/msg/Odometry",
        header=header(time_s),
        child_frame_id="base_link",
        pose=make("geometry_msgs/msg/PoseWithCovariance", pose=pose(x, y, yaw), covariance=covariance),
        twist=make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=covariance),
    )


def camera_info(time_s: float):
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=header(time_s, "camera"),
        height=64,
        width=96,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=np.array([48.0, 0, 47.5, 0, 48.0, 31.5, 0, 0, 1]),
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=make(
            "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
        ),
    )


def image(time_s: float, picture_HWC: np.ndarray, encoding: str = "rgb8"):
    return make(
        "sensor_msgs/msg/Image",
        header=header(time_s, "camera"),
        height=picture_HWC.shape[0],
        width=picture_HWC.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=picture_HWC.shape[1] * picture_HWC[0, 0].nbytes,
        data=np.ascontiguousarray(picture_HWC).view(np.uint8).ravel(),
    )


def path_message(time_s: float, points_F2: np.ndarray):
    poses = [
        make("geometry_msgs/msg/PoseStamped", header=header(time_s), pose=pose(x, y)) for x, y in points_F2
    ]
    return make("nav_msgs/msg/Path", header=header(time_s), poses=poses)


def rollouts_message(time_s: float, paths: list[np.ndarray], costs: list[float], contacts: list[np.ndarray]):
    markers = [
        _line(time_s, index, *row)
        for index, row in enumerate(zip(paths, costs, contacts, cost_colours(costs), strict=True))
    ]
    return make("visualization_msgs/msg/MarkerArray", markers=markers)


def _line(time_s, index, path_F2, cost, contact_F, colour_3):
    zero = make("builtin_interfaces/msg/Duration", sec=0, nanosec=0)
    shades = [CONTACT_RGB if hit else colour_3 for hit in contact_F]
    colours = [make("std_msgs/msg/ColorRGBA", r=r / 255, g=g / 255, b=b / 255, a=1.0) for r, g, b in shades]
    return make(
        "visualization_msgs/msg/Marker",
        header=header(time_s),
        ns="imagined",
        id=index,
        type=4,
        action=0,
        pose=pose(0, 0),
        scale=vector(0.02),
        color=colours[0],
        lifetime=zero,
        frame_locked=False,
        points=[point(x, y) for x, y in path_F2],
        colors=colours,
        texture_resource="",
        texture=make(
            "sensor_msgs/msg/CompressedImage", header=header(0.0), format="", data=np.zeros(0, np.uint8)
        ),
        uv_coordinates=[],
        text=json.dumps({"cost": cost, "origin": "arc"}),
        mesh_resource="",
        mesh_file=make("visualization_msgs/msg/MeshFile", filename="", data=np.zeros(0, np.uint8)),
        mesh_use_embedded_materials=False,
    )


def diagnostics(time_s: float, name: str, level: int, message: str, values: dict[str, str]):
    pairs = [make("diagnostic_msgs/msg/KeyValue", key=key, value=value) for key, value in values.items()]
    status = make(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=level,
        name=name,
        message=message,
        hardware_id="",
        values=pairs,
    )
    return make("diagnostic_msgs/msg/DiagnosticArray", header=header(time_s, ""), status=[status])


def twist(time_s: float, speed: float, turn: float):
    value = make("geometry_msgs/msg/Twist", linear=vector(speed), angular=vector(z=turn))
    return make("geometry_msgs/msg/TwistStamped", header=header(time_s, "base_link"), twist=value)


def write_output_bag(
    path: Path, *, seconds: float = 10.0, start_s: float = 100.0, candidates: int = 5
) -> None:
    """Two plans a second, one stop in the middle, costs 0, 1, 2, ... and contact on the last candidate."""
    with BagWriter(path) as bag:
        for k in range(round(seconds * 2)):
            time_s = start_s + k / 2
            paths = [_arc(0.25 * k, turn) for turn in np.linspace(-0.5, 0.5, candidates)]
            contacts = [np.arange(len(p)) > (8 if i == candidates - 1 else 1000) for i, p in enumerate(paths)]
            costs = [float(i) for i in range(candidates)]
            stopped = 0.4 < k / (2 * seconds) < 0.5
            bag.write("/planner/rollouts", time_s, rollouts_message(time_s, paths, costs, contacts))
            if not stopped:
                bag.write("/plan", time_s, path_message(time_s, paths[0]))
            said = "stopped: no picture for 0.6 s" if stopped else "following the plan"
            planning = {
                "cycle (s)": f"{0.1 + 0.01 * k:.3f}",
                "period (s)": "0.5",
                "plans": str(k),
                "late": "0",
            }
            bag.write(
                "/diagnostics", time_s, diagnostics(time_s, "planner: motion", 2 * int(stopped), said, {})
            )
            bag.write(
                "/diagnostics", time_s, diagnostics(time_s, "planner: planning", 0, "plans in time", planning)
            )
            shares = {"progress": -1.0 + 0.05 * k, "collision": 0.5, "clearance": 0.25}
            for name, share in shares.items():
                values = {"weight": "1", "share of the best": f"{share:.2f}"}
                bag.write(
                    "/planner/critics", time_s, diagnostics(time_s, f"planner: critic {name}", 0, "", values)
                )
            for j in range(10):
                moment = time_s + j / 20
                bag.write("/cmd_vel", moment, twist(moment, 0.0 if stopped else 0.5, 0.1))


def _arc(x: float, turn: float) -> np.ndarray:
    yaw = turn * 0.5 * np.arange(21)
    steps = 0.25 * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    return np.array([x, 0.0]) + np.cumsum(steps, axis=0) - steps[0]


def bright_drive(frames: int = 81) -> Drive:
    """A straight drive whose picture is a flat grey of level k in frame k, one per raw frame."""
    poses = np.tile(np.eye(4), (frames, 1, 1))
    poses[:, 0, 3] = 0.0625 * np.arange(frames)
    levels = np.arange(frames, dtype=np.uint8)[:, None, None, None]
    return Drive(
        frames_THWC=np.broadcast_to(levels, (frames, 8, 12, 3)).copy(),
        poses_T44=poses,
        stamps_T=100.0 + np.arange(frames) / 8.0,
        intrinsics=Intrinsics(fx=6.0, fy=6.0, cx=5.5, cy=3.5),
    )


_OFF_BY_SPEC = ModelSpec(
    image_height=8,
    image_width=12,
    frame_rate_hz=8.0,
    frames_per_latent=4,
    latent_shape=(1, 1, 1),
    sectors=24,
    max_range_m=8.0,
    place_width=4,
)


@dataclass(frozen=True, kw_only=True)
class OffByModel:
    """A world model that knows ``bright_drive`` and is wrong by ``off`` grey levels, so its PSNR is known."""

    off: int
    spec: ModelSpec = _OFF_BY_SPEC

    def start(self, intrinsics: Intrinsics) -> OffByContext:
        return OffByContext(model=self, raw_frames=0)

    def decode(self, latents_FCHW: torch.Tensor) -> torch.Tensor:
        last_F = latents_FCHW.reshape(-1)
        level_FT = last_F[:, None] + torch.arange(-3, 1)[None]
        return level_FT.reshape(-1, 1, 1, 1).expand(-1, 8, 12, 3).to(torch.uint8)


@dataclass(frozen=True, kw_only=True)
class OffByContext:
    model: OffByModel
    raw_frames: int

    @property
    def latent_frames(self) -> int:
        return (self.raw_frames + 3) // 4

    @property
    def last_latent_CHW(self) -> torch.Tensor:
        return torch.full((1, 1, 1), float(self.raw_frames - 1))

    @property
    def size(self) -> int:
        return 1

    def extend(self, frames_THWC: torch.Tensor, poses_T44: torch.Tensor) -> OffByContext:
        return OffByContext(model=self.model, raw_frames=self.raw_frames + len(frames_THWC))

    def fork(self, candidates: int) -> OffByContext:
        return self

    def imagine(self, poses_NF44: torch.Tensor, *, steps=None, generator=None):
        size, count = poses_NF44.shape[:2]
        last = self.raw_frames - 1 + 4 * torch.arange(1, count + 1) + self.model.off
        # Told to stand still (the pose of the context's end), it imagines that the picture stays dark.
        moves_NF = poses_NF44[:, :, 0, 3] > 0.0625 * (self.raw_frames - 1) + 1e-4
        last_NF = torch.where(moves_NF, last[None], torch.tensor(3))
        rollout = Rollout(
            latents_NFCHW=last_NF.float().reshape(size, count, 1, 1, 1),
            collision_NF=torch.zeros(size, count),
            clearance_NFK=torch.ones(size, count, 24),
            uncertainty_NF=torch.zeros(size, count),
            place_NFE=torch.ones(size, count, 4) / 2,
        )
        return self, rollout
