"""Stands beside a simulated robot: records what is said, commands by hand, sends goals, watches."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool

from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.nodes import conversions
from sana_wm_ros.nodes.bag_recorder import BagRecorder
from sana_wm_ros.nodes.replay_watcher import Watcher

_HARD_MPS = 0.1


class Operator:
    """An operator's eyes and hands. Times are the simulator's; topics are those of a robot in ``namespace``."""

    def __init__(self, context: Any, namespace: str) -> None:
        self._context = context
        self.node = rclpy.create_node("sana_wm_live", context=context)
        self.watcher = Watcher()
        self.time_s, self._recording = 0.0, False
        self.pose_3: FloatArray | None = None
        self.true_pose_3: FloatArray | None = None
        self.touching, self.hard_contact = False, False
        self._speeds_mps: deque[float] = deque(maxlen=5)
        self.driven_m, self.contacts = 0.0, 0
        self._moved = threading.Condition()
        node = self.node
        node.create_subscription(Clock, "/clock", self._on_clock, 10)
        node.create_subscription(DiagnosticArray, "/diagnostics", self.watcher.take, 50)
        node.create_subscription(Odometry, f"{namespace}/odom", self._on_odometry, 50)
        node.create_subscription(Bool, f"{namespace}/contact", self._on_contact, 10)
        true_pose = f"{namespace}/sana_wm_simulator/true_pose"
        node.create_subscription(PoseStamped, true_pose, self._on_true_pose, 10)
        self._command = node.create_publisher(TwistStamped, f"{namespace}/cmd_vel", 1)
        self._goal = node.create_publisher(PoseStamped, f"{namespace}/goal_pose", 1)

    def now_ns(self) -> int:
        """The time to file messages under; zero keeps them out of the bags."""
        return round(self.time_s * 1e9) if self._recording else 0

    def record(self, bag: BagRecorder, topics: dict[str, str]) -> None:
        """File what comes on topics, once ``begin`` was called."""
        for topic, kind in topics.items():
            bag.listen(self.node, topic, kind)

    def begin(self) -> None:
        """Record and count from now on."""
        self._recording, self.driven_m, self.contacts, self.hard_contact = True, 0.0, 0, False
        self.watcher.begin()

    @property
    def ready(self) -> bool:
        """Whether the planner is active and the robot's clock runs."""
        motion = self.watcher.motion
        return bool(motion) and "not active" not in motion and self.pose_3 is not None

    @property
    def heard(self) -> bool:
        """Whether somebody takes goals."""
        return self._goal.get_subscription_count() > 0

    def wait(self, seconds: float) -> None:
        """Until the simulator's clock is so much further, or a second has passed."""
        until_s, give_up_s = self.time_s + seconds, time.monotonic() + 1.0
        with self._moved:
            self._moved.wait_for(lambda: self.time_s >= until_s or time.monotonic() > give_up_s, timeout=1.0)

    def command(self, speed_mps: float, rate_radps: float) -> None:
        """Drive by hand."""
        twist_3 = np.array([speed_mps, 0.0, rate_radps])
        stamp = conversions.to_stamp(self.time_s)
        self._command.publish(conversions.to_twist_stamped(twist_3, stamp=stamp, frame_id="base_link"))

    def send_goal(self, x_m: float, y_m: float) -> None:
        """Ask the planner to drive somewhere."""
        message = PoseStamped(pose=conversions.to_pose(np.array([x_m, y_m, 0.0])))
        message.header.frame_id = "odom"
        message.header.stamp = conversions.to_stamp(self.time_s)
        self._goal.publish(message)

    @contextlib.contextmanager
    def spinning(self) -> Iterator[None]:
        """Serve callbacks until the end."""
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self.node)

        def spin() -> None:
            with contextlib.suppress(ExternalShutdownException):
                executor.spin()

        spinner = threading.Thread(target=spin, name="live executor", daemon=True)
        spinner.start()
        try:
            yield
        finally:
            executor.shutdown(timeout_sec=2.0)
            spinner.join(timeout=2.0)

    def _on_clock(self, message: Clock) -> None:
        with self._moved:
            self.time_s = conversions.seconds(message.clock)
            self._moved.notify_all()

    def _on_odometry(self, message: Odometry) -> None:
        _, pose_3, twist_3 = conversions.planar_motion(message)
        self._speeds_mps.append(abs(float(twist_3[0])))
        if self.pose_3 is not None:
            self.driven_m += float(np.hypot(*(pose_3 - self.pose_3)[:2]))
        self.pose_3 = pose_3

    def _on_true_pose(self, message: PoseStamped) -> None:
        self.true_pose_3 = conversions.planar_pose(message.pose)

    def _on_contact(self, message: Bool) -> None:
        if message.data and not self.touching:
            self.contacts += 1
            # The speed with which it came, not with which it was stopped.
            self.hard_contact = self.hard_contact or max(self._speeds_mps, default=0.0) > _HARD_MPS
        self.touching = bool(message.data)
