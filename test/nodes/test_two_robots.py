"""Two robots in two namespaces at once over DDS: each planner drives its own and hears nothing of the other's."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped, TwistStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as Way
from rclpy.executors import SingleThreadedExecutor
from ros_fixtures import DOMAIN

from sana_wm_ros.nodes.conversions import planar_motion

pytestmark = pytest.mark.timeout(900)
BAG = Path(__file__).parents[1] / "data" / "small_12s"
ROBOTS = ("red", "blue")
GLOBAL = {"/diagnostics", "/rosout", "/parameter_events", "/clock", "/tf", "/tf_static"}


@contextlib.contextmanager
def node(module: str, namespace: str, log: Path, **parameters: Any) -> Iterator[None]:
    words = [
        f"{n.replace('__', '.')}:={str(v).lower() if isinstance(v, bool) else v}"
        for n, v in parameters.items()
    ]
    arguments = [part for word in words for part in ("-p", word)]
    command = [sys.executable, "-m", f"sana_wm_ros.nodes.{module}", "--ros-args", "-r", f"__ns:=/{namespace}"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, *arguments], stdout=out, stderr=out, env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)}
        )
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def shared_topics(node: Any) -> set[str]:
    """Topics that stand in no robot's namespace."""
    own = tuple(f"/{robot}/" for robot in ROBOTS)
    return {name for name, _ in node.get_topic_names_and_types() if not name.startswith(own)}


class Ear:
    """Hears commands, plans and odometry of one robot, and sends its goal."""

    def __init__(self, node: Any, name: str) -> None:
        self.commands: list[np.ndarray] = []
        self.plans: list[Way] = []
        self.odometry: list[Odometry] = []
        self.goal = node.create_publisher(PoseStamped, f"/{name}/goal_pose", 1)
        node.create_subscription(TwistStamped, f"/{name}/cmd_vel", self._take, 100)
        node.create_subscription(Way, f"/{name}/plan", self.plans.append, 10)
        node.create_subscription(Odometry, f"/{name}/odom", self.odometry.append, 100)

    def _take(self, message: TwistStamped) -> None:
        self.commands.append(np.array([message.twist.linear.x, message.twist.angular.z]))

    @property
    def pose_3(self) -> np.ndarray:
        return planar_motion(self.odometry[-1])[1]


def test_each_of_two_robots_drives_for_its_own_goal_alone(model_folder: Path, tmp_path: Path) -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    mine = rclpy.create_node("operator", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(mine)
    ears = {name: Ear(mine, name) for name in ROBOTS}
    shared = {"model__path": model_folder, "model__threads": 1}
    planner = {
        "autostart": True,
        "planner__candidates": 4,
        "planner__horizon_s": 4.0,
        "camera__from_tf": False,
    }

    def until(done: Any, what: str, timeout_s: float = 240.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not done():
            logs = "\n".join(f"{p.name}: {p.read_text()[-800:]}" for p in sorted(tmp_path.glob("*.log")))
            assert time.monotonic() < end_s, f"{what}\n{logs}"
            executor.spin_once(timeout_sec=0.05)

    def wait(seconds: float) -> None:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.05)

    try:
        with contextlib.ExitStack() as stack:
            for name in ROBOTS:
                log = tmp_path / f"{name}_dream.log"
                stack.enter_context(node("dream_node", name, log, bag=BAG, context_s=1.0, **shared))
                log = tmp_path / f"{name}_planner.log"
                stack.enter_context(node("planner_node", name, log, **planner, **shared))
            until(
                lambda: all(ear.odometry and ear.goal.get_subscription_count() for ear in ears.values()),
                "ready",
            )
            # Planners, robots and topics stand twice, each in its namespace; nothing but what is global is shared.
            wanted = {f"/{r}/{n}" for r in ROBOTS for n in ("sana_wm_planner", "sana_wm_dream")}
            until(lambda: wanted <= {f"{s}/{n}" for n, s in mine.get_node_names_and_namespaces()}, "names")
            # What a process of an earlier test left in the graph is gone once its lease has ended.
            until(
                lambda: shared_topics(mine) <= GLOBAL, f"only global topics are shared: {shared_topics(mine)}"
            )
            red, blue = ears["red"], ears["blue"]
            begin_3 = {name: ear.pose_3 for name, ear in ears.items()}
            goal = PoseStamped()
            goal.header.frame_id = "odom"
            goal.pose.position.x, goal.pose.orientation.w = 50.0, 1.0
            red.goal.publish(goal)
            until(lambda: np.hypot(*(red.pose_3 - begin_3["red"])[:2]) > 0.2, "red drives")
            wait(1.0)
            assert red.plans and not blue.plans
            assert not np.any(blue.commands), "blue was sent nowhere"
            np.testing.assert_allclose(blue.pose_3, begin_3["blue"], atol=1e-6)
            blue.goal.publish(goal)
            until(lambda: np.hypot(*(blue.pose_3 - begin_3["blue"])[:2]) > 0.2, "blue drives as well")
    finally:
        executor.shutdown(timeout_sec=2.0)
        mine.destroy_node()
        context.try_shutdown()
