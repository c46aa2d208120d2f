"""Several draws of a finalist: the mean, and for contact the bad half."""

import numpy as np
import pytest
import torch

from sana_wm_ros.planning.critic_manager import CriticManager
from sana_wm_ros.planning.draws import judged
from sana_wm_ros.planning.planner import Planner, PlannerSettings
from sana_wm_ros.planning.proposals import ProposalSettings
from sana_wm_ros.planning.refinement import RefinementSettings
from sana_wm_ros.planning.types import Goal, Robot
from sana_wm_ros.world_model.protocol import Rollout

GOAL = Goal(x_m=4.0, y_m=0.0)


def test_contact_is_judged_by_its_worst_half_and_the_rest_by_the_mean():
    # Four draws of two finalists: contact 0, 0, 8, 20 -> mean of 8 and 20; progress 1, 2, 3, 4 -> 2.5.
    contact = [np.array([0.0, 1.0]), np.array([8.0, 1.0]), np.array([20.0, 1.0]), np.array([0.0, 1.0])]
    progress = [np.array([value, 0.0]) for value in (1.0, 2.0, 3.0, 4.0)]
    shares = [{"collision": c, "progress": p} for c, p in zip(contact, progress, strict=True)]
    found = judged([c + p for c, p in zip(contact, progress, strict=True)], shares)
    assert found.shares["collision"] == pytest.approx([14.0, 1.0])
    assert found.shares["progress"] == pytest.approx([2.5, 0.0])
    assert found.costs_N == pytest.approx([16.5, 1.0])


class Noisy:
    """A batch whose every candidate is touched, or not, by the noise of the draw."""

    def __init__(self, world, size, log):
        self.world, self.size, self.log = world, size, log

    def select(self, index_N):
        return Noisy(self.world, len(index_N), self.log)

    def imagine(self, poses_NF44, *, steps=None, generator=None):
        n, f = poses_NF44.shape[:2]
        self.log.append((n, f, generator.initial_seed()))
        value = torch.rand(n, f, generator=generator) if self.world.noisy else torch.full((n, f), 0.2)
        return self, Rollout(
            latents_NFCHW=value[..., None, None, None],
            collision_NF=0.1 * value,
            clearance_NFK=torch.full((n, f, 24), 8.0),
            uncertainty_NF=torch.zeros(n, f),
            place_NFE=torch.ones(n, f, 2),
        )


class NoisyWorld:
    latent_frames, last_latent_CHW = 3, None

    def __init__(self, noisy):
        self.noisy, self.log = noisy, []

    def fork(self, candidates):
        return Noisy(self, candidates, self.log)


def plan(kit, world, draws):
    proposals = ProposalSettings(count=8, frames=80)
    settings = PlannerSettings(proposals=proposals, refinement=RefinementSettings(generations=0), draws=draws)
    made = Planner(
        Robot(), kit.DiscWorld().T_base_camera, CriticManager.load(["goal_pose", "collision"]), settings
    )
    result = made.plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(0))
    return made, result


def test_finalists_are_imagined_with_other_noise_and_the_rest_is_not(kit):
    world = NoisyWorld(noisy=True)
    _, result = plan(kit, world, draws=3)
    assert result.draws == 3 and "3 draws" in result.how_far
    again = [entry for entry in world.log if entry[:2] == (2, 80)]
    assert len({seed for _, _, seed in again}) == 2
    assert sum(share[result.best] for share in result.shares.values()) == pytest.approx(result.plan.cost)


def test_a_model_that_imagines_the_same_every_time_is_asked_once_and_never_again(kit):
    world = NoisyWorld(noisy=False)
    made, result = plan(kit, world, draws=5)
    assert result.draws == 1
    assert len([entry for entry in world.log if entry[:2] == (2, 80)]) == 1
    world.log.clear()
    made.plan(world, kit.state(), GOAL, 60.0, np.random.default_rng(0))
    assert not [entry for entry in world.log if entry[:2] == (2, 80)]
