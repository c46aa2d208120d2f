"""What the planner keeps: a trail in order, places once each, and nothing after a jump."""

import numpy as np
import pytest
import torch

from sana_wm_ros.planning.memory import Memory
from sana_wm_ros.planning.types import Goal


def along_x(*xs):
    return np.array([[x, 0.0, 0.0] for x in xs])


def test_the_trail_keeps_poses_a_tenth_of_a_metre_apart():
    memory = Memory(0.2)
    memory.been(along_x(0.0, 0.04, 0.08, 0.12, 0.2, 0.25))
    assert memory.trail_P3[:, 0].tolist() == [0.0, 0.12, 0.25]


def test_a_clock_or_a_pose_that_jumps_clears_everything(kit):
    memory = Memory(0.2)
    for time_s, x in ((0.0, 0.0), (1.0, 0.5)):
        memory.arrive(kit.state(x=x, time_s=time_s))
    assert len(memory.trail_P3) == 2
    memory.arrive(kit.state(x=50.0, time_s=2.0))
    assert memory.trail_P3[:, 0].tolist() == [50.0]
    memory.arrive(kit.state(x=50.5, time_s=1.0))
    assert memory.trail_P3[:, 0].tolist() == [50.5]


def test_places_are_kept_where_plans_were_made_and_only_once(kit):
    memory = Memory(0.2)
    for x in (0.0, 0.1, 1.0):
        start = kit.state(x=x, time_s=x)
        memory.arrive(start)
        futures = kit.futures(np.zeros((1, 4, 3)), start=start)
        stop = type(futures.candidates)(**{**vars(futures.candidates), "origins": ("stop",)})
        memory.imagined(
            type(futures)(**{k: v for k, v in vars(futures).items() if k != "shared"} | {"candidates": stop})
        )
    assert memory.visited_ME.shape == (2, 2) and torch.equal(memory.visited_ME, torch.ones(2, 2))


def test_before_anything_was_imagined_there_is_nothing_to_propose():
    memory, random = Memory(0.2), np.random.default_rng(0)
    assert memory.ways(np.zeros(3), Goal(x_m=1.0, y_m=0.0), 3, random) == [] and memory.visited_ME is None
    assert memory.openings(np.zeros(3), None, 3) == []


def stopped(kit, moves_mps, *, x, time_s=1.0):
    """A robot that was to drive along x at 0.5 m/s since time 0, and is at x."""
    plan = kit.plan_from([[0.5, 0.0, 0.0]] * 8, kit.state())
    memory = Memory(0.2)
    start = kit.state(x=x, time_s=time_s, v=moves_mps)
    memory.tried(start, plan)
    memory.arrive(start)
    return memory


def test_a_robot_that_stands_though_it_was_to_move_met_something_ahead(kit):
    assert stopped(kit, 0.0, x=0.1).bumps_B2 == pytest.approx(np.array([[0.3, 0.0]]))
    assert len(stopped(kit, 0.4, x=0.1).bumps_B2) == 0, "late, but moving"
    assert len(stopped(kit, 0.0, x=0.5).bumps_B2) == 0, "where it was to be"
    assert len(stopped(kit, 0.0, x=0.1, time_s=9.0).bumps_B2) == 0, "the plan is over"


def test_bumps_are_blocked_for_a_minute(kit):
    memory = stopped(kit, 0.0, x=0.1)
    _, blocked = memory.free_space.masks()
    assert blocked.sum() == 1
    memory.arrive(kit.state(x=0.1, time_s=60.0))
    assert len(memory.bumps_B2) == 1
    memory.arrive(kit.state(x=0.1, time_s=62.0))
    assert len(memory.bumps_B2) == 0


def test_ways_run_on_the_trail_where_it_is_free(kit):
    memory, strict = Memory(0.2), Memory(0.2, trail_is_free=False)
    poses, found = np.array([[[1.0, 0.1, 0.0], [1.0, 0.14, 0.0]]]), []
    for one in (memory, strict):
        one.been(along_x(*np.arange(0.0, 4.0, 0.125)))
        one.arrive(kit.state(x=4.0))
        found += one.ways(np.zeros(3), Goal(x_m=4.0, y_m=0.0), 1, np.random.default_rng(0))
    assert memory.trodden(poses).tolist() == [[True, False]] and not strict.trodden(poses).any()
    assert np.abs(found[0][:, 1]).max() == 0.0 < np.abs(found[1][:, 1]).max()


def test_what_is_imagined_to_be_touched_is_blocked_however_free_it_looks(kit):
    # One way ahead touches something at x = 0.6 to 0.8 for sure; clearance sees 8 m everywhere.
    memory, start = Memory(0.2), kit.state()
    collision = np.array([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
    futures = kit.futures(np.tile([0.4, 0.0, 0.0], (1, 6, 1)), collision=collision, start=start)
    memory.arrive(start)
    memory.imagined(futures)
    _, blocked = memory.free_space.masks()
    assert blocked.sum() >= 9
    cell = (
        np.floor(np.array([0.9, 0.0]) / memory.free_space.settings.cell_m).astype(int)
        - memory.free_space.corner
    )
    assert blocked[tuple(cell)], "where the disc's front is at the first contact"


def test_a_view_counts_again_only_from_elsewhere(kit):
    memory, free = Memory(0.2), np.full(24, 3.0)

    def sure():
        cell = np.floor(np.array([1.0, 0.0]) / 0.15).astype(int) - memory.free_space.corner
        return memory.free_space._seen_CC[tuple(cell)]

    memory.view(np.zeros(3), 0.0, free, 0.0, 0.8)
    first = sure()
    memory.view(np.array([0.1, 0.0, 0.1]), 1.0, free, 0.0, 0.8)
    assert first < 0 and sure() == first, "hardly moved"
    memory.view(np.array([0.1, 0.0, 0.3]), 2.0, free, 0.0, 0.8)
    assert sure() < 1.5 * first, "turned"


def test_a_plan_between_two_pictures_or_a_late_picture_clears_nothing(kit):
    memory = Memory(0.2)
    memory.view(np.zeros(3), 10.0, np.full(24, 3.0), 0.0, 0.8)
    memory.arrive(kit.state(time_s=10.9))
    memory.view(np.array([0.5, 0.0, 0.0]), 10.5, np.full(24, 3.0), 0.0, 0.8)
    assert memory.free_space.masks()[0].sum() > 20
    memory.view(np.zeros(3), 3.0, np.full(24, 0.1), 0.0, 0.8)
    assert not memory.free_space.masks()[0].any(), "a clock that went back clears it all"


def test_the_trail_is_never_barred(kit):
    memory = Memory(0.2)
    for k in range(20):
        memory.view(np.array([0.0, 0.0, 0.3 * (k % 2)]), float(k), np.full(24, 1.0), 0.0, 0.8)
    poses = np.array([[[1.0, 0.0, 0.0]]])
    assert memory.known(poses)[1][0, 0] > 0.5
    memory.been(along_x(*np.arange(0.0, 2.0, 0.1)))
    free, barred = memory.known(poses)
    assert free[0, 0] == 1.0 and barred[0, 0] == 0.0
    beside = np.array([[[0.4, 0.2, 0.0], [0.4, 3.0, 0.0]]])
    assert memory.known(beside)[0].tolist() == [[0.75, 0.0]]
