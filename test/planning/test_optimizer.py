"""Halving: the clock is honoured, losers are dropped, the rest goes on, and nothing is imagined twice."""

from functools import partial

import numpy as np
import pytest
import torch

from sana_wm_ros.geometry import camera
from sana_wm_ros.planning.optimizer import HalvingSettings, search
from sana_wm_ros.planning.pace import Pace
from sana_wm_ros.planning.proposals import ProposalSettings, propose
from sana_wm_ros.planning.types import Goal, Robot


def run(kit, world, *, deadline_s=1e9, count=8, score=None, pace=None, **settings):
    clock = world.clock or kit.FakeClock()
    candidates = propose(
        Robot(), kit.state(), Goal(x_m=5, y_m=0), ProposalSettings(count=count), np.random.default_rng(0)
    )
    poses = torch.from_numpy(camera.camera_poses(candidates.poses_NF3, world.T_base_camera))
    by_row = lambda some, rollout: (np.arange(len(some), dtype=float), {"row": np.arange(len(some)) * 1.0})  # noqa: E731
    return search(
        candidates,
        poses,
        world.fork(count),
        score or by_row,
        HalvingSettings(**settings),
        deadline_s=clock.now + deadline_s,
        clock=clock,
        pace=pace,
    )


def test_with_time_enough_halves_survive_each_round_up_to_a_minute(kit):
    found = run(kit, kit.DiscWorld())
    assert [(one.horizon_s, len(one.index_N)) for one in found.rounds] == [(8, 8), (16, 4), (32, 2), (60, 2)]
    assert found.complete and found.horizon_s == 60.0
    assert found.rounds[-1].rollout.collision_NF.shape == (2, 120)
    assert list(found.ranking) == list(range(8))


def test_nothing_is_imagined_twice(kit):
    world = kit.DiscWorld()
    run(kit, world)
    # 8 x 16 frames, 4 x 16 more, 2 x 32 more, 2 x 56 more
    assert sum(size * frames for size, frames in world.calls) == 8 * 16 + 4 * 16 + 2 * 32 + 2 * 56


def test_halving_gives_survivors_the_same_future_as_imagining_them_alone(kit):
    world = kit.DiscWorld(discs=((2.0, 0.1, 0.3),))
    last_ones = lambda some, rollout: (-np.arange(len(some), dtype=float), {})  # noqa: E731
    found = run(kit, world, score=last_ones)
    alone = run(kit, world, keep_fraction=1.0, rounds_s=(60.0,))
    assert found.rounds[-1].index_N.tolist() == [6, 7]
    kept = torch.from_numpy(found.rounds[-1].index_N)
    whole = alone.rounds[0].rollout.clearance_NFK[kept]
    assert torch.equal(found.rounds[-1].rollout.clearance_NFK, whole)


def test_all_may_be_kept(kit):
    found = run(kit, kit.DiscWorld(), keep_fraction=1.0)
    assert [len(one.index_N) for one in found.rounds] == [8, 8, 8, 8]


def test_the_deadline_is_honoured_and_what_was_reached_is_scored(kit):
    # 8 candidates x 16 frames x 10 ms: the first round takes 1.28 s; the second has half the candidates, so
    # 0.04 s per frame. Two more always fit while 1.2 x 0.08 s are left, so it ends within 0.1 s of 2 s.
    clock = kit.FakeClock()
    world = kit.DiscWorld(clock=clock, seconds_per_frame=0.01)
    begin = clock.now
    found = run(kit, world, deadline_s=2.0)
    assert clock.now - begin <= 2.0
    assert clock.now - begin > 1.9
    assert not found.complete
    assert found.rounds[-1].horizon_s == found.horizon_s > 8.0
    assert found.rounds[-1].rollout.collision_NF.shape[1] == found.horizon_s / 0.5
    assert found.imagine_s == pytest.approx(clock.now - begin)


def test_a_machine_too_slow_for_the_rounds_halves_earlier(kit):
    # All to 8 s alone would take 8 x 16 x 10 ms = 1.28 s of the 0.8 s; to 2 s they take 0.32 s.
    world = kit.DiscWorld(clock=kit.FakeClock(), seconds_per_frame=0.01)
    found = run(kit, world, deadline_s=0.8)
    assert [(one.horizon_s, len(one.index_N)) for one in found.rounds[:3]] == [(2.0, 8), (4.0, 4), (8.0, 2)]
    assert world.clock.now - 100.0 <= 0.8


def test_a_deadline_inside_the_first_round_scores_all_at_a_shorter_horizon(kit):
    world = kit.DiscWorld(clock=kit.FakeClock(), seconds_per_frame=0.01)
    found = run(kit, world, deadline_s=0.8, least_s=8.0)
    assert [(one.horizon_s, len(one.index_N)) for one in found.rounds] == [(4.0, 8)]
    # 0.08 s per frame: one chunk to measure, a whole piece, then there was time for one more chunk only.
    assert world.calls == [(8, 2), (8, 4), (8, 2)]


def test_a_pace_that_is_known_chooses_the_rounds_again_each_time(kit):
    # 5 ms per candidate and frame; all rounds take 368 of these, 1.84 s. As long as only the pace of all eight
    # is known, the smaller batches are taken to need as long, 4.8 s.
    clock = kit.FakeClock()
    world, pace = kit.DiscWorld(clock=clock, seconds_per_frame=0.005), Pace()
    first = run(kit, world, deadline_s=2.5, pace=pace)
    second = run(kit, world, deadline_s=2.5, pace=pace)
    assert first.rounds[0].horizon_s == 2.0 and second.rounds[0].horizon_s == 8.0 and second.complete
    assert pace.frame_s(8) == pytest.approx(0.04) and pace.frame_s(2) == pytest.approx(0.01)


def test_one_chunk_is_always_imagined(kit):
    world = kit.DiscWorld(clock=kit.FakeClock(), seconds_per_frame=1.0)
    found = run(kit, world, deadline_s=0.0)
    assert world.calls == [(8, 2)] and len(found.ranking) == 8


def test_time_for_scoring_is_kept_too(kit):
    clock = kit.FakeClock()

    def slow(some, rollout):
        clock.now += 0.5
        return np.zeros(len(some)), {}

    begin = clock.now
    found = run(kit, kit.DiscWorld(clock=clock, seconds_per_frame=0.001), deadline_s=1.3, score=slow)
    assert clock.now - begin <= 1.3
    assert found.score_s == pytest.approx(0.5 * len(found.rounds))


def test_a_longer_look_replaces_a_shorter_one_and_the_dropped_stand_behind(kit):
    def turned(some, rollout):
        # At 8 s low rows are better; later high rows are.
        rows = np.arange(len(some), dtype=float)
        return (rows if rollout.collision_NF.shape[1] == 16 else -rows), {}

    found = run(kit, kit.DiscWorld(), score=turned)
    # rounds: 0-7 -> keep 0-3; of these the high ones 2, 3 stay; between them 3 is better.
    assert list(found.rounds[-1].index_N) == [2, 3]
    assert list(found.ranking) == [3, 2, 1, 0, 4, 5, 6, 7]


def test_what_is_not_finite_is_dropped_and_counted_and_the_critics_never_see_it(kit):
    seen = []

    def watchful(some, rollout):
        seen.append(bool(torch.isfinite(rollout.clearance_NFK).all()))
        return np.arange(len(some), dtype=float), {}

    world = kit.DiscWorld(broken=(0, 5))
    found = run(kit, world, score=watchful)
    assert all(seen) and found.not_finite == 2
    assert 0 not in found.ranking and 5 not in found.ranking and len(found.ranking) == 6
    assert np.isinf(found.rounds[0].costs_N[[0, 5]]).all()


def test_what_breaks_late_is_not_trusted_for_its_beginning(kit):
    found = run(kit, kit.DiscWorld(broken=(1,), broken_from=20))
    assert found.not_finite == 1 and 1 not in found.ranking and 0 in found.ranking


def test_when_everything_breaks_there_is_no_ranking(kit):
    found = run(kit, kit.DiscWorld(broken=tuple(range(8))))
    assert len(found.ranking) == 0 and found.not_finite == 8 and len(found.rounds) == 1


@pytest.mark.parametrize(
    "bad", [dict(rounds_s=(8.0, 4.0)), dict(rounds_s=()), dict(keep_fraction=0.0), dict(piece_frames=3)]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        partial(HalvingSettings, **bad)()
