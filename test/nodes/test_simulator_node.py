"""The simulated robot over DDS: it publishes what a robot does, obeys, and stops when nobody commands it."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator is the extra 'sim': pip install 'sana_wm_ros[sim]'")

from geometry_msgs.msg import PoseStamped, Twist, TwistStamped
from rclpy.parameter import Parameter
from robot_driver import Driver, driven

from sana_wm_ros.nodes.conversions import seconds
from sana_wm_ros.nodes.robot_topics import planner_camera
from sana_wm_ros.nodes.simulator_node import SimulatorNode
from sana_wm_ros.simulation.drive import DriveConfig, draw_scene
from sana_wm_ros.simulation.gl import NoPictures, open_gl_context
from sana_wm_ros.simulation.movers import Movers
from sana_wm_ros.simulation.simulator import Simulator

pytestmark = pytest.mark.timeout(
    600
)  # some start a process that imports torch, on a machine that may be busy
SEED = 1_000_003
SIZE = {"width": 48, "height": 32}


@pytest.fixture
def simulate(ros: Any) -> Iterator[Callable[..., Driver]]:
    """Run the node with parameters, in a thread; returns a driver once it publishes."""
    try:
        open_gl_context(SIZE["width"], SIZE["height"])
    except NoPictures as error:
        pytest.skip(str(error))
    with contextlib.ExitStack() as stack:

        def start(**parameters: Any) -> Driver:
            values = {"seed": SEED, "drift": False, **SIZE, **parameters}
            overrides = [Parameter(name, value=value) for name, value in values.items()]
            node = SimulatorNode(context=ros, parameter_overrides=overrides)
            kind = TwistStamped if parameters.get("stamped", True) else Twist
            return stack.enter_context(driven(node, ros, kind))

        yield start


def test_it_says_what_a_robot_says(simulate: Callable[..., Driver]) -> None:
    driver = simulate(clock=True)
    driver.wait(40)
    heard = driver.heard
    image, info, odom, scan = (heard[name][-1] for name in ("image", "camera_info", "odom", "scan"))
    assert (image.width, image.height, image.encoding) == (48, 32, "rgb8")
    assert (info.width, info.height) == (48, 32)
    assert image.header.frame_id == info.header.frame_id == "camera_optical_frame"
    assert (odom.header.frame_id, odom.child_frame_id) == ("odom", "base_link")
    assert len(scan.ranges) == 72 and min(scan.ranges) > 0.2
    camera = draw_scene(SEED, DriveConfig(lens=True, **SIZE)).camera
    assert info.k[0] == pytest.approx(float(camera.intrinsics_4[0]), rel=1e-6)
    assert list(info.d)[:2] == pytest.approx(list(camera.distortion))
    # By its own clock: odometry every 50 ms, pictures every 100 ms, stamps those of /clock.
    stamps = np.array([seconds(message.header.stamp) for message in heard["odom"]])
    np.testing.assert_allclose(np.diff(stamps), 0.05, atol=1e-6)
    pictures = np.array([seconds(message.header.stamp) for message in heard["image"]])
    np.testing.assert_allclose(np.diff(pictures), 0.1, atol=1e-6)
    clocks = {round(seconds(message.clock), 3) for message in heard["/clock"]}
    assert len(clocks & {round(stamp, 3) for stamp in stamps}) > 20
    assert stamps[0] >= 1.0


def test_its_scan_and_odometry_are_the_building_s(simulate: Callable[..., Driver]) -> None:
    driver = simulate()
    driver.wait(4)
    config = DriveConfig(lens=True, **SIZE)
    scene = draw_scene(SEED, config)
    np.testing.assert_allclose(driver.pose_3, scene.start_3, atol=1e-6)
    simulator = Simulator(
        scene.plan, robot=config.robot, camera=scene.camera, start_3=scene.start_3, pictures=False
    )
    expected_R = simulator.ranges_R()
    found_R = np.array(driver.heard["scan"][0].ranges)
    near = expected_R < 7.99
    assert np.isinf(found_R[~near]).all()
    assert np.median(np.abs(found_R[near] - expected_R[near])) < 1e-3  # somebody may have walked by


def test_it_tells_where_people_and_carts_really_are(simulate: Callable[..., Driver]) -> None:
    seed = next(s for s in range(SEED, SEED + 50) if draw_scene(s, DriveConfig()).plan.movers)
    driver = simulate(seed=seed)
    plan = draw_scene(seed, DriveConfig(lens=True, **SIZE)).plan
    places = driver.heard["sana_wm_simulator/movers"]
    driver.until(lambda: len(places) > 1)
    assert len(places[0].poses) == len(plan.movers)
    begin_M2 = Movers(plan.movers).places(Movers(plan.movers).begin())
    found_M2 = np.array([(pose.position.x, pose.position.y) for pose in places[0].poses])
    assert np.abs(found_M2 - begin_M2).max() < 3.0  # a few seconds may have passed
    assert places[0].header.frame_id == "map"


def test_it_obeys_and_stops_when_commands_cease(simulate: Callable[..., Driver]) -> None:
    driver = simulate(cmd_timeout_s=0.3)
    driver.wait(20, command=(0.0, 0.8))
    assert driver.twist_3[2] == pytest.approx(0.8, abs=0.1)
    driver.until(lambda: abs(driver.twist_3[2]) < 0.02)  # nobody says stop: silence does
    turned = driver.pose_3[2]
    driver.wait(10)
    assert abs(math.remainder(driver.pose_3[2] - turned, 2 * math.pi)) < 0.01


def test_plain_twists_are_heard_where_asked_for(simulate: Callable[..., Driver]) -> None:
    driver = simulate(stamped=False)
    driver.until(lambda: driver.twist_3[2] < -0.3, command=(0.0, -0.5))


def test_contact_stops_it_and_is_told(simulate: Callable[..., Driver]) -> None:
    driver = simulate(rate=4.0)
    driver.until(lambda: any(message.data for message in driver.heard["contact"]), command=(0.5, 0.0))
    driver.wait(40, command=(0.5, 0.0))
    assert abs(driver.twist_3[0]) < 0.3  # it may scrape along the wall
    assert min(driver.heard["scan"][-1].ranges) == pytest.approx(0.2, abs=0.03)


def test_a_command_that_is_not_finite_stops_it(simulate: Callable[..., Driver]) -> None:
    driver = simulate()
    driver.until(lambda: driver.twist_3[2] > 0.3, command=(0.0, 0.5))
    driver.until(lambda: abs(driver.twist_3[2]) < 0.02, command=(0.0, math.nan))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"family": "castle"}, "family = 'castle' is refused: expected one of lab, varied"),
        ({"cmd_timeout_s": -1.0}, "cmd_timeout_s = -1.0 is refused: expected a number in"),
        ({"rate": float("nan")}, "rate = nan is refused"),
    ],
)
def test_bad_parameters_are_refused_by_name(ros: Any, parameters: dict[str, Any], words: str) -> None:
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    with pytest.raises(ValueError, match=words):
        SimulatorNode(context=ros, parameter_overrides=overrides)


def test_the_planner_drives_it_to_a_goal(
    simulate: Callable[..., Driver], start_node: Callable[..., Any]
) -> None:
    """The whole loop over DDS: pictures and odometry to the planner, commands to the wheels."""
    driver = simulate(lens=False)
    scene = draw_scene(SEED, DriveConfig(lens=False, **SIZE))
    place = {
        name.replace(".", "__"): value
        for name, value in planner_camera(scene.camera.T_base_camera_44).items()
    }
    start_node(**place)
    ahead = scene.start_3[:2] + 0.8 * np.array([math.cos(scene.start_3[2]), math.sin(scene.start_3[2])])
    goal = PoseStamped()
    goal.header.frame_id = "odom"
    goal.pose.position.x, goal.pose.position.y = (float(value) for value in ahead)
    goal.pose.orientation.w = 1.0
    publisher = driver.node.create_publisher(PoseStamped, "goal_pose", 1)
    driver.until(lambda: publisher.get_subscription_count() > 0)
    publisher.publish(goal)
    driver.until(lambda: bool(np.hypot(*(driver.pose_3[:2] - ahead)) < 0.33), timeout_s=90.0)
    assert not any(message.data for message in driver.heard["contact"])


def test_as_a_process_it_ends_in_good_order() -> None:
    words = [f"{name}:={value}" for name, value in {"seed": SEED, **SIZE}.items()]
    arguments = [part for word in words for part in ("-p", word)]
    command = [sys.executable, "-m", "sana_wm_ros.nodes.simulator_node", "--ros-args", *arguments]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=dict(os.environ, PYTHONUNBUFFERED="1")
    )
    assert process.stderr is not None
    try:
        said = ""
        while f"building {SEED}" not in said:
            line = process.stderr.readline()
            assert line, said
            if "cannot draw" in line:
                pytest.skip(line)
            said += line
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=150)
    finally:
        process.kill()
    assert process.returncode == 0, said + rest
    assert "Traceback" not in said + rest


def test_as_a_process_it_says_what_is_wrong_with_a_parameter() -> None:
    command = [sys.executable, "-m", "sana_wm_ros.nodes.simulator_node", "--ros-args", "-p", "family:=castle"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "expected one of lab, varied" in done.stderr and "Traceback" not in done.stderr
