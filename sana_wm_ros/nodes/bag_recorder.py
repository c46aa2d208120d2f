"""Writes messages, as they come over DDS, into a new mcap bag that RViz, Foxglove and ``ros2 bag`` open."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.node import Node
from rosbags.interfaces import Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sana_wm_ros.nodes.bag_player import message_class

_FOREVER = QosTime(sec=9223372036, nsec=854775807)


class BagRecorder:
    """A bag that is being written; use it as a context manager.

    now_ns: the time to file a message under. Raises ``FileExistsError`` where something is in the way.
    """

    def __init__(self, path: Path, now_ns: Callable[[], int]) -> None:
        if path.exists():
            raise FileExistsError(
                f"{path} exists already; name another folder, or allow it to be overwritten"
            )
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        self._now_ns = now_ns
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._connections: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._open = False
        self.written: Counter[str] = Counter()

    def __enter__(self) -> BagRecorder:
        self._writer.open()
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open = False
            self._writer.close()

    def listen(self, node: Node, topic: str, msgtype: str) -> None:
        """Write everything that is published on a topic once the recording plays.

        Before that its clock stands at zero, and a message of that time would make the bag half a century long.
        """
        kind = message_class(msgtype)
        if kind is None:
            raise ImportError(f"{msgtype} is not installed: {topic} cannot be recorded")
        self.announce(topic, msgtype)

        def file(data: bytes) -> None:
            if (now_ns := self._now_ns()) > 0:
                self.write(topic, now_ns, data)

        node.create_subscription(kind, topic, file, 50, raw=True)

    def announce(self, topic: str, msgtype: str) -> None:
        """Make a place for a topic, so that it is in the bag even if nothing comes."""
        latched = topic.endswith("tf_static")
        qos = Qos(
            history=QosHistory.KEEP_LAST,
            depth=10,
            reliability=QosReliability.RELIABLE,
            durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
            deadline=_FOREVER,
            lifespan=_FOREVER,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=_FOREVER,
            avoid_ros_namespace_conventions=False,
        )
        with self._lock:
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=self._store, offered_qos_profiles=[qos]
            )

    def write(self, topic: str, time_ns: int, data: bytes) -> None:
        """File one serialised message; topics that were not announced are left out."""
        with self._lock:
            if self._open and topic in self._connections:
                self._writer.write(self._connections[topic], max(0, time_ns), data)
                self.written[topic] += 1
