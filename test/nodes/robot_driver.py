"""Somebody who drives a robot's node over DDS, and hears all that it says."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from ros_fixtures import DOMAIN
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from std_msgs.msg import Bool

from sana_wm_ros.nodes.conversions import planar_motion

TOPICS: dict[str, type] = {
    "image": Image,
    "camera_info": CameraInfo,
    "odom": Odometry,
    "scan": LaserScan,
    "contact": Bool,
    "sana_wm_simulator/true_pose": PoseStamped,
    "sana_wm_simulator/movers": PoseArray,
    "/clock": Clock,
    "/diagnostics": DiagnosticArray,
}


class Driver:
    """Hears everything the robot says, and commands it."""

    def __init__(self, context: Any, command_type: type = TwistStamped, namespace: str = "") -> None:
        self.node = rclpy.create_node("driver", context=context, namespace=namespace)
        self.heard: dict[str, list[Any]] = defaultdict(list)
        for topic, kind in TOPICS.items():
            self.node.create_subscription(kind, topic, self.heard[topic].append, 100)
        self._type = command_type
        self._command = self.node.create_publisher(command_type, "cmd_vel", 1)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)

    def command(self, speed: float, rate: float) -> None:
        twist = Twist()
        twist.linear.x, twist.angular.z = speed, rate
        self._command.publish(TwistStamped(twist=twist) if self._type is TwistStamped else twist)

    def until(
        self, done: Callable[[], bool], command: tuple[float, float] | None = None, timeout_s: float = 40.0
    ) -> None:
        end_s = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end_s, f"heard { ({k: len(v) for k, v in self.heard.items()}) }"
            if command is not None:
                self.command(*command)
            self._executor.spin_once(timeout_sec=0.02)

    def wait(self, messages: int, command: tuple[float, float] | None = None) -> None:
        """Until so many more odometry messages came: time by the robot's own clock, 20 a second."""
        upto = len(self.heard["odom"]) + messages
        self.until(lambda: len(self.heard["odom"]) >= upto, command)

    @property
    def pose_3(self) -> np.ndarray:
        return planar_motion(self.heard["odom"][-1])[1]

    @property
    def twist_3(self) -> np.ndarray:
        return planar_motion(self.heard["odom"][-1])[2]


@contextlib.contextmanager
def driven(
    node: Any, context: Any, command_type: type = TwistStamped, namespace: str = ""
) -> Iterator[Driver]:
    """Run a robot's node in threads; gives a driver with a DDS participant of its own once the robot speaks."""
    executor, ended = SingleThreadedExecutor(context=context), threading.Event()
    executor.add_node(node)
    threads = [threading.Thread(target=executor.spin), threading.Thread(target=node.run, args=(ended,))]
    for thread in threads:
        thread.start()
    mine = rclpy.Context()
    rclpy.init(context=mine, domain_id=DOMAIN)
    try:
        driver = Driver(mine, command_type, namespace)
        driver.until(lambda: bool(driver.heard["image"]) and bool(driver.heard["odom"]))
        yield driver
    finally:
        ended.set()
        threads[1].join(timeout=20.0)
        executor.shutdown(timeout_sec=2.0)
        threads[0].join(timeout=20.0)
        node.destroy_node()
        mine.try_shutdown()
