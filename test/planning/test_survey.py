"""What is known of the floor is looked up once per plan, and every candidate keeps what is known of its own poses."""

import numpy as np
import torch

from sana_wm_ros.planning.critic_manager import CriticManager
from sana_wm_ros.planning.planner import Planner, PlannerSettings
from sana_wm_ros.planning.proposals import ProposalSettings
from sana_wm_ros.planning.refinement import RefinementSettings
from sana_wm_ros.planning.survey import Surveyed, survey
from sana_wm_ros.planning.types import Goal, Robot

GOAL = Goal(x_m=4.0, y_m=1.0)


class Shuffles:
    """Keeps the futures that it scores, and lets others win in every round."""

    name, weight = "shuffles", 1.0

    def __init__(self):
        self.seen, self._random = [], np.random.default_rng(0)

    def score(self, futures):
        self.seen.append(futures)
        return torch.from_numpy(self._random.permutation(len(futures.candidates)).astype(float))


def planner(world, critic):
    settings = PlannerSettings(
        proposals=ProposalSettings(count=16, frames=80), refinement=RefinementSettings(generations=1)
    )
    return Planner(Robot(), world.T_base_camera, CriticManager([critic]), settings, clock=lambda: 0.0)


def agrees(planner, futures):
    """Whether futures say of their poses what memory says of them now."""
    free, barred = planner.memory.known(futures.proposed.poses_NF3)
    assert free.any() and barred.any()
    driven = slice(0, len(futures.candidates.times_F))
    return np.array_equal(futures.free_NF, free[:, driven]) and np.array_equal(futures.barred_NF, barred)


def look(planner, world, x, clearance_m, time_s):
    """The camera looked this way and that, from here."""
    for k in range(10):
        pose = np.array([x, 0.0, 0.4 * (k % 2)])
        planner.memory.view(pose, time_s + 0.01 * k, np.full(24, clearance_m), 0.0, 0.8)


def test_rows_stay_together(kit):
    world = kit.DiscWorld()
    one = planner(world, Shuffles())
    look(one, world, 0.0, 1.5, 0.0)
    found = one.plan(world, kit.state(time_s=1.0), GOAL, 60.0, np.random.default_rng(0))
    every = found.futures.proposed
    known = lambda *rows: survey(every.select(np.array(rows)), one.memory, one.memory.way_left(GOAL))  # noqa: E731
    whole = survey(every, one.memory, one.memory.way_left(GOAL))
    _, apart = np.unique(whole.barred_NF, axis=0, return_index=True)
    a, b, c = apart[[2, 0, 1]]
    for some, same in (
        (whole.select(np.array([a, b, c])), known(a, b, c)),
        (Surveyed.cat([known(b), known(c, a)]), known(b, c, a)),
    ):
        assert some.candidates.origins == same.candidates.origins and len(some) == 3
        for name in ("free_NF", "barred_NF", "left_NF"):
            assert np.array_equal(getattr(some, name), getattr(same, name)), name
            assert len(np.unique(getattr(some, name), axis=0)) == 3, "no row is another's"


def test_survivors_and_refined_ones_are_scored_with_what_is_known_of_their_own_poses(kit):
    world, critic = kit.DiscWorld(), Shuffles()
    one = planner(world, critic)
    look(one, world, 0.0, 1.5, 0.0)
    one.plan(world, kit.state(time_s=1.0), GOAL, 60.0, np.random.default_rng(0))
    found = one.plan(world, kit.state(time_s=2.0), GOAL, 60.0, np.random.default_rng(1))
    seen = critic.seen[-8:]
    assert [len(futures.candidates) for futures in seen] == [16, 8, 4, 2, 8, 4, 2, 2]
    assert all(agrees(one, futures) for futures in [*seen, found.futures, found.finalists])
    assert len(found.futures.candidates) == 24
    assert agrees(one, found.imagine_whole(20))


def test_the_next_plan_knows_what_was_seen_since(kit):
    world, critic = kit.DiscWorld(), Shuffles()
    one = planner(world, critic)
    look(one, world, 0.0, 3.0, 0.0)
    one.plan(world, kit.state(time_s=1.0), GOAL, 60.0, np.random.default_rng(0))
    before = critic.seen[0]
    look(one, world, 0.0, 1.0, 2.0)
    one.plan(world, kit.state(time_s=3.0), GOAL, 60.0, np.random.default_rng(0))
    after = next(futures for futures in critic.seen[8:] if len(futures.candidates) == 16)
    assert not agrees(one, before) and agrees(one, after)
