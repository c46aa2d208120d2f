"""Whatever is asked for, what comes out can be driven."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning import motion_models as mm
from sana_wm_ros.planning.types import Robot

drives = st.sampled_from(["differential", "ackermann", "omnidirectional"])
robots = st.builds(
    Robot,
    drive=drives,
    max_speed_mps=st.floats(0.1, 3),
    max_reverse_mps=st.floats(0, 0.5),
    max_yaw_rate_radps=st.floats(0.2, 3),
    max_acceleration_mps2=st.floats(0.05, 4),
    max_yaw_acceleration_radps2=st.floats(0.05, 6),
    max_steering_rad=st.floats(0.1, 0.7),
)
twist = arrays(np.float64, (3,), elements=st.floats(-5, 5))


@given(robots, twist, arrays(np.float64, (2, 6, 3), elements=st.floats(-5, 5)))
@settings(max_examples=150, deadline=None)
def test_no_wish_and_no_start_breaks_a_limit(robot, start, wanted):
    twists, poses = mm.roll_out(
        robot, np.zeros(3), start, lambda k, p, t: wanted[:, k].T, size=2, frames=6, period_s=0.5
    )
    for n in range(2):
        assert mm.violation(robot, twists[n], start, 0.5) is None
    assert np.allclose(poses, se2.integrate(np.zeros((2, 3)), twists, 0.5), atol=1e-9)


@given(robots, twist, arrays(np.float64, (2, 6, 3), elements=st.floats(-5, 5)))
@settings(max_examples=100, deadline=None)
def test_a_roll_out_equals_steps_towards_what_is_wanted(robot, start, wanted):
    twists, _ = mm.roll_out(
        robot, np.zeros(3), start, lambda k, p, t: wanted[:, k].T, size=2, frames=6, period_s=0.5
    )
    before = np.tile(start, (2, 1))
    for k in range(6):
        before = mm.step_towards(robot, wanted[:, k], before, 0.5)
        assert np.allclose(twists[:, k], before, atol=1e-12)


@given(robots, arrays(np.float64, (3,), elements=st.floats(-0.2, 0.2)))
def test_a_twist_within_all_limits_and_in_reach_is_not_changed(robot, small):
    robot = replace(robot, max_acceleration_mps2=4.0, max_yaw_acceleration_radps2=4.0)
    wanted = mm.feasible(robot, small)
    assert np.allclose(mm.step_towards(robot, wanted, np.zeros(3), 0.5), wanted)


def test_a_car_never_turns_in_place():
    robot = Robot(drive="ackermann")
    twists, poses = mm.roll_out(
        robot,
        np.zeros(3),
        np.zeros(3),
        lambda k, p, t: np.array([[0.0], [0.0], [1.0]]),
        size=1,
        frames=10,
        period_s=0.5,
    )
    assert not twists.any() and not poses.any()


def test_a_car_turns_as_tightly_as_its_steering_by_hand():
    # tan(0.45) / 0.26 = 1.858 1/m, so 0.5 m/s turns with at most 0.929 rad/s.
    car = Robot(drive="ackermann")
    assert mm.feasible(car, np.array([0.5, 0.3, 9.0])) == pytest.approx([0.5, 0.0, 0.929], abs=1e-3)


def test_speeding_up_by_hand():
    # 1 m/s^2 for half a second: 0.5 m/s; then the limit of 0.6. 3 rad/s^2 reach 1.2 rad/s at once.
    twists, _ = mm.roll_out(
        Robot(),
        np.zeros(3),
        np.zeros(3),
        lambda k, p, t: np.full((3, 1), 9.0),
        size=1,
        frames=2,
        period_s=0.5,
    )
    assert twists[0] == pytest.approx(np.array([[0.5, 0, 1.2], [0.6, 0, 1.2]]))


def test_knots_are_joined_by_lines_and_held_outside():
    commands = mm.from_knots(
        np.array([1.0, 2.0]), np.array([[0, 0, 0], [1, 0, -1.0]]), np.array([0.5, 1.25, 3.0])
    )
    assert commands == pytest.approx(np.array([[0, 0, 0], [0.25, 0, -0.25], [1, 0, -1]]))


@pytest.mark.parametrize(
    "bad",
    [dict(max_speed_mps=0.0), dict(max_reverse_mps=-0.1), dict(radius_m=np.nan), dict(max_steering_rad=1.6)],
)
def test_a_robot_that_cannot_be_is_refused_by_name(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Robot(**bad)


def test_an_unknown_drive_lists_the_known_ones():
    with pytest.raises(ValueError, match="'tracked' is not known; choose one of differential, ackermann"):
        Robot(drive="tracked")


@pytest.mark.parametrize(
    ("twists", "words"),
    [
        ([[0.4, 0, 0], [0.7, 0, 0]], "forward velocity 0.700 at 0.5 s"),
        ([[0.4, 0.1, 0]], "sideways velocity"),
        ([[0.0, 0, 1.3]], "yaw rate 1.300"),
        ([[-0.3, 0, 0]], "forward velocity -0.300"),
        ([[0.4, 0, 0], [-0.2, 0, 0]], "acceleration 1.200 at 0.5 s"),
        ([[0, 0, 1.0], [0, 0, -1.0]], "yaw acceleration 4.000 at 0.5 s"),
    ],
)
def test_the_first_broken_limit_is_named(twists, words):
    assert words in mm.violation(Robot(), np.array(twists), np.zeros(3), 0.5)
