"""A stand for the planner node: a robot's sensors published over real DDS, and an ear on its commands."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from sana_wm_ros.nodes.conversions import to_stamp

PICTURE = np.random.default_rng(0).integers(0, 255, (48, 72, 3), dtype=np.uint8)


class RobotRig:
    """Publishes camera, camera_info and odometry at 20 Hz of a robot that obeys; hears cmd_vel and diagnostics."""

    def __init__(
        self, context: object, *, sim_start_s: float | None = None, command_type: type = TwistStamped
    ) -> None:
        self.node = Node("robot_rig", context=context)
        self.camera = self.odometry = True
        self.pose_3 = np.zeros(3)
        self.twist_3 = np.zeros(3)
        self.stamp_offset_s = 0.0
        self.nan_odometry = False
        self.encoding = "rgb8"
        self.clock_runs = True
        self._sim_s = sim_start_s
        self.commands: list[tuple[float, np.ndarray]] = []
        self.diagnostics: list[tuple[float, str, str]] = []
        self._image = self.node.create_publisher(Image, "image", 5)
        self._info = self.node.create_publisher(CameraInfo, "camera_info", 5)
        self._odometry = self.node.create_publisher(Odometry, "odom", 5)
        self.goal = self.node.create_publisher(PoseStamped, "goal_pose", 5)
        self._clock = None if sim_start_s is None else self.node.create_publisher(Clock, "/clock", 5)
        self.node.create_subscription(command_type, "cmd_vel", self._on_command, QoSProfile(depth=100))
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)
        self._period_s = 0.05
        self._ticks: list[tuple[float, float]] = []
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self.node)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._spin), threading.Thread(target=self._drive)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        self.node.destroy_node()

    def send_goal(self, x_m: float, y_m: float, frame_id: str = "odom") -> None:
        message = PoseStamped()
        message.header.frame_id = frame_id
        message.pose.position.x, message.pose.position.y = x_m, y_m
        message.pose.orientation.w = 1.0
        self.goal.publish(message)

    def send_goal_when_heard(self, x_m: float, y_m: float) -> None:
        self.wait_until(lambda: self.goal.get_subscription_count() > 0, "a node that takes goals")
        self.send_goal(x_m, y_m)

    def jump_to(self, time_s: float) -> None:
        self._sim_s = time_s

    def call(self, service: str) -> str:
        client = self.node.create_client(Trigger, f"/sana_wm_planner/{service}")
        assert client.wait_for_service(timeout_sec=5.0)
        future = client.call_async(Trigger.Request())
        self.wait_until(future.done, f"an answer of {service}")
        self.node.destroy_client(client)
        assert future.result().success
        return str(future.result().message)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = 15.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not condition():
            recent = [(kind, text) for _, kind, text in self.diagnostics[-4:]]
            assert time.monotonic() < end_s, f"waited {timeout_s} s for: {what}; last diagnostics {recent}"
            time.sleep(0.01)

    def wait_until_driving(self) -> None:
        begin_s = time.monotonic()
        self.wait_until(
            lambda: any(t > begin_s and np.abs(twist).max() > 0.05 for t, twist in self.commands[-3:]),
            "driving",
        )

    def assert_stops_within(self, begin_s: float, limit_s: float = 0.5, *, watch_s: float = 0.8) -> None:
        """Zero commands, and from ``limit_s`` after the cause at ``begin_s`` on nothing else."""
        self.wait_until(
            lambda: any(t > begin_s and not c.any() for t, c in list(self.commands)), "a zero command"
        )
        time.sleep(watch_s)
        after = [(t, c) for t, c in list(self.commands) if t > begin_s]
        first_s = next(t for t, c in after if not c.any()) - begin_s
        moved_s = max((t for t, c in after if c.any()), default=begin_s) - begin_s
        sleepy_s = max((late for t, late in self._ticks if t > begin_s), default=0.0)
        if max(first_s, moved_s) > limit_s and sleepy_s > 0.1:
            pytest.skip(
                f"this machine is too busy for a bound: a thread of the rig woke {sleepy_s:.2f} s late"
            )
        assert first_s <= limit_s
        assert moved_s <= limit_s, "the robot was moved again"

    def stopped_for(self, kind: str) -> bool:
        return any(kind in text for _, name, text in self.diagnostics if name.endswith("motion"))

    def _spin(self) -> None:
        while not self._ended.is_set():
            self._executor.spin_once(timeout_sec=0.1)

    def _on_command(self, message: TwistStamped | Twist) -> None:
        twist = message.twist if isinstance(message, TwistStamped) else message
        self.twist_3 = np.array([twist.linear.x, twist.linear.y, twist.angular.z])
        self.commands.append((time.monotonic(), self.twist_3))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        now_s = time.monotonic()
        self.diagnostics += [(now_s, status.name, status.message) for status in message.status]

    def _drive(self) -> None:
        due_s = time.monotonic()
        while not self._ended.wait(max(0.0, due_s - time.monotonic())):
            self._ticks.append((time.monotonic(), time.monotonic() - due_s))
            due_s = max(due_s + self._period_s, time.monotonic() - self._period_s)
            self._step()

    def _now_s(self) -> float:
        if self._sim_s is None or self._clock is None:
            return self.node.get_clock().now().nanoseconds * 1e-9
        if self.clock_runs:
            self._sim_s += self._period_s
            self._clock.publish(Clock(clock=to_stamp(self._sim_s)))
        return self._sim_s

    def _step(self) -> None:
        x, y, yaw = self.pose_3
        v, _, w = self.twist_3
        self.pose_3 = np.array(
            [
                x + v * np.cos(yaw) * self._period_s,
                y + v * np.sin(yaw) * self._period_s,
                yaw + w * self._period_s,
            ]
        )
        stamp = to_stamp(self._now_s() + self.stamp_offset_s)
        if self.odometry:
            message = Odometry()
            message.header.stamp, message.header.frame_id = stamp, "odom"
            message.child_frame_id = "base_link"
            message.pose.pose.position.x, message.pose.pose.position.y = self.pose_3[:2]
            message.pose.pose.orientation.z = float(np.sin(self.pose_3[2] / 2))
            message.pose.pose.orientation.w = float(np.cos(self.pose_3[2] / 2))
            if self.nan_odometry:
                message.pose.pose.position.x = float("nan")
            message.twist.twist.linear.x, message.twist.twist.angular.z = float(v), float(w)
            self._odometry.publish(message)
        if self.camera:
            info = CameraInfo(width=72, height=48, distortion_model="plumb_bob", d=[0.0] * 5)
            info.header.stamp = stamp
            info.k = [36.0, 0.0, 35.5, 0.0, 36.0, 23.5, 0.0, 0.0, 1.0]
            self._info.publish(info)
            image = Image(
                height=48,
                width=72,
                encoding=self.encoding,
                step=216,
                data=array.array("B", PICTURE.tobytes()),
            )
            image.header.stamp = stamp
            image.header.frame_id = "camera"
            self._image.publish(image)
