"""Refined candidates: near their elites, within limits, and worth it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sana_wm_ros.planning.motion_models import violation
from sana_wm_ros.planning.proposals import ProposalSettings, propose
from sana_wm_ros.planning.refinement import RefinementSettings, refine
from sana_wm_ros.planning.types import Goal, Robot

PROPOSALS = ProposalSettings(count=8, frames=60)
GOAL = Goal(x_m=5.0, y_m=1.0)


def refined(kit, robot=None, start=None, generation=0, commit_s=0.0, seed=0, ways=(), **options):
    robot, start = robot or Robot(), start or kit.state()
    elites = propose(robot, start, GOAL, PROPOSALS, np.random.default_rng(0), commit_s=commit_s).select(
        np.array([1, 3])
    )
    choice = RefinementSettings(**options)
    return elites, refine(
        robot,
        start,
        GOAL,
        elites,
        PROPOSALS,
        choice,
        np.random.default_rng(seed),
        generation=generation,
        commit_s=commit_s,
        ways=ways,
    )


@given(
    st.sampled_from(["differential", "ackermann", "omnidirectional"]),
    st.integers(0, 1000),
    st.floats(-0.1, 0.6),
)
@settings(max_examples=25, deadline=None)
def test_every_refined_candidate_can_be_driven(kit, drive, seed, speed):
    robot, start = Robot(drive=drive), kit.state(v=speed)
    _, found = refined(kit, robot, start, seed=seed)
    assert len(found) == 8 and np.isfinite(found.poses_NF3).all()
    for twists in found.twists_NF3:
        assert violation(robot, twists, start.twist_3, 0.5) is None


def test_they_scatter_around_their_elites_and_arrive_where_these_do(kit):
    elites, found = refined(kit)
    for row in range(8):
        elite = elites.poses_NF3[row % 2]
        apart = np.hypot(*(found.poses_NF3[row] - elite)[:, :2].T)
        assert apart.max() > 0.01  # not the same
        assert np.hypot(*(found.poses_NF3[row, -1, :2] - elite[-1, :2])) < 0.3


def test_the_spread_shrinks_with_every_generation(kit):
    def scatter(generation):
        elites, found = refined(kit, generation=generation)
        return np.abs(found.twists_NF3[::2, :16, 2] - elites.twists_NF3[0, :16, 2]).mean()

    assert scatter(3) < 0.5 * scatter(0)


def test_nothing_changes_while_the_planner_still_thinks(kit):
    elites, found = refined(kit, commit_s=1.0)
    assert np.allclose(found.twists_NF3[:, :2], elites.twists_NF3[0, :2])


def test_ways_found_meanwhile_take_up_to_half_of_the_places(kit):
    way = np.array([[0.0, 0.0], [2.0, 2.0], [5.0, 1.0]])
    _, found = refined(kit, ways=[way, way], count=4)
    assert found.origins == ("imagined way", "imagined way", "refined", "refined")
    near = np.hypot(*(found.poses_NF3[0, :, :2] - [2.0, 2.0]).T).min()
    assert near < 0.35


@pytest.mark.parametrize("bad", [dict(count=0), dict(knot_s=0.0), dict(correlation=1.0)])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        RefinementSettings(**bad)
