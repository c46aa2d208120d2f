"""Reached, timed out and unreachable are told apart, and none is taken back."""

import numpy as np
import torch

from sana_wm_ros.planning.goal_tracker import GoalTracker
from sana_wm_ros.planning.types import Goal, PlaceGoal

VIEW = PlaceGoal(place_E=torch.tensor([1.0, 0.0]), tolerance=0.15)


def test_a_pose_is_reached_standing_near_it(kit):
    tracker = GoalTracker(Goal(x_m=1.0, y_m=0.0), 0.0)
    assert tracker.update(kit.state(x=0.9, v=0.5)) == "active"
    assert tracker.update(kit.state(x=0.9)) == "reached"
    assert tracker.update(kit.state(x=9.0)) == "reached"


def test_a_view_is_reached_where_the_place_looks_alike_enough(kit):
    tracker = GoalTracker(VIEW, 0.0)
    assert tracker.update(kit.state(), None) == "active"
    assert tracker.update(kit.state(), 0.2) == "active"
    assert tracker.update(kit.state(), 0.15) == "reached"


def test_giving_up_and_running_out_of_time_are_not_the_same(kit):
    late, stuck = (GoalTracker(Goal(x_m=9.0, y_m=0.0), 0.0, timeout_s=10.0) for _ in range(2))
    assert late.update(kit.state(time_s=10.5)) == "timed out"
    stuck.give_up()
    assert stuck.update(kit.state(x=9.0)) == "unreachable"
    late.give_up()
    assert late.state == "timed out"


def test_a_yaw_counts_only_where_there_is_one(kit):
    tracker = GoalTracker(Goal(x_m=0.0, y_m=0.0, yaw_rad=np.pi / 2), 0.0)
    assert tracker.update(kit.state(yaw=0.0)) == "active"
    assert tracker.update(kit.state(yaw=1.4)) == "reached"
