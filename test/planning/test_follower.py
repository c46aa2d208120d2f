"""The follower stays on its plan in closed loop, within limits, and stands still when anything is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.follower import Follower
from sana_wm_ros.planning.goal_tracker import GoalTracker
from sana_wm_ros.planning.proposals import ProposalSettings, propose
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.tracking import reference
from sana_wm_ros.planning.types import Goal, Plan, Robot, RobotState


def drive(follower, plan, start, seconds, scan=None, slip=1.0, push=None):
    """A robot that does what it is told (times ``slip``), 20 times a second: errors, commands, last state."""
    follower.set_plan(plan)
    pose, twist, errors, commands = np.array(start.pose_3), np.array(start.twist_3), [], []
    for k in range(int(seconds * 20)):
        now = plan.start.time_s + 0.05 * k
        command = follower.command(RobotState(time_s=now, pose_3=pose, twist_3=twist), scan)
        commands.append(command)
        twist = command.twist_3 * slip
        pose = se2.compose(pose, se2.exp(twist, 0.05))
        if push is not None and k == 40:
            pose = pose + push
        errors.append(np.hypot(*(reference(plan, 0.05 * (k + 1)) - pose)[:2]))
    return np.array(errors), commands, RobotState(time_s=now + 0.05, pose_3=pose, twist_3=twist)


def arc(kit, **options):
    return kit.plan_from([[0.4, 0.0, 0.3]] * 24, kit.state(v=0.4, w=0.3), **options)


@pytest.mark.parametrize("robot", [Robot(), Robot(drive="ackermann"), Robot(drive="omnidirectional")])
def test_an_arc_is_followed_within_five_centimetres(kit, robot):
    plan = arc(kit)
    errors, commands, _ = drive(Follower(robot), plan, plan.start, 12)
    assert errors.max() < 0.05
    assert {command.state for command in commands} == {"following"}


def test_with_wheels_that_slip_by_a_twentieth(kit):
    plan = arc(kit)
    errors, _, _ = drive(Follower(Robot()), plan, plan.start, 12, slip=0.95)
    assert errors.max() < 0.05


def test_after_a_push_it_returns(kit):
    plan = arc(kit)
    errors, _, _ = drive(Follower(Robot()), plan, plan.start, 12, push=np.array([0.1, -0.1, 0.2]))
    assert errors.max() > 0.1 and errors[-20:].max() < 0.02


def test_from_rest_to_the_goal_and_still_there(kit):
    goal = Goal(x_m=2.0, y_m=1.0, yaw_rad=1.0)
    candidates = propose(
        Robot(), kit.state(), goal, ProposalSettings(count=2, frames=40), np.random.default_rng(0)
    )
    plan = kit.plan_from(candidates.twists_NF3[1], kit.state())
    errors, commands, end = drive(Follower(Robot()), plan, plan.start, 20.5)
    assert errors.max() < 0.08  # the first step of the plan asks for speed at once
    assert errors[-1] < 0.02
    assert np.hypot(*(end.pose_3[:2] - [2, 1])) < 0.15 and abs(end.pose_3[2] - 1.0) < 0.1
    assert commands[-1].state == "finished" and not commands[-1].twist_3.any()
    assert GoalTracker(goal, 0.0).update(end) == "reached"


@given(
    st.floats(-10, 10),
    st.floats(-10, 10),
    st.floats(-4, 4),
    st.floats(-2, 2),
    st.floats(-3, 3),
    st.floats(0, 13),
)
@settings(max_examples=100, deadline=None)
def test_every_command_is_finite_and_within_the_limits(kit, x, y, yaw, v, w, now):
    follower = Follower(Robot())
    follower.set_plan(arc(kit))
    for step in range(3):
        twist = follower.command(kit.state(x, y, yaw, v, w, time_s=now + 0.05 * step)).twist_3
        assert np.isfinite(twist).all()
        assert -0.2 <= twist[0] <= 0.6 and twist[1] == 0 and abs(twist[2]) <= 1.2


def test_commands_keep_the_acceleration_limits(kit):
    plan = kit.plan_from([[0.6, 0, 1.2], [0.1, 0, -0.3]] * 6, kit.state())
    _, commands, _ = drive(Follower(Robot()), plan, plan.start, 6)
    twists = np.array([command.twist_3 for command in commands if command.state == "following"])
    change = np.abs(np.diff(twists, axis=0)) / 0.05
    assert change[:, 0].max() < 1.0 + 1e-6 and change[:, 2].max() < 3.0 + 1e-6


def stands(command, state, words):
    assert command.state == state and words in command.reason
    assert np.array_equal(command.twist_3, np.zeros(3))


def test_without_a_plan_it_stands(kit):
    follower = Follower(Robot())
    stands(follower.command(kit.state()), "no plan", "no plan")
    follower.set_plan(arc(kit))
    assert follower.command(kit.state(v=0.4)).twist_3.any()
    follower.set_plan(None)
    stands(follower.command(kit.state(v=0.4)), "no plan", "no plan")


def test_an_old_plan_is_not_followed(kit):
    follower = Follower(Robot())
    plan = arc(kit, valid_s=3.0)
    follower.set_plan(plan)
    there = plan.poses_F3[5]
    assert follower.command(kit.state(*there, v=0.4, w=0.3, time_s=2.9)).state == "following"
    stands(follower.command(kit.state(*there, v=0.4, w=0.3, time_s=3.2)), "expired", "0.20 s ago")


def test_a_plan_is_over_at_its_end(kit):
    follower = Follower(Robot())
    follower.set_plan(arc(kit))
    stands(follower.command(kit.state(time_s=12.0)), "finished", "to its end")


def test_far_from_its_plan_it_stands(kit):
    follower = Follower(Robot())
    follower.set_plan(arc(kit))
    stands(follower.command(kit.state(x=0.0, y=0.9)), "lost", "0.90 m from where its plan wants it")


@pytest.mark.parametrize("bad", [dict(x=np.nan), dict(v=np.inf), dict(time_s=np.nan)])
def test_odometry_that_is_not_finite_makes_it_stand(kit, bad):
    follower = Follower(Robot())
    follower.set_plan(arc(kit))
    stands(follower.command(kit.state(**bad)), "bad input", "not finite")


def test_a_plan_that_is_not_finite_makes_it_stand(kit):
    follower, plan = Follower(Robot()), arc(kit)
    twists = plan.twists_F3.copy()
    twists[0, 2] = np.nan
    follower.set_plan(Plan(**{**vars(plan), "twists_F3": twists}))
    stands(follower.command(kit.state(time_s=0.1)), "lost", "nan")


def test_before_what_the_scan_sees_it_slows_and_stops_without_touching(kit):
    plan = kit.plan_from([[0.5, 0.0, 0.0]] * 12, kit.state(v=0.5))
    scan = Scan(points_M2=np.array([[1.0, 0.05]]))
    _, commands, end = drive(Follower(Robot()), plan, plan.start, 5.0, scan=scan)
    states = [command.state for command in commands]
    assert states[0] == "following" and "slowed" in states
    assert "before something that the scan sees" in commands[states.index("slowed")].reason
    assert 0.2 <= np.hypot(*(end.pose_3[:2] - scan.points_M2[0])) < 0.4
    assert abs(end.twist_3[0]) < 0.05


def test_a_wall_beside_the_way_does_not_slow_it(kit):
    plan = kit.plan_from([[0.5, 0.0, 0.0]] * 12, kit.state(v=0.5))
    wall = Scan(points_M2=np.stack([np.linspace(-1, 4, 50), np.full(50, 0.3)], axis=-1))
    _, commands, _ = drive(Follower(Robot()), plan, plan.start, 5.0, scan=wall)
    assert {command.state for command in commands} == {"following"}


def test_goals_are_reached_or_time_out_and_the_two_are_told_apart(kit):
    goal = Goal(x_m=1.0, y_m=0.0, yaw_rad=3.1, tolerance_m=0.3)
    tracker = GoalTracker(goal, 10.0, timeout_s=60.0)
    assert tracker.update(kit.state(x=0.8, yaw=0.0, time_s=20)) == "active"  # turned away
    assert tracker.update(kit.state(x=0.8, yaw=-3.1, v=0.4, time_s=30)) == "active"  # driving through
    assert tracker.update(kit.state(x=0.8, yaw=-3.1, time_s=40)) == "reached"  # -3.1 is 0.08 rad from 3.1
    assert tracker.update(kit.state(x=9.0, time_s=400)) == "reached"
    late = GoalTracker(goal, 10.0, timeout_s=60.0)
    assert late.update(kit.state(time_s=70)) == "active"
    assert late.update(kit.state(time_s=70.1)) == "timed out"
    assert late.update(kit.state(x=1.0, yaw=3.1, time_s=71)) == "timed out"
