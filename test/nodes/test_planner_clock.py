"""Under ``use_sim_time`` the clock is a message: it may run fast, jump back, or stop, and the robot must be safe."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from robot_rig import RobotRig
from ros_fixtures import Log


@pytest.fixture
def sim_rig(make_rig: Any) -> RobotRig:
    """A rig whose stamps come from a /clock that it publishes, 100 s after the epoch at first."""
    rig: RobotRig = make_rig(sim_start_s=100.0)
    return rig


def test_driving_works_by_the_clock_topic_alone(start_node: Any, sim_rig: RobotRig) -> None:
    start_node(use_sim_time=True)
    sim_rig.send_goal_when_heard(50.0, 0.0)
    sim_rig.wait_until_driving()


def test_a_clock_that_stops_stops_the_robot_within_half_a_second_of_wall_time(
    start_node: Any, sim_rig: RobotRig
) -> None:
    start_node(use_sim_time=True)
    sim_rig.send_goal_when_heard(50.0, 0.0)
    sim_rig.wait_until_driving()
    begin_s = time.monotonic()
    sim_rig.clock_runs = False
    sim_rig.assert_stops_within(begin_s)
    sim_rig.wait_until(lambda: sim_rig.stopped_for("/clock stands still"), "the reason")
    sim_rig.clock_runs = True
    sim_rig.wait_until_driving()


def test_a_clock_that_never_came_is_told(start_node: Any, rig: RobotRig) -> None:
    start_node(use_sim_time=True)
    rig.wait_until(lambda: rig.stopped_for("/clock never came"), "the reason")
    assert not np.any([c for _, c in rig.commands])


def test_a_jump_back_in_time_starts_the_context_anew_and_driving_goes_on(
    start_node: Any, sim_rig: RobotRig, log: Log
) -> None:
    start_node(use_sim_time=True)
    sim_rig.send_goal_when_heard(50.0, 0.0)
    sim_rig.wait_until_driving()
    time.sleep(1.0)
    sim_rig.jump_to(100.0)
    time.sleep(0.3)
    sim_rig.wait_until_driving()
    said = log.text
    assert "jumped back" in said
    assert "context starts anew" in said


def test_a_recording_without_sim_time_is_told_that_its_stamps_are_old(
    start_node: Any, sim_rig: RobotRig
) -> None:
    start_node()
    sim_rig.send_goal_when_heard(50.0, 0.0)
    sim_rig.wait_until(lambda: sim_rig.stopped_for("camera message is"), "old pictures")
    assert not np.any([c for _, c in sim_rig.commands])
