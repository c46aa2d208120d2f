"""Each critic's cost, worked out by hand."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch

from sana_wm_ros.planning.critics.clearance import Clearance
from sana_wm_ros.planning.critics.collision import Collision
from sana_wm_ros.planning.critics.contact import ContactModel, ahead_clearance, bumped
from sana_wm_ros.planning.critics.control_effort import ControlEffort
from sana_wm_ros.planning.critics.goal_image import GoalImage
from sana_wm_ros.planning.critics.goal_pose import GoalPose
from sana_wm_ros.planning.critics.novelty import Novelty
from sana_wm_ros.planning.critics.path_following import PathFollowing
from sana_wm_ros.planning.critics.progress import Progress
from sana_wm_ros.planning.critics.smoothness import Smoothness
from sana_wm_ros.planning.critics.uncertainty import Uncertainty
from sana_wm_ros.planning.types import Goal, PlaceGoal

# Trusts imagination forever and believes the head as it is: no discount, no noise floor.
PLAIN = ContactModel(floor=0.0, certain=1.0, margin_m=0.1, trust_s=1e12)
AHEAD = [[[0.4, 0.0, 0.0]] * 4]  # 0.2, 0.4, 0.6, 0.8 m along x
GOAL = Goal(x_m=1.0, y_m=0.0)


def test_goal_pose_is_the_distance_at_the_end(kit):
    # ends at x = 0.8, goal at 1.0
    assert GoalPose(contact=PLAIN).score(kit.futures(AHEAD, goal=GOAL)) == pytest.approx([0.2])


def test_goal_pose_expects_a_robot_to_stay_where_it_touches_something(kit):
    # Contact with 0.5 in the second frame only: half stays at x = 0.4 (0.6 m away), half arrives 0.2 m away.
    futures = kit.futures(AHEAD, goal=GOAL, collision=[0.0, 0.5, 0.0, 0.0])
    assert GoalPose(contact=PLAIN).score(futures) == pytest.approx([0.5 * 0.6 + 0.5 * 0.2])


def test_goal_pose_adds_the_heading_close_to_the_goal(kit):
    # 0.2 m away, heading off by 1 rad the shorter way (2 pi - 1 -> 1): 0.2 + 0.3 * 1 * exp(-0.2)
    goal = Goal(x_m=1.0, y_m=0.0, yaw_rad=2 * np.pi - 1)
    cost = GoalPose(contact=PLAIN).score(kit.futures(AHEAD, goal=goal))
    assert cost.numpy() == pytest.approx([0.2 + 0.3 * np.exp(-0.2)])


def test_progress_is_the_mean_remaining_share_of_the_way(kit):
    # distances .8 .6 .4 .2 of 1 m: mean 0.5; standing still: 1
    futures = kit.futures([*AHEAD, [[0.0, 0, 0]] * 4], goal=GOAL)
    assert Progress(contact=PLAIN).score(futures) == pytest.approx([0.5, 1.0])


def test_progress_stops_where_contact_is_certain(kit):
    # stays at 0.6 m from the second frame on: (.8 + .6 + .6 + .6) / 4
    futures = kit.futures(AHEAD, goal=GOAL, collision=[0.0, 1.0, 0.0, 0.0])
    assert Progress(contact=PLAIN).score(futures) == pytest.approx([0.65])


def test_commands_beyond_what_was_imagined_count_as_free(kit):
    # Imagined are x = 0.2 and 0.4, the second with contact 0.5; the commands go on to 0.6 and 0.8.
    whole = kit.futures(AHEAD, goal=GOAL)
    seen = kit.futures([AHEAD[0][:2]], goal=GOAL, collision=[0.0, 0.5])
    futures = dataclasses.replace(seen, proposed=whole.candidates)
    assert GoalPose(contact=PLAIN).score(futures) == pytest.approx([0.5 * 0.6 + 0.5 * 0.2])
    # expected distances .8, .6, then half stays .6 away and half is .4, .2 away
    assert Progress(contact=PLAIN).score(futures) == pytest.approx([(0.8 + 0.6 + 0.5 + 0.4) / 4])


def test_the_way_around_what_is_known_to_be_in_the_way_counts(kit):
    # A wall stands before the goal: 3 m are left from anywhere on this side of x = 0.7, beyond it the straight line.
    futures = dataclasses.replace(
        kit.futures([*AHEAD, [[0.0, 0, 0]] * 4], goal=GOAL),
        left_NF=np.array([[3.0, 3.0, 3.0, 0.2], [3.0] * 4]),
        left_m=3.0,
    )
    assert GoalPose(contact=PLAIN).score(futures) == pytest.approx([0.2, 3.0])
    # (3 + 3 + 3 + .2) / 4 of the 3 m that are left from the start
    assert Progress(contact=PLAIN).score(futures) == pytest.approx([9.2 / 4 / 3, 1.0])


def test_what_the_camera_saw_counts_beyond_what_was_imagined(kit):
    # Imagined are two frames without contact; at the third pose the camera saw something, for sure.
    contact = dataclasses.replace(PLAIN, barred=0.5)
    whole, seen = kit.futures(AHEAD, goal=GOAL), kit.futures([AHEAD[0][:2]], goal=GOAL)
    futures = dataclasses.replace(seen, proposed=whole.candidates, barred_NF=np.array([[0.0, 0.0, 1.0, 0.0]]))
    assert contact.survival_to_the_end(futures)[0].tolist() == pytest.approx([1.0, 1.0, 0.5, 0.5])
    # Half stays at the third pose, .4 m away, half arrives .2 m away; contact comes after 1.5 s.
    assert GoalPose(contact=contact).score(futures) == pytest.approx([0.5 * 0.4 + 0.5 * 0.2])
    assert Collision(contact=contact, soon_s=3.0).score(futures) == pytest.approx([0.5 * np.exp(-0.5)])


def test_where_the_floor_is_known_to_be_free_little_counts_and_where_nobody_knows_something_is_overlooked(
    kit,
):
    contact = dataclasses.replace(PLAIN, known_free=0.9, missed=0.1)
    futures = kit.futures([*AHEAD, [[0.0, 0, 0]] * 4], collision=0.4)
    futures = dataclasses.replace(futures, free_NF=np.tile([1.0, 0.5, 0.0, 0.0], (2, 1)))
    # .4 * .1; 1 - (1 - .4 * .55) * (1 - .05) = .259; 1 - .6 * .9 = .46; whoever stands touches nothing
    assert contact.hazard(futures).tolist() == [pytest.approx([0.04, 0.259, 0.46, 0.46]), [0.0] * 4]


def test_what_the_camera_saw_in_the_way_counts_whatever_is_imagined(kit):
    # It has seen something at the second pose with .5, at the third for sure; a robot that stands touches nothing.
    contact = dataclasses.replace(PLAIN, barred=0.7, missed=0.0)
    futures = kit.futures([*AHEAD, [[0.0, 0, 0]] * 4])
    futures = dataclasses.replace(futures, barred_NF=np.tile([0.0, 0.5, 1.0, 0.0], (2, 1)))
    assert contact.hazard(futures).tolist() == [pytest.approx([0.0, 0.35, 0.7, 0.0]), [0.0] * 4]
    # ... and together with what is imagined: 1 - (1 - .35) * (1 - .2)
    imagined = dataclasses.replace(kit.futures(AHEAD, collision=0.2), barred_NF=np.array([[0, 0.5, 0, 0]]))
    assert contact.hazard(imagined)[0].tolist() == pytest.approx([0.2, 0.48, 0.2, 0.2])


def test_without_a_goal_nothing_is_asked_for(kit):
    assert GoalPose().score(kit.futures(AHEAD)) == pytest.approx([0.0])
    assert Progress().score(kit.futures(AHEAD)) == pytest.approx([0.0])


def test_collision_multiplies_the_chances_of_getting_through(kit):
    # 1 - 0.9 * 0.8 * 1 * 1
    futures = kit.futures(AHEAD, collision=[0.1, 0.2, 0.0, 0.0])
    assert Collision(contact=PLAIN, soon_s=1e12).score(futures) == pytest.approx([0.28])


def test_collision_is_capped(kit):
    assert Collision(contact=PLAIN, soon_s=1e12).score(kit.futures(AHEAD, collision=1.0)) == pytest.approx(
        [0.98]
    )


def test_collision_ignores_a_young_heads_noise_and_rescales_the_rest(kit):
    # floor 0.1, certain from 0.5 on: 0.1 -> 0; 0.3 -> 0.2 / 0.4 = 0.5; 0.6 -> 1
    contact = ContactModel(floor=0.1, certain=0.5, trust_s=1e12)
    assert Collision(contact=contact, soon_s=1e12).score(kit.futures(AHEAD, collision=0.1)) == pytest.approx(
        [0.0]
    )
    futures = kit.futures(AHEAD, collision=[0.1, 0.3, 0.1, 0.1])
    assert Collision(contact=contact, soon_s=1e12).score(futures) == pytest.approx([0.5])
    futures = kit.futures(AHEAD, collision=[0.1, 0.6, 0.1, 0.1])
    assert Collision(contact=contact, soon_s=1e12, cap=1.0).score(futures) == pytest.approx([1.0])


def test_collision_believes_later_frames_less(kit):
    # contact foretold 2 s ahead, trusted for 2 s: exp(-1)
    contact = ContactModel(floor=0.0, certain=1.0, trust_s=2.0)
    futures = kit.futures(AHEAD, collision=[0.0, 0.0, 0.0, 1.0])
    assert Collision(contact=contact, soon_s=1e12).score(futures).numpy() == pytest.approx([np.exp(-1)])


def clearance_with(value, sector, frames=4, sectors=24):
    clearance = np.full((1, frames, sectors), 8.0)
    clearance[:, -1, sector] = value
    return clearance


def test_collision_counts_a_way_that_ends_before_a_wall(kit):
    # 0.25 m free ahead; radius 0.2 + margin 0.1 - 0.25 = 0.05, half of the margin
    futures = kit.futures(AHEAD, clearance=clearance_with(0.25, 0))
    assert Collision(contact=PLAIN, soon_s=1e12).score(futures) == pytest.approx([0.5])


def test_a_wall_beside_the_way_is_no_contact(kit):
    futures = kit.futures(AHEAD, clearance=clearance_with(0.25, 6))  # 90 degrees to the left
    assert Collision(contact=PLAIN, soon_s=1e12).score(futures) == pytest.approx([0.0])


def test_backing_up_looks_behind(kit):
    backwards = [[[-0.2, 0.0, 0.0]] * 4]
    behind, ahead = clearance_with(0.2, 12), clearance_with(0.2, 0)
    assert Collision(contact=PLAIN, soon_s=1e12).score(
        kit.futures(backwards, clearance=behind)
    ) == pytest.approx([0.98])
    assert Collision(contact=PLAIN, soon_s=1e12).score(
        kit.futures(backwards, clearance=ahead)
    ) == pytest.approx([0.0])


def test_a_robot_that_stands_or_turns_in_place_before_a_wall_does_not_touch_it(kit):
    futures = kit.futures([[[0.0, 0.0, 1.0]] * 4], clearance=0.2)
    assert Collision(contact=PLAIN, soon_s=1e12).score(futures) == pytest.approx([0.0])


@pytest.mark.parametrize("sectors", [4, 8, 24])
@pytest.mark.parametrize("bearing", np.linspace(-3.1, 3.1, 9))
def test_the_sector_nearest_to_the_way_always_counts(kit, sectors, bearing):
    clearance = np.full((1, 1, sectors), 8.0)
    clearance[..., round(bearing / (2 * np.pi) * sectors) % sectors] = 0.3
    twist = [[[0.3 * np.cos(bearing), 0.3 * np.sin(bearing), 0.0]]]
    futures = kit.futures(twist, clearance=clearance, sectors=sectors)
    assert ahead_clearance(futures) == pytest.approx(0.3)


@pytest.mark.parametrize("sectors", [1, 3, 8, 24, 72])
def test_clearance_ahead_is_the_least_of_all_sectors_in_the_cone(kit, sectors):
    random = np.random.default_rng(sectors)
    twists = random.uniform(-0.5, 0.5, (40, 5, 3))
    clearance = torch.from_numpy(random.uniform(0.1, 8.0, (40, 5, sectors))).float()
    futures = kit.futures(twists)
    futures = replace(futures, rollout=replace(futures.rollout, clearance_NFK=clearance))
    # Frame k looks where command k + 1 leads, the last one where it came from.
    following = np.concatenate([twists[:, 1:], twists[:, -1:]], axis=1)
    bearing = np.arctan2(following[..., 1], following[..., 0])[..., None]
    away = np.abs(np.angle(np.exp(1j * (2 * np.pi * np.arange(sectors) / sectors - bearing))))
    inside = away <= max(np.radians(30), np.pi / sectors)
    moving = np.hypot(following[..., 0], following[..., 1])[..., None] > 0.02
    expected = np.where(inside & moving, clearance.numpy(), np.inf).min(axis=-1)
    assert ahead_clearance(futures).numpy() == pytest.approx(expected)


def test_clearance_by_hand(kit):
    # nearest .45, .7, .2, .95: free .25, .5, 0, .75 of 0.5 comfort -> (.5^2 + 0 + 1 + 0) / 4
    clearance = np.array([0.45, 0.7, 0.2, 0.95])[None, :, None]
    futures = kit.futures(AHEAD, clearance=clearance)
    assert Clearance(comfort_m=0.5, trust_s=1e12).score(futures) == pytest.approx([0.3125])


def test_clearance_weighs_what_is_near_in_time_more(kit):
    # touching in the first of two frames (.5, 1 s), trusted for 0.5 s: e^-1 / (e^-1 + e^-2) = 1 / (1 + e^-1)
    futures = kit.futures([[[0.4, 0, 0]] * 2], clearance=np.array([0.2, 8.0])[None, :, None])
    cost = Clearance(trust_s=0.5).score(futures)
    assert cost.numpy() == pytest.approx([1 / (1 + np.exp(-1))])


def test_smoothness_by_hand(kit):
    # changes per 0.5 s: .2 -> .4 m/s^2 of 1: .16; then .3 rad/s -> .6 rad/s^2 of 3: .04; mean of (.16, .04)
    futures = kit.futures([[[0.2, 0, 0], [0.2, 0, 0.3]]])
    assert Smoothness().score(futures) == pytest.approx([0.1])


def test_smoothness_counts_the_change_from_what_the_robot_does_now(kit):
    futures = kit.futures([[[0.2, 0, 0], [0.2, 0, 0]]], start=kit.state(v=0.2))
    assert Smoothness().score(futures) == pytest.approx([0.0])


def test_control_effort_by_hand(kit):
    # (.3 / .6)^2 + (.6 / 1.2)^2 = .5 in one of two frames
    futures = kit.futures([[[0.3, 0, 0.6], [0.0, 0, 0]]])
    assert ControlEffort().score(futures) == pytest.approx([0.25])


def test_uncertainty_is_the_mean(kit):
    assert Uncertainty().score(kit.futures(AHEAD, uncertainty=[0.0, 1.0, 2.0, 1.0])) == pytest.approx([1.0])


def test_costs_keep_the_type_of_the_rollout_and_one_row_per_candidate(kit):
    futures = kit.futures([[[0.4, 0, 0]] * 4] * 3, goal=GOAL)
    for critic in (
        GoalPose(),
        Progress(),
        Collision(),
        Clearance(),
        Smoothness(),
        ControlEffort(),
        Uncertainty(),
    ):
        cost = critic.score(futures)
        assert isinstance(cost, torch.Tensor) and cost.shape == (3,) and cost.dtype == torch.float64


def with_places(futures, place_NFE, **changes):
    return replace(futures, rollout=replace(futures.rollout, place_NFE=torch.tensor(place_NFE)), **changes)


def test_goal_image_by_hand(kit):
    # Goal (1, 0). First: (0, 1) then (1, 0): distances 1, 0 -> half of the last 0 plus half of the mean 0.5 = 0.25.
    # Second: (1, 0) then (0, 1): 0.5 + 0.25 = 0.75. Third: opposite all the way: 1 + 1 = 2.
    goal = PlaceGoal(place_E=torch.tensor([1.0, 0.0]))
    places = [[[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [-1.0, 0.0]]]
    futures = with_places(kit.futures(np.zeros((3, 2, 3)), goal=goal), places)
    assert GoalImage().score(futures).tolist() == pytest.approx([0.25, 0.75, 2.0])
    assert GoalImage().score(replace(futures, goal=None)).tolist() == [0.0, 0.0, 0.0]


def test_path_following_by_hand(kit):
    # The path runs along x from 0 to 2, then up. Driving along it costs 0. Driving 1 m per frame to the left
    # from its begin: 1 m, then 2 m away from (0, 0); the corner's second leg is 2 m away, too: mean 1.5.
    path = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0]])
    goal = Goal(x_m=2.0, y_m=2.0, path_M2=path)
    along, left = [[2.0, 0.0, 0.0]] * 2, [[0.0, 2.0, 0.0]] * 2
    futures = kit.futures([along, left], goal=goal)
    assert PathFollowing().score(futures).tolist() == pytest.approx([0.0, 1.5])
    assert PathFollowing().score(replace(futures, goal=Goal(x_m=2, y_m=2))).tolist() == [0.0, 0.0]


def test_novelty_by_hand(kit):
    # Visited (1, 0) and (0, 1). First: there all the time: 1. Second: half way between both (cos 45 degrees),
    # then opposite to all (counts as 0): 0.7071 / 2.
    s = 0.5**0.5
    places = [[[1.0, 0.0], [0.0, 1.0]], [[s, s], [-s, -s]]]
    visited = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    futures = with_places(kit.futures(np.zeros((2, 2, 3))), places, visited_ME=visited)
    assert Novelty().score(futures).tolist() == pytest.approx([1.0, s / 2])
    assert Novelty().score(replace(futures, goal=Goal(x_m=1, y_m=0))).tolist() == [0.0, 0.0]
    assert Novelty().score(replace(futures, visited_ME=None)).tolist() == [0.0, 0.0]


def test_beyond_the_trust_horizon_contact_counts_less_by_hand(kit):
    # Contact for sure at 6 s. exp(-6 / 20) without a horizon; with one of 4 s, and its half as the scale beyond,
    # that times exp(-2 / 2). A horizon of 1 s counts as one of 3 s: that times exp(-3 / 1.5).
    collision = np.zeros((1, 12))
    collision[0, 11] = 1.0
    futures = kit.futures(np.tile([0.1, 0.0, 0.0], (1, 12, 1)), collision=collision)
    for trust_s, cost in ((None, np.exp(-0.3)), (4.0, np.exp(-1.3)), (1.0, np.exp(-2.3))):
        found = Collision(soon_s=1e12).score(replace(futures, trust_s=trust_s))
        assert found.tolist() == pytest.approx([cost])


def test_where_something_stopped_the_robot_it_is_stopped_again_by_hand(kit):
    # A robot of radius 0.2 stands at 0; a bump at 0.2. One goes on ahead: contact in every frame up to where its
    # disc (and 3 cm) has left the bump behind, at x = 0.5. One goes left: 0.28, 0.45 m away. One backs up.
    forward = [[0.2, 0.0, 0.0], [0.4, 0.0, 0.0], [0.4, 0.0, 0.0]]  # to x = 0.1, 0.3, 0.5
    left = [[0.0, 0.4, 0.0]] * 3
    back = [[-0.2, 0.0, 0.0], [-0.2, 0.0, 0.0], [0.2, 0.0, 0.0]]
    futures = replace(kit.futures([forward, left, back]), bumps_B2=np.array([[0.2, 0.0]]))
    assert bumped(futures).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert PLAIN.hazard(futures)[:, :2].tolist() == [[1, 1], [0, 0], [0, 0]]


def test_a_late_first_contact_costs_less_than_an_early_one_by_hand(kit):
    # First contact for sure at 1 s, and at 3 s: exp(-1 / 10) and exp(-3 / 10); that it lasts adds nothing.
    collision = np.zeros((2, 8))
    collision[0, 1:], collision[1, 5:] = 1.0, 1.0
    futures = kit.futures(np.tile([0.1, 0.0, 0.0], (2, 8, 1)), collision=collision)
    cost = Collision(contact=PLAIN, soon_s=10.0).score(futures)
    assert cost.tolist() == pytest.approx([np.exp(-0.1), np.exp(-0.3)])
