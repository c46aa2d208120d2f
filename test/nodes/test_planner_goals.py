"""Goals over DDS: a view, a path and none; reached, timed out and unreachable are told apart."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
import pytest
import robot_rig
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from robot_rig import RobotRig
from ros_fixtures import Log
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import Image, LaserScan


def publish(rig: RobotRig, topic: str, message: Any) -> None:
    publisher = rig.node.create_publisher(type(message), topic, 5)
    rig.wait_until(lambda: publisher.get_subscription_count() > 0, f"a node that hears {topic}")
    publisher.publish(message)


def picture(picture_HWC: np.ndarray) -> Image:
    height, width, _ = picture_HWC.shape
    data = array.array("B", np.ascontiguousarray(picture_HWC).tobytes())
    return Image(height=height, width=width, encoding="rgb8", step=3 * width, data=data)


def path(*points: tuple[float, float]) -> Path:
    message = Path()
    message.header.frame_id = "odom"
    for x, y in points:
        pose = PoseStamped()  # without a header of its own, as many senders leave it
        pose.pose.position.x, pose.pose.position.y, pose.pose.orientation.w = x, y, 1.0
        message.poses.append(pose)
    return message


def test_a_path_is_driven_past_its_poses_to_its_end(start_node: Any, rig: RobotRig, log: Log) -> None:
    start_node(planner__candidates=12)
    driven: list[np.ndarray] = []
    publish(rig, "goal_path", path((0.8, 0.0), (1.2, 0.9), (1.2, 1.5)))
    rig.wait_until(
        lambda: driven.append(rig.pose_3[:2].copy()) or rig.stopped_for("goal reached"), "the end", 60.0
    )
    assert np.hypot(rig.pose_3[0] - 1.2, rig.pose_3[1] - 1.5) < 0.35
    corner = np.hypot(*(np.array(driven) - (1.0, 0.45)).T).min()
    assert corner < 0.45, "the straight line to the end passes half a metre from there"
    assert log.has("new goal: x 1.20 m, y 1.50 m, past 3 poses", "goal reached: x 1.20 m")


def test_an_empty_path_is_refused(start_node: Any, rig: RobotRig, log: Log) -> None:
    start_node()
    rig.wait_until(lambda: rig.stopped_for("no goal"), "a node that sees the robot")
    publish(rig, "goal_path", path())
    rig.wait_until(lambda: log.has("goal refused: the path has no poses"), "a refusal")


@pytest.fixture(scope="module")
def views(checkout: Any) -> list[np.ndarray]:
    """Two pictures of one drive, 8 s and a room apart, as the rig's camera shows them."""
    with AnyReader([checkout / "test" / "data" / "small_12s"]) as reader:
        chosen = [c for c in reader.connections if c.topic == "/camera/image/compressed"]
        messages = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages(chosen)]
    decoded = [cv2.imdecode(messages[i].data, cv2.IMREAD_COLOR) for i in (0, 80)]
    return [cv2.cvtColor(cv2.resize(one, (72, 48)), cv2.COLOR_BGR2RGB) for one in decoded]


@pytest.fixture
def seeing(monkeypatch: Any, views: list[np.ndarray], checkout: Any) -> dict[str, Any]:
    """The rig's camera shows the first view; parameters with which the trained model, which knows places, plans."""
    monkeypatch.setattr(robot_rig, "PICTURE", views[0])
    return {
        "model__path": str(checkout / "models" / "nano"),
        "planner__rate_hz": 1.0,
        "planner__horizon_s": 2.0,
    }


def test_a_view_that_the_robot_has_before_it_is_reached(
    start_node: Any, rig: RobotRig, log: Log, views: list[np.ndarray], seeing: dict[str, Any]
) -> None:
    start_node(**seeing)
    publish(rig, "goal_image", picture(views[0]))
    rig.wait_until(lambda: rig.stopped_for("goal reached"), "the view", timeout_s=30.0)
    assert log.has("new goal: a view", "goal reached: a view") and not log.has("goal timed out")


def test_a_view_of_elsewhere_is_looked_for_until_its_time_is_up(
    start_node: Any, rig: RobotRig, log: Log, views: list[np.ndarray], seeing: dict[str, Any]
) -> None:
    start_node(goal__timeout_s=8.0, **seeing)
    publish(rig, "goal_image", picture(views[1]))
    rig.wait_until_driving()
    rig.wait_until(lambda: rig.stopped_for("goal timed out"), "its time to be up", timeout_s=30.0)
    assert log.has("goal timed out: a view") and not log.has("goal reached") and not log.has("unreachable")


def test_a_robot_that_is_shut_in_says_that_its_goal_is_unreachable(
    start_node: Any, rig: RobotRig, log: Log
) -> None:
    scans = rig.node.create_publisher(LaserScan, "scan", 5)

    def scan() -> None:
        message = LaserScan(angle_min=-np.pi, angle_max=np.pi, angle_increment=2 * np.pi / 72)
        message.header.frame_id = "base_link"
        message.header.stamp = rig.node.get_clock().now().to_msg()
        message.range_min, message.range_max, message.ranges = 0.01, 10.0, [0.12] * 73
        scans.publish(message)

    timer = rig.node.create_timer(0.1, scan)
    start_node()
    rig.wait_until(lambda: scans.get_subscription_count() > 0, "a node that takes scans")
    rig.send_goal_when_heard(3.0, 0.0)
    rig.wait_until(lambda: rig.stopped_for("goal unreachable"), "a failure", timeout_s=60.0)
    timer.cancel()
    assert np.hypot(*rig.pose_3[:2]) < 0.2
    assert log.has("goal unreachable: x 3.00 m, y 0.00 m") and not log.has("goal timed out")


def test_without_a_goal_the_robot_explores_where_it_is_asked_to(start_node: Any, rig: RobotRig) -> None:
    start_node(goal__explore=True)
    rig.wait_until_driving()
    assert not any(rig.stopped_for(f"goal {end}") for end in ("reached", "timed out", "unreachable"))
