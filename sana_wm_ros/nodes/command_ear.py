"""A robot's ear on ``cmd_vel``: the newest command while it is fresh and finite, and zero otherwise."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from geometry_msgs.msg import Twist, TwistStamped
from rclpy.node import Node

from sana_wm_ros.nodes import plain_qos
from sana_wm_ros.nodes.settings import Parameter

PARAMETERS = (
    Parameter(name="cmd_timeout_s", default=0.5, text="Stop when commands are older.", low=0.1, high=10.0),
    Parameter(name="stamped", default=True, text="Hear TwistStamped; false: Twist."),
)


class CommandEar:
    """Hears commands. values: of ``PARAMETERS`` by name. refused: how many commands were not finite."""

    def __init__(self, node: Node, values: dict[str, Any]) -> None:
        self._node, self._stamped, self._timeout_s = node, values["stamped"], values["cmd_timeout_s"]
        self._lock = threading.Lock()
        self._command, self._heard_s = (0.0, 0.0), -math.inf
        self.refused = 0
        kind = TwistStamped if self._stamped else Twist
        events = plain_qos.for_subscription(node, "cmd_vel")
        node.create_subscription(kind, "cmd_vel", self._take, 10, event_callbacks=events)

    @property
    def present(self) -> tuple[float, float]:
        """Speed and yaw rate, or zero when they are too old (by the wall clock: whoever sent them lives there)."""
        with self._lock:
            fresh = time.monotonic() - self._heard_s <= self._timeout_s
            return self._command if fresh else (0.0, 0.0)

    def _take(self, message: Any) -> None:
        twist = message.twist if self._stamped else message
        command = (float(twist.linear.x), float(twist.angular.z))
        if not all(map(math.isfinite, command)):
            self.refused += 1
            if self.refused == 1:
                self._node.get_logger().error(
                    f"the command {command} is not finite: the robot stops (said once)"
                )
            command = (0.0, 0.0)
        with self._lock:
            self._command, self._heard_s = command, time.monotonic()
