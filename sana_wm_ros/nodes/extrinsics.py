"""Where frames are on the robot: from TF where tf2_ros is installed, and an honest "not known" where not."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.time import Time

from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.nodes.conversions import matrix_from_transform

try:
    import tf2_ros
except ImportError:  # not among the wheels: parameters say where the camera is, goals must be in odom
    tf2_ros = None


class TransformSource:
    """The newest transforms. Without tf2_ros nothing is known and ``available`` is false."""

    def __init__(self, node: Node) -> None:
        self.available = tf2_ros is not None
        self._buffer: Any = None
        self._listener: Any = None
        if tf2_ros is not None:
            self._buffer = tf2_ros.Buffer(node=node)
            self._listener = tf2_ros.TransformListener(self._buffer, node)

    def lookup(self, target: str, source: str) -> FloatArray | None:
        """T_target_source as a 4x4 matrix, or None while TF does not know it."""
        if self._buffer is None:
            return None
        try:
            found = self._buffer.lookup_transform(target, source, Time())
        except tf2_ros.TransformException:
            return None
        return matrix_from_transform(found.transform)

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.unregister()
