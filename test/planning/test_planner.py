"""The whole cycle in a world whose truth is known: it finds the way, keeps its deadline, gives reasons."""

import numpy as np
import pytest
import torch

from sana_wm_ros.geometry import se2
from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.critic_manager import CriticManager
from sana_wm_ros.planning.follower import Follower
from sana_wm_ros.planning.planner import Planner, PlannerSettings
from sana_wm_ros.planning.proposals import ProposalSettings
from sana_wm_ros.planning.refinement import RefinementSettings
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import Goal, Robot, RobotState

CRITICS = ["goal_pose", "progress", "collision", "clearance", "smoothness"]
# A wall across the way, 2 m ahead and 2.4 m wide, of overlapping discs.
WALL = tuple((2.0, y, 0.15) for y in np.arange(-1.2, 1.21, 0.2))
GOAL = Goal(x_m=4.0, y_m=0.0)


def planner(world, clock=None, **settings):
    options = dict(
        proposals=ProposalSettings(count=16, frames=80), refinement=RefinementSettings(generations=0)
    )
    options |= settings
    extra = {} if clock is None else {"clock": clock}
    return Planner(
        Robot(), world.T_base_camera, CriticManager.load(CRITICS), PlannerSettings(**options), **extra
    )


def gap(world, poses_F3):
    """The least room between the robot's disc and the world along poses."""
    return world.distance(poses_F3[:, :2]).min() - world.radius


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_with_a_wall_straight_ahead_it_drives_around(kit, seed):
    world = kit.DiscWorld(discs=WALL)
    result = planner(world).plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(seed))
    assert result.plan is not None and result.deadline_met
    assert gap(world, result.plan.poses_F3) > 0.0
    assert np.hypot(*(result.plan.poses_F3[-1, :2] - [4.0, 0.0])) < 0.3
    straight = result.futures.candidates.origins.index("goal line")
    assert result.costs_N[straight] > result.costs_N[result.best] + 10


def test_without_a_wall_it_does_not(kit):
    world = kit.DiscWorld()
    result = planner(world).plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(0))
    assert np.abs(result.plan.poses_F3[:, 1]).max() < 0.7
    assert np.hypot(*(result.plan.poses_F3[-1, :2] - [4.0, 0.0])) < 0.3


def test_any_candidate_can_be_imagined_to_the_end_afterwards(kit):
    """For a finalist that gives what it had; one that was dropped at first gets the whole horizon."""
    world = kit.DiscWorld(discs=WALL)
    found = planner(world).plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(0))
    last, frames = found.finalists.rollout, found.finalists.rollout.collision_NF.shape[1]
    again = found.imagine_whole(int(found.finalist_index[0])).rollout
    for name in vars(last):
        torch.testing.assert_close(getattr(again, name)[0], getattr(last, name)[0])
    (dropped, *_) = set(range(len(found.costs_N))) - set(found.finalist_index.tolist())
    assert found.horizons_N[dropped] < found.horizon_s
    assert found.imagine_whole(dropped).rollout.collision_NF.shape == (1, frames)


def test_replanning_and_following_together_reach_the_goal_behind_the_wall(kit):
    world = kit.DiscWorld(discs=WALL)
    plans = planner(world, proposals=ProposalSettings(count=10, frames=60))
    follower, generator = Follower(Robot()), np.random.default_rng(5)
    now, twist, pose, least = 0.0, np.zeros(3), np.zeros(3), np.inf
    for _ in range(20):
        start = RobotState(time_s=now, pose_3=pose, twist_3=twist)
        result = plans.plan(world, start, GOAL, 60.0, generator, previous=follower.plan, commit_s=0.5)
        for k in range(20):
            if k == 10 and result.plan is not None:
                follower.set_plan(result.plan)  # planning took half a second
            command = follower.command(RobotState(time_s=now, pose_3=pose, twist_3=twist))
            twist = command.twist_3
            pose = se2.compose(pose, se2.exp(twist, 0.05))
            least = min(least, float(world.distance(pose[:2])) - world.radius)
            now += 0.05
    assert least > 0.0
    assert np.hypot(*(pose[:2] - [4.0, 0.0])) < GOAL.tolerance_m


def test_the_result_holds_what_was_imagined(kit):
    world = kit.DiscWorld(discs=WALL)
    result = planner(world).plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(0))
    assert len(result.futures.candidates) == len(result.costs_N) == 16
    assert result.futures.rollout.collision_NF.shape == (16, 16)  # 8 s
    assert result.finalists.rollout.collision_NF.shape == (2, 80) and result.horizon_s == 40.0
    assert result.best in result.finalist_index
    assert result.horizons_N.max() == 40.0 and result.horizons_N.min() == 8.0
    total = sum(share[result.best] for share in result.shares.values())
    assert total == pytest.approx(result.costs_N[result.best]) == pytest.approx(result.plan.cost)
    assert set(result.timings_s) == {"propose", "imagine", "score", "validate"}


def test_a_machine_that_imagines_one_second_still_goes_towards_the_goal(kit):
    # All candidates share the first 0.9 s, so within the second that is imagined they are all alike.
    clock = kit.FakeClock()
    world = kit.DiscWorld(clock=clock, seconds_per_frame=0.05)
    result = planner(world, clock).plan(world, kit.state(), GOAL, 1.0, np.random.default_rng(0), commit_s=0.9)
    assert result.horizon_s == 1.0
    assert np.hypot(*(result.plan.poses_F3[-1, :2] - [GOAL.x_m, GOAL.y_m])) < GOAL.tolerance_m


def test_one_seed_gives_one_plan(kit):
    world = kit.DiscWorld(discs=WALL)
    make = lambda seed: planner(world).plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(seed)).plan  # noqa: E731
    assert np.array_equal(make(7).poses_F3, make(7).poses_F3)


def test_it_keeps_its_deadline_and_says_how_far_it_got(kit):
    clock = kit.FakeClock()
    world = kit.DiscWorld(clock=clock, seconds_per_frame=0.002)
    result = planner(world, clock).plan(world, kit.state(), GOAL, 0.4, np.random.default_rng(0))
    assert result.deadline_met and result.plan is not None
    assert 8.0 <= result.horizon_s < 40.0
    assert result.rounds[0] == (2.0, 16) and result.how_far.startswith("16 to 2 s, 8 to 4 s, ")


def test_what_takes_time_after_imagining_is_left_for_the_next_plans(kit, monkeypatch):
    """Validating takes 50 ms on this machine: the first plan cannot know, all others keep their deadline."""
    clock = kit.FakeClock()
    world = kit.DiscWorld(clock=clock, seconds_per_frame=0.002)
    plans = planner(world, clock)
    validate = plans._first_valid

    def slowly(*given):
        clock.now += 0.05
        return validate(*given)

    monkeypatch.setattr(plans, "_first_valid", slowly)
    found = [plans.plan(world, kit.state(), GOAL, 0.4, np.random.default_rng(0)) for _ in range(12)]
    assert [one.deadline_met for one in found] == [False] + 11 * [True]
    assert found[-1].horizon_s >= 0.7 * found[0].horizon_s, "the rest of the time is still used"


def test_one_plan_that_came_far_too_late_is_forgotten(kit, monkeypatch):
    """As when a machine wakes up: a reserve of ten seconds would take a thousand plans to fade."""
    clock = kit.FakeClock()
    world = kit.DiscWorld(clock=clock, seconds_per_frame=0.002)
    plans, horizons = planner(world, clock), []
    validate = plans._first_valid

    def slow_at_first(*given):
        clock.now += 10.0 if not horizons else 0.0
        return validate(*given)

    monkeypatch.setattr(plans, "_first_valid", slow_at_first)
    for _ in range(160):
        found = plans.plan(world, kit.state(), GOAL, 0.4, np.random.default_rng(0))
        horizons.append(found.horizon_s)
    assert horizons[1] < horizons[-1], "half of the reserve is given back after 140 plans"


def test_a_deadline_that_cannot_be_kept_is_said_so(kit):
    clock = kit.FakeClock()
    world = kit.DiscWorld(clock=clock, seconds_per_frame=0.1)
    result = planner(world, clock).plan(world, kit.state(), GOAL, 0.5, np.random.default_rng(0))
    assert result.plan is not None and not result.deadline_met


def test_the_last_plan_keeps_the_next_one_from_getting_worse(kit):
    world = kit.DiscWorld(discs=WALL)
    rich = planner(world, proposals=ProposalSettings(count=24, frames=80), steadiness=0.3)
    first = rich.plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(0)).plan
    start = RobotState(time_s=1.0, pose_3=first.poses_F3[1], twist_3=first.twists_F3[1])
    poor = planner(world, proposals=ProposalSettings(count=4, frames=80), steadiness=0.3)
    cold, warm = [], []
    for seed in range(5):
        cold.append(poor.plan(world, start, GOAL, 60.0, np.random.default_rng(seed)).plan.cost)
        warm.append(poor.plan(world, start, GOAL, 60.0, np.random.default_rng(seed), first).plan.cost)
    assert max(warm) <= first.cost + 0.05
    assert np.mean(warm) < np.mean(cold) - 0.3, "by more than its steadiness"
    assert max(warm) < max(cold) - 1.0, "four candidates alone are a matter of luck"


def test_reasons_instead_of_plans(kit):
    world = kit.DiscWorld()
    ask = lambda **o: planner(o.pop("world", world)).plan(  # noqa: E731
        o.pop("context", world),
        o.pop("start", kit.state()),
        o.pop("goal", GOAL),
        60.0,
        np.random.default_rng(0),
    )
    for result, words in (
        (ask(goal=Goal(x_m=np.nan, y_m=0.0)), "the goal is not finite"),
        (ask(start=kit.state(x=np.nan)), "pose or velocity is not finite"),
        (ask(context=kit.DiscWorld(latent_frames=0)), "nothing was seen yet"),
        (ask(context=kit.DiscWorld(broken=tuple(range(16)))), "16 candidates were imagined as not finite"),
    ):
        assert result.plan is None and words in result.reason


def test_some_candidates_that_are_not_finite_do_not_hinder_the_others(kit):
    world = kit.DiscWorld(broken=(1, 4, 7))
    result = planner(world).plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(0))
    assert result.plan is not None and "3 candidates were imagined as not finite" in result.reason
    assert np.isinf(result.costs_N[[1, 4, 7]]).all()


def test_a_critic_that_fails_is_a_reason(kit):
    class Broken:
        name, weight = "broken", 1.0

        def score(self, futures):
            return torch.full((len(futures.candidates),), torch.nan)

    world = kit.DiscWorld()
    result = Planner(Robot(), world.T_base_camera, CriticManager([Broken()])).plan(
        world, kit.state(), GOAL, 60.0, np.random.default_rng(0)
    )
    assert result.plan is None and "'broken' gave nan" in result.reason


def test_what_the_scan_refuses_is_passed_over_for_the_next_best(kit):
    # The imagined world is empty, but the real scanner sees a wall half a metre ahead.
    world = kit.DiscWorld()
    ys = np.linspace(-0.5, 0.5, 21)
    scan = Scan(points_M2=np.stack([np.full(21, 0.5), ys], axis=-1))
    result = planner(world).plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(0), scan=scan)
    assert result.plan is not None and "better ones were refused" in result.reason
    assert scan.distances(result.plan.poses_F3[:4]).min() >= 0.22


def test_when_nothing_is_valid_it_says_why(kit):
    # Driving at 0.6 m/s with something 5 cm before the bumper: even braking touches it.
    world = kit.DiscWorld()
    scan = Scan(points_M2=np.array([[0.25, 0.0]]))
    result = planner(world).plan(
        world, kit.state(v=0.6), GOAL, 60.0, np.random.default_rng(0), scan=scan, commit_s=0.0
    )
    assert result.plan is None
    assert "none of 16 candidates is valid: the best is refused as the scan sees something" in result.reason


def test_the_last_plan_is_left_only_for_one_that_is_better_by_something(kit):
    """Of the same futures, the plan carried on costs ``steadiness`` less; how much else differs decides."""
    world, start = kit.DiscWorld(), kit.state(v=0.4)
    previous = kit.plan_from([[0.4, 0.0, 0.1]] * 80, kit.state(time_s=-1.0, x=-0.4, v=0.4), valid_s=5.0)
    chosen = {}
    for steadiness in (0.0, 1e3):
        plans = planner(world, steadiness=steadiness)
        result = plans.plan(world, start, GOAL, 60.0, np.random.default_rng(0), previous=previous)
        chosen[steadiness] = result.plan.origin
    assert chosen[0.0] != "last plan" and chosen[1e3] == "last plan", "it drives past the goal"
    standing = kit.plan_from(np.zeros((80, 3)), kit.state(time_s=-1.0), valid_s=5.0)
    plans = planner(world, steadiness=1e3)
    result = plans.plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(0), previous=standing)
    assert result.plan.origin != "last plan", "to stand is not worth keeping"


def test_a_robot_that_stands_though_it_was_to_move_is_told_and_remembered(kit):
    world = kit.DiscWorld()
    plans = planner(world)
    previous = kit.plan_from([[0.5, 0.0, 0.0]] * 80, kit.state(v=0.5), valid_s=5.0)
    start = kit.state(x=0.1, time_s=1.0)
    result = plans.plan(world, start, GOAL, 60.0, np.random.default_rng(0), previous=previous)
    assert result.bumped and plans.memory.bumps_B2 == pytest.approx(np.array([[0.3, 0.0]]))
    straight = result.futures.candidates.origins.index("goal line")
    assert result.shares["collision"][straight] > 15, "where it was stopped, it is stopped again"
    moving = kit.state(x=0.5, v=0.5, time_s=1.0)
    assert not plans.plan(world, moving, GOAL, 60.0, np.random.default_rng(0), previous=previous).bumped


def looked(kit, **settings):
    """A planner that looked at the wall from a few places, and now is given a model that imagines none."""
    world = kit.DiscWorld(discs=WALL)
    world.last_latent_CHW = torch.zeros(1, 1, 1)
    one = planner(world, **settings)
    for k in range(12):
        base = np.array([[0.15 * (k % 2), 0.0, 0.0]])
        one.saw(camera_poses(base, world.T_base_camera), float(k), world, 0.8)
    return one, kit.DiscWorld()


def test_a_wall_that_was_seen_is_gone_around_even_if_it_is_imagined_away(kit):
    one, blind = looked(kit)
    result = one.plan(blind, kit.state(time_s=12.0), GOAL, 60.0, np.random.default_rng(0))
    assert gap(kit.DiscWorld(discs=WALL), result.plan.poses_F3) > -0.1
    assert np.abs(result.plan.poses_F3[:, 1]).max() > 1.0
    forgetful, blind = looked(kit, views_are_known=False)
    result = forgetful.plan(blind, kit.state(time_s=12.0), GOAL, 60.0, np.random.default_rng(0))
    assert np.abs(result.plan.poses_F3[:, 1]).max() < 1.0, "without, it drives on"


def test_seeing_without_a_new_picture_or_without_a_context_is_nothing(kit):
    world = kit.DiscWorld(discs=WALL)
    one = planner(world)
    one.saw(np.zeros((0, 4, 4)), 0.0, world, 0.8)
    one.saw(camera_poses(np.zeros((1, 3)), world.T_base_camera), 0.0, world, 0.8)
    assert one.memory.free_space.empty and not world.calls, "nothing was observed yet"
