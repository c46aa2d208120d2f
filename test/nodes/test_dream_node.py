"""The dreamed robot over DDS: it says what a robot says, obeys, and stops at contact and when nobody commands it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from rclpy.parameter import Parameter
from robot_driver import Driver, driven

from sana_wm_ros.geometry.camera import base_to_optical
from sana_wm_ros.nodes.conversions import seconds
from sana_wm_ros.nodes.dream_node import DreamNode
from sana_wm_ros.nodes.robot_topics import planner_camera
from sana_wm_ros.planning.types import Robot

pytestmark = pytest.mark.timeout(600)
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "hall.png"
    pixels = np.random.default_rng(0).integers(0, 255, (60, 100, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture(scope="session")
def walled_model(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, but sure of contact wherever it looks."""
    from sana_wm_ros.world_model.checkpoint import open_model, save_model

    model: Any = open_model(model_folder)
    with torch.no_grad():
        model.heads.out.bias[0] = 5.0
    folder = tmp_path_factory.mktemp("models") / "walled"
    save_model(folder, model, card="Random weights: walls everywhere.")
    return folder


@pytest.fixture
def dream(ros: Any, model_folder: Path, picture: Path) -> Iterator[Callable[..., Driver]]:
    """Run the node with parameters, in a thread; returns a driver once it publishes."""
    with contextlib.ExitStack() as stack:

        def start(**parameters: Any) -> Driver:
            values = {"model__path": str(model_folder), "model__threads": 1, **parameters}
            if "bag" not in values:
                values["picture"] = str(picture)
            overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
            node = DreamNode(context=ros, parameter_overrides=overrides)
            kind = TwistStamped if parameters.get("stamped", True) else Twist
            return stack.enter_context(driven(node, ros, kind))

        yield start


def test_it_says_what_a_robot_says(dream: Callable[..., Driver]) -> None:
    driver = dream(clock=True)
    driver.wait(40)
    heard = driver.heard
    image, info, odom, scan = (heard[name][-1] for name in ("image", "camera_info", "odom", "scan"))
    assert (image.width, image.height, image.encoding) == (48, 32, "rgb8")
    assert (info.width, info.height) == (48, 32)
    assert image.header.frame_id == info.header.frame_id == "camera_optical_frame"
    assert (odom.header.frame_id, odom.child_frame_id) == ("odom", "base_link")
    assert len(scan.ranges) == 24 and scan.header.frame_id == "base_link"
    # By its own clock, all from the same moments: 8 pictures a second, odometry five times as often.
    pictures = np.array([seconds(message.header.stamp) for message in heard["image"]])
    np.testing.assert_allclose(np.diff(pictures), 0.125, atol=1e-6)
    stamps = np.array([seconds(message.header.stamp) for message in heard["odom"]])
    np.testing.assert_allclose(np.diff(stamps), 0.025, atol=1e-6)
    assert {round(stamp, 4) for stamp in pictures[1:]} <= {round(stamp, 4) for stamp in stamps}


def test_its_topics_types_qos_and_frames_are_the_simulated_robot_s(
    dream: Callable[..., Driver], ros: Any
) -> None:
    """Whoever drives the one can drive the other: asked of DDS and of the messages, not of the code."""
    pytest.importorskip("mujoco", reason="the simulator is the extra 'sim'")
    from sana_wm_ros.nodes.simulator_node import SimulatorNode
    from sana_wm_ros.simulation.gl import NoPictures, open_gl_context

    try:
        open_gl_context(48, 32)
    except NoPictures as error:
        pytest.skip(str(error))
    sizes = [Parameter("width", value=48), Parameter("height", value=32), Parameter("coding", value="both")]
    dreamed = dream(coding="both")
    simulator = SimulatorNode(context=ros, parameter_overrides=sizes, namespace="other")
    with driven(simulator, ros, namespace="other") as simulated:
        for driver in (dreamed, simulated):
            driver.wait(20)
        names = ("image", "image/compressed", "camera_info", "odom", "scan", "contact", "cmd_vel")
        for name in names:
            here, there = (
                _offers(driver.node, f"{space}/{name}") for driver, space in _both(dreamed, simulated)
            )
            assert here == there, name
        for name in ("image", "camera_info", "odom", "scan"):
            frames = [driver.heard[name][-1].header.frame_id for driver in (dreamed, simulated)]
            assert frames[0] == frames[1] != "", name


def _both(dreamed: Driver, simulated: Driver) -> list[tuple[Driver, str]]:
    return [(dreamed, ""), (simulated, "/other")]


def _offers(node: Any, topic: str) -> Any:
    """Type, reliability and durability of what a robot publishes or hears under a name."""
    ends = [end for end in node.get_publishers_info_by_topic(topic) if end.node_name != "driver"]
    ends += [end for end in node.get_subscriptions_info_by_topic(topic) if end.node_name != "driver"]
    assert len(ends) == 1, (topic, ends)
    qos = ends[0].qos_profile
    return ends[0].topic_type, ends[0].endpoint_type, qos.reliability, qos.durability


def test_it_obeys_within_the_robot_s_limits_and_stops_when_commands_cease(
    dream: Callable[..., Driver],
) -> None:
    driver = dream(cmd_timeout_s=0.3)
    driver.until(lambda: driver.twist_3[0] > 0.55, command=(50.0, 0.0))
    driver.wait(20, command=(50.0, 0.0))
    fastest = max(message.twist.twist.linear.x for message in driver.heard["odom"])
    assert fastest <= Robot().max_speed_mps + 1e-6
    assert driver.pose_3[0] > 0.3
    driver.until(lambda: abs(driver.twist_3[0]) < 0.02)  # nobody says stop: silence does
    stood = driver.pose_3
    driver.wait(30)
    np.testing.assert_allclose(driver.pose_3, stood, atol=0.02)


def test_plain_twists_are_heard_where_asked_for(dream: Callable[..., Driver]) -> None:
    driver = dream(stamped=False)
    driver.until(lambda: driver.twist_3[2] < -0.3, command=(0.0, -0.5))


def test_a_command_that_is_not_finite_stops_it(dream: Callable[..., Driver]) -> None:
    driver = dream()
    driver.until(lambda: driver.twist_3[2] > 0.3, command=(0.0, 0.5))
    driver.until(lambda: abs(driver.twist_3[2]) < 0.02, command=(0.0, math.nan))
    driver.until(lambda: float(_facts(driver).get("commands that were not finite", "0")) > 0)


def test_contact_stops_it_and_is_told(dream: Callable[..., Driver], walled_model: Path) -> None:
    driver = dream(model__path=str(walled_model))
    driver.until(lambda: any(m.data for m in driver.heard["contact"]), command=(0.4, 0.5))
    driver.wait(40, command=(0.4, 0.5))
    assert np.hypot(*driver.pose_3[:2]) < 0.01, "a wall stops the way"
    assert abs(driver.twist_3[0]) < 0.01
    assert abs(driver.pose_3[2]) > 0.1, "and leaves the turn"


def test_it_backs_away_from_what_it_touched(dream: Callable[..., Driver], walled_model: Path) -> None:
    driver = dream(model__path=str(walled_model))
    driver.until(lambda: any(m.data for m in driver.heard["contact"]), command=(0.4, 0.0))
    driver.until(lambda: driver.pose_3[0] < -0.03, command=(-0.2, 0.0))


def test_diagnostics_tell_latency_and_how_well_it_keeps_up(dream: Callable[..., Driver]) -> None:
    driver = dream(rate=0.5)  # half of real time: any machine keeps up with the tiny model
    driver.until(lambda: float(_facts(driver).get("dreamed (s)", "0")) > 3.0)
    facts = _facts(driver)
    assert float(facts["real-time factor"]) == pytest.approx(0.5, abs=0.1)
    assert float(facts["pictures (1/s)"]) == pytest.approx(4.0, abs=0.8)
    assert 0.0 < float(facts["imagining half a second (s)"]) < 1.0
    assert 0.25 < float(facts["command to first picture, mean (s)"]) < 5.0


def test_a_machine_that_is_too_slow_says_so(dream: Callable[..., Driver]) -> None:
    driver = dream(rate=20.0, steps=64)

    def warned() -> bool:
        return any("too slow" in status.message for status in _statuses(driver))

    driver.until(warned)


def _statuses(driver: Driver) -> list[Any]:
    return [status for message in driver.heard["/diagnostics"] for status in message.status]


def _facts(driver: Driver) -> dict[str, str]:
    found = [status for status in _statuses(driver) if status.name == "sana_wm_dream: dream"]
    return {pair.key: pair.value for pair in found[-1].values} if found else {}


def test_it_goes_on_from_where_a_recording_s_beginning_ends(dream: Callable[..., Driver]) -> None:
    from sana_wm_ros.evaluation.drive import read_drive
    from sana_wm_ros.geometry import se3
    from sana_wm_ros.resources import share_path
    from sana_wm_ros.world_model.checkpoint import open_model

    bag = DATA / "small_12s"
    driver = dream(bag=str(bag), context_s=4.0, model__path="nano")
    recorded = read_drive(bag, open_model(share_path("models", "nano")).spec)
    place_44 = recorded.drive.poses_T44[32] @ se3.inverse(recorded.T_base_camera_44)
    np.testing.assert_allclose(driver.pose_3, se3.to_planar(place_44), atol=1e-4)
    assert driver.heard["image"][0].width == 96


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"picture": ""}, "begins with a picture or with a bag: neither is given"),
        ({"bag": "somewhere"}, "both are given"),
        ({"picture": "nowhere.png"}, "no such picture.*nowhere.png"),
        ({"picture": str(DATA / "README.txt")}, "README.txt: not a picture that can be read; JPEG, PNG"),
        ({"picture": "", "bag": "nowhere"}, "nowhere"),
        ({"picture": "", "bag": str(DATA)}, "data"),
        ({"model.path": "giant"}, "model.path = 'giant': there is no such folder"),
        ({"rate": math.nan}, "rate = nan is refused"),
        ({"contact_probability": 2.0}, "contact_probability = 2.0 is refused: expected a number in"),
    ],
)
def test_what_it_cannot_begin_with_is_refused_by_name(
    ros: Any, model_folder: Path, picture: Path, parameters: dict[str, Any], words: str
) -> None:
    values = {"picture": str(picture), "model.path": str(model_folder), "model.threads": 1, **parameters}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    with pytest.raises((ValueError, OSError), match=words):
        DreamNode(context=ros, parameter_overrides=overrides)


def test_the_planner_drives_in_the_dream(
    dream: Callable[..., Driver], start_node: Callable[..., Any]
) -> None:
    """The whole loop over DDS: dreamed pictures to the planner, its commands into the dream."""
    driver = dream(camera__z=0.3)
    place_44 = base_to_optical((0.0, 0.0, 0.3), (0.0, 0.0, 0.0))
    start_node(
        planner__rate_hz=1.0,
        **{name.replace(".", "__"): value for name, value in planner_camera(place_44).items()},
    )
    goal = PoseStamped()
    goal.header.frame_id = "odom"
    goal.pose.position.x, goal.pose.orientation.w = 0.8, 1.0
    publisher = driver.node.create_publisher(PoseStamped, "goal_pose", 1)
    driver.until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(goal)

    def arrived() -> bool:
        return bool(np.hypot(*(driver.pose_3[:2] - (0.8, 0.0))) < 0.33)

    end_s = time.monotonic() + 90.0
    driver.until(lambda: arrived() or time.monotonic() > end_s, timeout_s=100.0)
    factor = float(_facts(driver).get("real-time factor", "0"))
    if not arrived() and factor < 0.8:
        pytest.skip(f"this machine is too busy to drive: the dream ran at {factor:.2f} of real time")
    assert arrived(), driver.pose_3


def test_as_a_process_it_ends_in_good_order(model_folder: Path, picture: Path) -> None:
    words = [f"picture:={picture}", f"model.path:={model_folder}", "model.threads:=1"]
    arguments = [part for word in words for part in ("-p", word)]
    command = [sys.executable, "-m", "sana_wm_ros.nodes.dream_node", "--ros-args", *arguments]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONUNBUFFERED="1")
    )
    assert process.stderr is not None
    try:
        said = ""
        while "dreams on from hall.png" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=150)
    finally:
        process.kill()
    assert process.returncode == 0, said + rest
    assert "Traceback" not in said + rest
