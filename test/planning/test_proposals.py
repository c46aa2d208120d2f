"""Candidates: within limits from any state, as many as asked for, reproducible, and some arrive."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.motion_models import violation
from sana_wm_ros.planning.proposals import ProposalSettings, propose
from sana_wm_ros.planning.types import Goal, Robot, RobotState

drives = st.sampled_from(["differential", "ackermann", "omnidirectional"])
states = st.builds(
    lambda x, y, yaw, v, vy, w: RobotState(
        time_s=50.0, pose_3=np.array([x, y, yaw]), twist_3=np.array([v, vy, w])
    ),
    *[st.floats(-5, 5), st.floats(-5, 5), st.floats(-4, 4)],
    *[st.floats(-0.4, 0.8), st.floats(-0.3, 0.3), st.floats(-1.5, 1.5)],
)
goals = st.none() | st.builds(
    Goal, x_m=st.floats(-8, 8), y_m=st.floats(-8, 8), yaw_rad=st.none() | st.floats(-4, 4)
)
SETTINGS = ProposalSettings(count=10, frames=40)


@given(drives, st.floats(0.3, 3), states, goals, st.integers(0, 2**32), st.sampled_from([0.0, 0.7]))
@settings(max_examples=60, deadline=None)
def test_every_candidate_can_be_driven_from_any_state(drive, acceleration, start, goal, seed, commit_s):
    robot = Robot(drive=drive, max_acceleration_mps2=acceleration)
    candidates = propose(robot, start, goal, SETTINGS, np.random.default_rng(seed), commit_s=commit_s)
    assert len(candidates) == 10
    assert np.isfinite(candidates.poses_NF3).all()
    for twists in candidates.twists_NF3:
        assert violation(robot, twists, start.twist_3, 0.5) is None
    starts = np.repeat(start.pose_3[None], 10, axis=0)
    offset = se2.between(se2.integrate(starts, candidates.twists_NF3, 0.5), candidates.poses_NF3)
    assert np.abs(offset).max() < 1e-6


@given(states, goals, st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_a_car_is_never_asked_to_turn_in_place(start, goal, seed):
    car = Robot(drive="ackermann")
    twists = propose(car, start, goal, SETTINGS, np.random.default_rng(seed)).twists_NF3
    assert (np.abs(twists[..., 2]) <= np.tan(0.45) / 0.26 * np.abs(twists[..., 0]) + 1e-9).all()


def test_the_same_seed_gives_the_same_candidates_and_another_seed_others(kit):
    make = lambda seed: propose(  # noqa: E731
        Robot(), kit.state(), Goal(x_m=3.0, y_m=1.0), SETTINGS, np.random.default_rng(seed)
    )
    assert np.array_equal(make(1).twists_NF3, make(1).twists_NF3)
    assert not np.array_equal(make(1).twists_NF3, make(2).twists_NF3)


@pytest.mark.parametrize("drive", ["differential", "ackermann", "omnidirectional"])
@pytest.mark.parametrize("goal", [Goal(x_m=4.0, y_m=2.0, yaw_rad=1.5), Goal(x_m=-2.0, y_m=0.5)])
def test_ways_to_a_goal_arrive_and_stay_there_for_the_rest_of_the_minute(kit, drive, goal):
    candidates = propose(
        Robot(drive=drive), kit.state(), goal, ProposalSettings(count=12), np.random.default_rng(0)
    )
    assert candidates.poses_NF3.shape == (12, 120, 3)
    to_goal = [i for i, origin in enumerate(candidates.origins) if origin.startswith("goal")]
    end = candidates.poses_NF3[to_goal, -1]
    assert (np.hypot(end[:, 0] - goal.x_m, end[:, 1] - goal.y_m) < goal.tolerance_m).all()
    assert np.abs(candidates.twists_NF3[to_goal, -1]).max() < 0.02
    if goal.yaw_rad is not None and drive != "ackermann":
        assert np.abs(se2.wrap_angle(end[:, 2] - goal.yaw_rad)).max() < 0.1


def test_candidates_spread_to_both_sides_of_the_way(kit):
    candidates = propose(
        Robot(), kit.state(), Goal(x_m=6.0, y_m=0.0), ProposalSettings(count=16), np.random.default_rng(3)
    )
    assert candidates.poses_NF3[..., 1].max() > 1.0
    assert candidates.poses_NF3[..., 1].min() < -1.0


def test_it_says_where_candidates_come_from(kit):
    goal, previous = Goal(x_m=3.0, y_m=0.0), kit.plan_from([[0.3, 0, 0]] * 20, kit.state())
    with_all = propose(Robot(), kit.state(), goal, SETTINGS, np.random.default_rng(0), previous=previous)
    assert with_all.origins[:3] == ("stop", "goal line", "last plan")
    one = propose(Robot(), kit.state(), goal, replace(SETTINGS, count=1), np.random.default_rng(0))
    assert one.origins == ("stop",)


def curved_plan(kit):
    """An S of 20 s that a differential robot can drive."""
    times = np.arange(40) * 0.5
    return kit.plan_from(
        np.stack([0.4 + 0 * times, 0 * times, 0.4 * np.sin(times / 3)], axis=-1), kit.state(v=0.4)
    )


def last_plan_row(kit, start, previous, **options):
    candidates = propose(
        Robot(),
        start,
        Goal(x_m=9.0, y_m=3.0),
        SETTINGS,
        np.random.default_rng(0),
        previous=previous,
        **options,
    )
    return candidates.poses_NF3[candidates.origins.index("last plan")]


def test_the_last_plan_shifted_by_whole_frames_is_itself(kit):
    previous = curved_plan(kit)
    start = RobotState(time_s=1.0, pose_3=previous.poses_F3[1], twist_3=previous.twists_F3[1])
    row = last_plan_row(kit, start, previous)
    assert np.abs(se2.between(row[:38], previous.poses_F3[2:])).max() < 1e-6


def test_the_last_plan_shifted_by_part_of_a_frame_goes_on_along_the_same_way(kit):
    previous = curved_plan(kit)
    begin = se2.compose(previous.poses_F3[1], se2.exp(previous.twists_F3[2], 0.2))
    start = RobotState(time_s=1.2, pose_3=begin, twist_3=previous.twists_F3[2])
    row = last_plan_row(kit, start, previous)
    for k in range(36):
        between = se2.compose(previous.poses_F3[k + 2], se2.exp(previous.twists_F3[k + 3], 0.2))
        assert np.hypot(*(row[k] - between)[:2]) < 0.02


def test_a_robot_that_left_its_plan_is_led_back_to_it(kit):
    previous = curved_plan(kit)
    start = RobotState(
        time_s=1.0, pose_3=previous.poses_F3[1] + [0.0, 0.15, 0.1], twist_3=previous.twists_F3[1]
    )
    row = last_plan_row(kit, start, previous)
    assert np.hypot(*(row[0] - previous.poses_F3[2])[:2]) > 0.1
    assert np.hypot(*(row[25] - previous.poses_F3[27])[:2]) < 0.05


def test_after_the_end_of_the_last_plan_it_goes_on_to_the_goal(kit):
    previous = kit.plan_from([[0.4, 0, 0]] * 4, kit.state(v=0.4))
    start = RobotState(time_s=1.0, pose_3=previous.poses_F3[1], twist_3=previous.twists_F3[1])
    candidates = propose(
        Robot(),
        start,
        Goal(x_m=3.0, y_m=1.0),
        ProposalSettings(count=3),
        np.random.default_rng(0),
        previous=previous,
    )
    assert np.hypot(*(candidates.poses_NF3[2, -1, :2] - [3.0, 1.0])) < 0.2


def test_after_the_end_of_a_last_plan_that_stands_it_stands(kit):
    previous = kit.plan_from([[0.4, 0, 0], [0.2, 0, 0], [0, 0, 0], [0, 0, 0]], kit.state(v=0.4))
    start = RobotState(time_s=1.0, pose_3=previous.poses_F3[1], twist_3=previous.twists_F3[1])
    row = last_plan_row(kit, start, previous)
    assert np.hypot(*(row[-1] - previous.poses_F3[-1])[:2]) < 0.1


def test_a_plan_that_is_over_is_not_carried_on(kit):
    previous = kit.plan_from([[0.4, 0, 0]] * 4, kit.state())
    origins = propose(
        Robot(), kit.state(time_s=2.0), None, SETTINGS, np.random.default_rng(0), previous=previous
    ).origins
    assert "last plan" not in origins


def test_a_plan_that_expired_is_not_carried_on(kit):
    previous = kit.plan_from([[0.4, 0, 0]] * 40, kit.state(), valid_s=3.0)
    ask = lambda now: propose(  # noqa: E731
        Robot(), kit.state(time_s=now), None, SETTINGS, np.random.default_rng(0), previous=previous
    )
    assert "last plan" in ask(2.9).origins
    assert "last plan" not in ask(3.1).origins


def test_while_the_planner_thinks_all_but_stop_do_what_the_robot_does_anyway(kit):
    previous = curved_plan(kit)
    start = RobotState(time_s=1.0, pose_3=previous.poses_F3[1], twist_3=previous.twists_F3[1])
    make = lambda **options: propose(  # noqa: E731
        Robot(), start, Goal(x_m=2, y_m=2), SETTINGS, np.random.default_rng(0), commit_s=0.8, **options
    )
    carrying = make(previous=previous)
    # 0.8 s reach into the second frame, so both belong to the last plan.
    assert np.abs(se2.between(carrying.poses_NF3[1:, :2], previous.poses_F3[2:4])).max() < 1e-6
    assert np.ptp(carrying.poses_NF3[1:, 3, 1]) > 0.01
    assert carrying.twists_NF3[0, 0, 0] < 0.1
    assert np.abs(make().twists_NF3[:, 1]).max() < 1e-9  # nothing to carry on: it brakes and stands


@pytest.mark.parametrize("bad", [dict(count=0), dict(period_s=0.0), dict(speed_share=1.5)])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        ProposalSettings(**bad)
