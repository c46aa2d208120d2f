"""What the node offers over DDS: topics, parameters, services, goals, lifecycle."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist
from nav_msgs.msg import OccupancyGrid, Path
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot_rig import RobotRig
from ros_fixtures import Log
from sensor_msgs.msg import Image, LaserScan
from visualization_msgs.msg import Marker, MarkerArray

from sana_wm_ros.nodes.planner_node import PlannerNode

NAME = "/sana_wm_planner"


def set_parameter(rig: RobotRig, name: str, **value: Any) -> Any:
    client = rig.node.create_client(SetParameters, f"{NAME}/set_parameters")
    assert client.wait_for_service(timeout_sec=5.0)
    parameter = Parameter(name=name, value=ParameterValue(**value))
    future = client.call_async(SetParameters.Request(parameters=[parameter]))
    rig.wait_until(future.done, "an answer to set_parameters")
    return future.result().results[0]


def double(value: float) -> dict[str, Any]:
    return {"type": ParameterType.PARAMETER_DOUBLE, "double_value": value}


def test_the_robot_drives_to_its_goal_and_stands_there(start_node: Any, rig: RobotRig) -> None:
    start_node()
    rig.send_goal_when_heard(1.5, 0.3)
    rig.wait_until(lambda: rig.stopped_for("goal reached"), "the goal", timeout_s=30.0)
    assert np.hypot(rig.pose_3[0] - 1.5, rig.pose_3[1] - 0.3) < 0.35
    assert max(np.abs(c[0]) for _, c in rig.commands) <= 0.6 + 1e-9


def test_everything_that_was_imagined_can_be_looked_at(start_node: Any, rig: RobotRig) -> None:
    heard: dict[str, Any] = {}
    topics = {
        "plan": Path,
        f"{NAME}/rollouts": MarkerArray,
        f"{NAME}/imagined/image": Image,
        f"{NAME}/imagined/film_strip": Image,
        f"{NAME}/imagined/scan": LaserScan,
        f"{NAME}/free_space": OccupancyGrid,
        f"{NAME}/critics": DiagnosticArray,
    }
    for topic, kind in topics.items():
        rig.node.create_subscription(kind, topic, lambda m, topic=topic: heard.__setitem__(topic, m), 5)
    rig.pose_3 = np.array([2.0, -1.0, 0.3])  # so that x and y are told apart
    begin_2 = rig.pose_3[:2]
    start_node()
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until(lambda: len(heard) == len(topics), f"all of {list(topics)}")
    assert heard["plan"].header.frame_id == "odom"
    # The plan lies 0.5 s apart on the latent clock, four seconds of it and its start.
    assert len(heard["plan"].poses) == 9
    lines = [m for m in heard[f"{NAME}/rollouts"].markers if m.type == Marker.LINE_STRIP and m.points]
    # Four proposals, and at most eight that refine them.
    assert 1 <= len(lines) <= 4 + 8 and all(len(m.points) == len(m.colors) for m in lines)
    picture = heard[f"{NAME}/imagined/image"]
    assert (picture.encoding, picture.width, picture.height) == ("rgb8", 48 * 3, 32 * 3)
    # 4 s at 8 Hz are 32 frames, a film strip of 12 of them side by side.
    assert heard[f"{NAME}/imagined/film_strip"].width >= 12 * 48 * 3
    scan = heard[f"{NAME}/imagined/scan"]
    assert len(scan.ranges) == 24 and scan.angle_increment == pytest.approx(2 * np.pi / 24)
    grid = heard[f"{NAME}/free_space"]
    cells = np.array(grid.data).reshape(grid.info.height, grid.info.width)
    corner = np.array([grid.info.origin.position.x, grid.info.origin.position.y])
    x, y = np.floor((begin_2 - corner) / grid.info.resolution).astype(int)
    assert grid.header.frame_id == "odom" and 0 <= cells[y, x] < 5, "where the robot was, it is free"
    assert cells.min() == -1 and cells.max() <= 100, "far away, nothing is known"
    names = {status.name.split()[-1] for status in heard[f"{NAME}/critics"].status}
    assert {"goal_pose", "collision", "clearance"} <= names


def test_nothing_is_decoded_while_nobody_looks(
    start_node: Any, rig: RobotRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sana_wm_ros.world_model.model import NavigationModel

    decoded = []
    original = NavigationModel.decode
    monkeypatch.setattr(NavigationModel, "decode", lambda *a: decoded.append(1) or original(*a))
    start_node()
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until_driving()
    time.sleep(1.0)
    assert not decoded


def test_a_twist_without_stamp_on_request(start_node: Any, make_rig: Any) -> None:
    rig = make_rig(command_type=Twist)
    start_node(command__stamped=False)
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until_driving()


def test_parameters_are_described_with_range(start_node: Any, rig: RobotRig) -> None:
    start_node(active=False)
    client = rig.node.create_client(DescribeParameters, f"{NAME}/describe_parameters")
    assert client.wait_for_service(timeout_sec=5.0)
    future = client.call_async(
        DescribeParameters.Request(names=["robot.radius_m", "critics.collision.weight"])
    )
    rig.wait_until(future.done, "descriptions")
    radius, weight = future.result().descriptors
    assert "must stay free" in radius.description and "[0.02, 5]" in radius.additional_constraints
    assert "may change while the node runs" in weight.additional_constraints


def test_bad_and_late_changes_of_parameters_are_refused_with_a_reason(start_node: Any, rig: RobotRig) -> None:
    start_node()
    wild = set_parameter(rig, "goal.tolerance_m", **double(-1.0))
    late = set_parameter(rig, "robot.radius_m", **double(0.3))
    fine = set_parameter(rig, "goal.tolerance_m", **double(0.5))
    assert not wild.successful and "expected a number in [0.01, 10]" in wild.reason
    assert not late.successful and "clean up, set it, configure again" in late.reason
    assert fine.successful


def test_a_critics_weight_changes_while_planning_goes_on(start_node: Any, rig: RobotRig) -> None:
    weights: list[str] = []

    def listen(message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith("critic smoothness"):
                weights.append(next(pair.value for pair in status.values if pair.key == "weight"))

    rig.node.create_subscription(DiagnosticArray, f"{NAME}/critics", listen, 5)
    start_node()
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until(lambda: bool(weights), "critics")
    assert set_parameter(rig, "critics.smoothness.weight", **double(7.5)).successful
    rig.wait_until(lambda: weights[-1] == "7.5", "the new weight")


def test_a_misspelt_parameter_is_named_with_the_nearest_real_one(start_node: Any, log: Log) -> None:
    start_node(active=False, planner__rate_hertz=3.0)
    assert "planner.rate_hertz is not known and does nothing; did you mean planner.rate_hz?" in log.text


def test_a_goal_in_an_unknown_frame_is_refused_by_name(start_node: Any, rig: RobotRig, log: Log) -> None:
    start_node()
    rig.wait_until(lambda: rig.stopped_for("no goal"), "readiness")
    rig.send_goal(1.0, 0.0, frame_id="mars")
    rig.wait_until(lambda: log.has("goal refused", "'mars'"), "a refusal")
    assert not np.any([c for _, c in rig.commands])


def test_goals_that_stream_in_do_not_keep_the_robot_from_driving(start_node: Any, rig: RobotRig) -> None:
    start_node()
    rig.send_goal_when_heard(50.0, 0.0)
    begin_s = time.monotonic()
    while time.monotonic() - begin_s < 3.0 or max((c[0] for _, c in rig.commands), default=0.0) <= 0.3:
        rig.send_goal(50.0, 0.001 * len(rig.commands))
        time.sleep(0.05)
        if time.monotonic() - begin_s > 60.0:  # a busy machine is slow to start
            break
    assert max(c[0] for _, c in rig.commands) > 0.3


def test_a_publisher_that_cannot_be_heard_is_told_in_plain_words(
    start_node: Any, rig: RobotRig, log: Log
) -> None:
    from geometry_msgs.msg import PoseStamped

    start_node()
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    rig.node.create_publisher(PoseStamped, "goal_pose", best_effort)
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    rig.node.create_subscription(Path, "plan", lambda m: None, latched)
    rig.wait_until(lambda: log.has("cannot be heard", "gets nothing"), "both told", timeout_s=60.0)
    assert log.has("best effort", "late joiners")


def test_pictures_that_cannot_be_read_are_refused_once_and_counted(
    start_node: Any, rig: RobotRig, log: Log
) -> None:
    start_node()
    rig.encoding = "32FC1"
    rig.wait_until(lambda: any("messages were refused" in text for _, _, text in rig.diagnostics), "a count")
    time.sleep(1.0)
    assert log.text.count("'32FC1' cannot be read") == 1
    rig.encoding = "rgb8"
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until_driving()


def test_diagnostics_tell_what_the_model_computes_with_and_why(start_node: Any, rig: RobotRig) -> None:
    told: dict[str, str] = {}

    def listen(message: DiagnosticArray) -> None:
        told.update((pair.key, pair.value) for status in message.status for pair in status.values)

    rig.node.create_subscription(DiagnosticArray, "/diagnostics", listen, 50)
    start_node()
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until(lambda: "no graphs" in told.get("model: last pass", ""), "how the last pass ran")
    assert told["model: kernels"] == "chunk (cpu: batched matrix products; Triton is for CUDA)"
    assert (told["model: device"], told["model: precision"]) == ("cpu", "float32")


def test_a_precision_that_the_device_lacks_fails_configure_with_the_reason(start_node: Any, log: Log) -> None:
    node = start_node(active=False, model__device="cpu", model__precision="fp8")
    assert not node.autostart()
    assert log.has("cannot be configured: precision fp8 is not possible: cpu has no FP8 units; use auto")


def test_configure_and_cleanup_can_be_repeated(start_node: Any, rig: RobotRig) -> None:
    node = start_node()
    for _ in range(2):
        node.trigger_deactivate()
        node.trigger_cleanup()
        assert node.autostart()
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until_driving()


def test_a_destroyed_node_leaves_nothing_in_the_graph(ros: Any, rig: RobotRig) -> None:
    node = PlannerNode(context=ros)
    topic = f"/{node.get_name()}/transition_event"

    def stands() -> bool:
        return topic in {name for name, _ in rig.node.get_topic_names_and_types()}

    rig.wait_until(stands, "the node stands in the graph")
    node.destroy_node()  # though it is still referred to here
    rig.wait_until(lambda: not stands(), "the node has left the graph", 5.0)


def test_a_critic_that_needs_what_the_model_lacks_is_refused_at_configure(
    start_node: Any, model_folder: Any, log: Log
) -> None:
    def without_place(settings: Any) -> Any:
        from sana_wm_ros.world_model.checkpoint import load_model

        model = load_model(model_folder)
        model.spec = dataclasses.replace(model.spec, foretells=model.spec.foretells - {"place"})
        return model

    off = {"critics__goal_image__weight": 0.0, "critics__novelty__weight": 0.0}
    assert not start_node(load_model=without_place, active=False).autostart()
    said = "cannot be configured: critic 'goal_image' needs a world model that foretells place; this one foretells"
    assert log.has(said, "set critics.goal_image.weight to 0")
    assert start_node(load_model=without_place, active=False, **off).autostart()


def test_a_candidate_is_explained_when_somebody_asks_for_it(start_node: Any, rig: RobotRig) -> None:
    """Its shares are named on ~/critics, its marker is thick; a number below -1 is refused."""
    critics: list[DiagnosticArray] = []
    rollouts: list[MarkerArray] = []
    rig.node.create_subscription(DiagnosticArray, f"{NAME}/critics", critics.append, 5)
    rig.node.create_subscription(MarkerArray, f"{NAME}/rollouts", rollouts.append, 5)
    start_node(visual__rollouts=1)
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until(lambda: bool(critics) and bool(rollouts), "a plan")
    integer = {"type": ParameterType.PARAMETER_INTEGER}
    asked = {
        row: set_parameter(rig, "explain.candidate", integer_value=row, **integer).successful
        for row in (-2, 3)
    }
    assert asked == {-2: False, 3: True}

    def explained() -> bool:
        values = {pair.key: pair.value for pair in critics[-1].status[0].values}
        of_3 = [value for key, value in values.items() if key.startswith("candidate 3 ")]
        thick = {m.id for m in rollouts[-1].markers if m.ns == "imagined" and m.scale.x > 0.04}
        return of_3 == [values.get("share of the explained")] and 3 in thick and len(thick) <= 2

    rig.wait_until(explained, "candidate 3 on ~/critics and in ~/rollouts")


def test_an_explanation_that_fails_is_told_and_planning_goes_on(
    start_node: Any, rig: RobotRig, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sana_wm_ros.planning.cycle import Cycle

    def broken(self: Cycle, row: int) -> Any:
        raise MemoryError("no room for a minute")

    monkeypatch.setattr(Cycle, "whole", broken)
    plans: list[MarkerArray] = []
    rig.node.create_subscription(MarkerArray, f"{NAME}/rollouts", plans.append, 5)
    start_node(planner__candidates=8, planner__horizon_s=32.0, explain__candidate=3)
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until(lambda: log.has("candidate 3 cannot be imagined to its end"), "a word about it")
    before = len(plans)
    rig.wait_until(lambda: len(plans) > before + 2, "plans after it")
