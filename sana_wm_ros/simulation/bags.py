"""Record a drive as a bag with the topics of a real robot: rosbag2 (mcap, sqlite3) or ROS 1."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin
from rosbags.rosbag2 import Writer as Ros2Writer

from sana_wm_ros.simulation.dataset import in_processes
from sana_wm_ros.simulation.drive import DriveConfig, Tick, draw_scene, drive, open_simulator
from sana_wm_ros.simulation.lens import Lens
from sana_wm_ros.simulation.messages import ImageCoding, Messages
from sana_wm_ros.simulation.simulator import Simulator

Storage = Literal["mcap", "sqlite3", "ros1"]
STORAGES: tuple[Storage, ...] = ("mcap", "sqlite3", "ros1")
ODOMETRY_HZ = 20
CAMERA_HZ = 10
START_NS = 1_750_000_000_000_000_000
"""Every recording begins at the same moment, so that the same seed gives the same bag."""


@dataclass(frozen=True, kw_only=True)
class BagConfig:
    """How a drive is written. The pictures' size is the drive's."""

    drive: DriveConfig
    storage: Storage = "mcap"
    coding: ImageCoding = "jpeg"

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise ValueError(f"no storage is called {self.storage!r}; choose one of {', '.join(STORAGES)}")
        if self.coding not in ("jpeg", "png", "raw"):
            raise ValueError(f"no image coding is called {self.coding!r}; choose jpeg, png or raw")


def record_bags(
    folder: Path, seeds: Iterable[int], config: BagConfig, *, name: str | None = None, workers: int = 1
) -> Iterator[Path]:
    """Record the bags of seeds that the folder lacks, on several processes; each path once it is whole.

    ``name`` is a single bag's; otherwise bags are named by family and seed.
    """
    jobs = []
    for seed in seeds:
        path = folder / (name or f"{config.drive.family}_{seed}")
        if config.storage == "ros1":
            path = path.with_name(f"{path.name}.bag")
        if path.exists():
            yield path
        else:
            jobs.append((path, seed, config))
    yield from in_processes(_record, jobs, workers)


def _record(job: tuple[Path, int, BagConfig]) -> Path:
    return record_bag(*job)


def record_bag(path: Path, seed: int, config: BagConfig) -> Path:
    """Drive a seed's scene and write all that its robot would publish.

    ``path`` is the bag's folder (ROS 1: the ``.bag`` file); returns it. Written beside and renamed when
    whole. Raises ``FileExistsError`` where something lies already.
    """
    if path.exists():
        raise FileExistsError(f"{path} is there already; choose another name or remove it")
    beside = path.with_name(f".{path.name}.part")
    _remove(beside)
    scene = draw_scene(seed, config.drive)
    lens = Lens(scene.camera)
    messages = Messages(1 if config.storage == "ros1" else 2)
    ticks = 1 + int(config.drive.seconds * ODOMETRY_HZ)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Bag(beside, messages, config) as bag, open_simulator(scene, config.drive) as simulator:
        bag.write("/tf_static", START_NS, messages.base_to_camera(START_NS, scene.camera))
        touched = False
        for index, tick in enumerate(islice(drive(scene, simulator, period_s=1 / ODOMETRY_HZ), ticks)):
            stamp_ns = START_NS + index * (1_000_000_000 // ODOMETRY_HZ)
            touched = touched or tick.touched
            if index % (ODOMETRY_HZ // CAMERA_HZ) == 0:
                _write_sensors(bag, messages, simulator, lens, stamp_ns, touched, config.coding)
                touched = False
            _write_motion(bag, messages, tick, stamp_ns)
    if config.storage != "ros1":  # rosbag2's files carry the folder's name inside metadata.yaml
        _rename_inside(beside, path.name)
    beside.rename(path)
    return path


def _write_sensors(
    bag: _Bag,
    messages: Messages,
    simulator: Simulator,
    lens: Lens,
    stamp_ns: int,
    touched: bool,
    coding: ImageCoding,
) -> None:
    topic = "/camera/image" if coding == "raw" else "/camera/image/compressed"
    bag.write(topic, stamp_ns, messages.image(stamp_ns, lens.bend(simulator.look()), coding))
    bag.write("/camera/camera_info", stamp_ns, messages.camera_info(stamp_ns, lens.camera))
    bag.write("/scan", stamp_ns, messages.scan(stamp_ns, simulator.ranges_R(), 1 / CAMERA_HZ))
    bag.write("/contact", stamp_ns, messages.contact(touched))


def _write_motion(bag: _Bag, messages: Messages, tick: Tick, stamp_ns: int) -> None:
    bag.write("/odom", stamp_ns, messages.odometry(stamp_ns, tick.odom_3, tick.twist_2))
    bag.write("/tf", stamp_ns, messages.odom_to_base(stamp_ns, tick.odom_3))
    bag.write("/cmd_vel", stamp_ns, messages.command(stamp_ns, tick.command))


class _Bag:
    """A writer that opens a topic when its first message comes."""

    def __init__(self, path: Path, messages: Messages, config: BagConfig) -> None:
        self._messages, self._ros1 = messages, config.storage == "ros1"
        self._connections: dict[str, Any] = {}
        self._writer: Ros1Writer | Ros2Writer
        if config.storage == "ros1":
            self._writer = Ros1Writer(path)
        else:
            plugin = StoragePlugin.MCAP if config.storage == "mcap" else StoragePlugin.SQLITE3
            # 8 is read by every rosbag2 from Humble on
            self._writer = Ros2Writer(path, version=8, storage_plugin=plugin)

    def __enter__(self) -> _Bag:
        self._writer.open()
        return self

    def __exit__(self, *failure: object) -> None:
        self._writer.close()

    def write(self, topic: str, stamp_ns: int, message: Any) -> None:
        """Append a message, received at the moment it is stamped with."""
        kind, store = message.__msgtype__, self._messages.store
        if topic not in self._connections:
            self._connections[topic] = self._open(topic, kind)
        data = store.serialize_ros1(message, kind) if self._ros1 else store.serialize_cdr(message, kind)
        self._writer.write(self._connections[topic], stamp_ns, data)

    def _open(self, topic: str, kind: str) -> Any:
        static, store = topic == "/tf_static", self._messages.store
        if isinstance(self._writer, Ros1Writer):
            return self._writer.add_connection(topic, kind, typestore=store, latching=1 if static else None)
        return self._writer.add_connection(topic, kind, typestore=store, offered_qos_profiles=[_qos(static)])


def _qos(static: bool) -> Qos:
    """Reliable; late joiners get static transforms."""
    none = QosTime(sec=0, nsec=0)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=10,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if static else QosDurability.VOLATILE,
        deadline=none,
        lifespan=none,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=none,
        avoid_ros_namespace_conventions=False,
    )


def _rename_inside(folder: Path, name: str) -> None:
    """Give a rosbag2 folder's storage file, and its mention in the metadata, the final name."""
    (storage,) = (file for file in folder.iterdir() if file.suffix in (".mcap", ".db3"))
    renamed = f"{name}{storage.suffix}"
    metadata = folder / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(storage.name, renamed))
    storage.rename(folder / renamed)


def _remove(path: Path) -> None:
    """Clear away what a run that was stopped left."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
