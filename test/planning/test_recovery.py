"""Stuck: it looks around, backs up where it has been, and after a while says that there is no way out."""

import numpy as np
import pytest

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.motion_models import violation
from sana_wm_ros.planning.recovery import Recovery, RecoverySettings
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import PlanResult, Robot, RobotState

NOTHING = PlanResult(plan=None, reason="nothing is valid")
TRAIL = np.stack([np.linspace(-2.0, 0.0, 21), np.zeros(21), np.zeros(21)], axis=-1)


def at(time_s, x=0.0, yaw=0.0):
    return RobotState(time_s=time_s, pose_3=np.array([x, 0.0, yaw]), twist_3=np.zeros(3))


def drive(recovery, seconds, *, result=NOTHING, scan=None, follow=True, begin=None):
    """Cycles of a second; the robot is where its behaviour wants it. What was said, and where it ended."""
    state, said = begin or at(0.0), []
    for _ in range(seconds):
        plan, reason = recovery.after(result, state, TRAIL, scan)
        said.append(reason if plan is not None or result.plan is None else "own")
        pose = state.pose_3
        if plan is not None and follow:
            frame = min(len(plan.times_F) - 1, round((state.time_s + 1.0 - plan.start.time_s) / 0.5) - 1)
            pose = plan.poses_F3[frame]
        state = RobotState(time_s=state.time_s + 1.0, pose_3=pose, twist_3=np.zeros(3))
    return said, state


def test_it_waits_then_looks_around_then_backs_up_along_its_trail():
    said, state = drive(Recovery(Robot()), 13)
    assert said[:4] == ["nothing is valid"] * 4
    assert said[4] == "recovery: look around"
    said, state = drive(Recovery(Robot()), 25)
    assert "recovery: back up where it has been" in said
    assert state.pose_3[0] < -0.3 and abs(state.pose_3[1]) < 0.15


def test_a_look_around_is_nearly_a_full_turn_and_every_behaviour_keeps_the_limits():
    recovery, robot = Recovery(Robot(), RecoverySettings(stuck_s=0.5)), Robot()
    recovery.after(NOTHING, at(0.0), TRAIL, None)
    plan, _ = recovery.after(NOTHING, at(1.0), TRAIL, None)
    assert 4.0 < np.sum(plan.twists_F3[:, 2]) * 0.5 < 6.3
    back = recovery._back_up(at(0.0), TRAIL)
    for one in (plan, back):
        assert violation(robot, one.twists_F3, np.zeros(3), 0.5) is None
        assert np.allclose(one.poses_F3, se2.integrate(one.start.pose_3, one.twists_F3, 0.5))
    assert back.poses_F3[-1, 0] == pytest.approx(-0.6, abs=0.15)


def test_while_planning_works_and_the_robot_moves_nothing_happens(kit):
    own = PlanResult(plan=kit.plan_from([[0.4, 0, 0]] * 40, kit.state()), reason="ok")
    recovery = Recovery(Robot())
    for k in range(30):
        plan, _ = recovery.after(own, at(float(k), x=0.4 * k), TRAIL, None)
        assert plan is own.plan


def test_a_robot_whose_plans_do_not_move_it_is_stuck_too(kit):
    standing = PlanResult(plan=kit.plan_from([[0, 0, 0]] * 40, kit.state()), reason="ok")
    recovery = Recovery(Robot())
    plans = [recovery.after(standing, at(float(k)), TRAIL, None)[0].origin for k in range(6)]
    assert plans[:4] == ["test"] * 4 and plans[5] == "recovery: look around"


def test_there_is_a_limit_and_then_a_clear_failure():
    recovery = Recovery(Robot(), RecoverySettings(attempts=3))
    said, _ = drive(recovery, 60, follow=False)
    assert recovery.gave_up and said[-1].startswith("no way out: stuck after 3 attempts")
    assert said.index(said[-1]) < 45


def test_once_free_it_may_try_as_often_again():
    recovery = Recovery(Robot(), RecoverySettings(attempts=2))
    _, state = drive(recovery, 40, follow=False)
    assert recovery.gave_up
    free = RobotState(time_s=state.time_s + 1, pose_3=state.pose_3 + [2.0, 0, 0], twist_3=np.zeros(3))
    said, _ = drive(recovery, 8, begin=free)
    assert "recovery: look around" in said and not recovery.gave_up


def test_it_does_not_back_into_what_the_scan_sees():
    scan = Scan(points_M2=np.array([[-0.45, 0.0]]))
    said, _ = drive(Recovery(Robot()), 60, scan=scan)
    assert "recovery: back up where it has been" not in said


def test_a_car_backs_up_and_never_looks_around():
    said, _ = drive(Recovery(Robot(drive="ackermann")), 30)
    assert "recovery: look around" not in said and "recovery: back up where it has been" in said


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="stuck_s"):
        RecoverySettings(stuck_s=0.0)


def test_a_robot_that_met_something_backs_up_at_once_and_to_the_end(kit):
    own = PlanResult(plan=kit.plan_from([[0.4, 0, 0]] * 40, kit.state()), reason="ok", bumped=True)
    recovery = Recovery(Robot())
    said, state = drive(recovery, 3, result=own)
    assert said == ["recovery: back up where it has been"] * 3
    assert state.pose_3[0] < -0.25, "not where the plan of the planner leads"
    plan, reason = recovery.after(own, at(0.0), TRAIL, None)
    assert reason == "recovery: back up where it has been" and plan is not own.plan
    plan, _ = Recovery(Robot()).after(own, at(0.0), TRAIL[-1:], None)
    assert plan is own.plan, "no trail to back up on"
