"""What clearance says is free: walls stay walls, doors are found, and the unknown is worth a look."""

import numpy as np
import pytest

from sana_wm_ros.planning.free_space import FreeSpace, FreeSpaceSettings

# A wall at x = 2, of overlapping discs, with a door from y = 1.2 to y = 2.2.
WALL = tuple((2.0, y, 0.1) for y in np.arange(-4.0, 4.01, 0.15) if not 1.1 < y < 2.3)
SEEN_FROM = np.array([[0.0, 0.0, 0.3], [0.5, 1.5, -1.0], [1.2, 1.7, 2.0], [1.2, -1.0, 0.0], [1.0, 3.0, 0.0]])


def seen(kit, discs=WALL, poses=SEEN_FROM, radius=0.2, **settings):
    """Free space as a model would see it that knows the truth, sectors of 15 degrees, from a few poses."""
    world = kit.DiscWorld(discs=discs)
    space = FreeSpace(radius, FreeSpaceSettings(**settings))
    space.follow(np.zeros(2), 0.0)
    fine = (np.arange(24 * 5) - 2) * 2 * np.pi / (24 * 5)
    clearance = world.ranges(poses, fine).reshape(len(poses), 24, 5).min(axis=-1)
    space.add_scans(poses, clearance, np.ones(len(poses)))
    return world, space


def test_a_way_goes_through_the_door_and_keeps_clear_of_the_wall(kit):
    world, space = seen(kit)
    way = space.ways(np.zeros(2), np.array([4.0, 0.0]), 1, np.random.default_rng(0))[0]
    assert np.allclose(way[0], 0.0) and np.allclose(way[-1], [4.0, 0.0])
    assert world.distance(way).min() > 0.2
    crossing = way[np.argmin(np.abs(way[:, 0] - 2.0))]
    assert 1.3 < crossing[1] < 2.1


def test_ways_differ_and_the_cheapest_comes_first(kit):
    # A block in the way, free space on both sides of it.
    block = tuple((2.0, y, 0.3) for y in np.arange(-0.6, 0.61, 0.3))
    poses = np.array([[0, 0, 0], [1, 1.8, 0], [1, -1.8, 0], [3, 1.5, 0], [3, -1.5, 0]], dtype=float)
    _, space = seen(kit, discs=block, poses=poses)
    ways = space.ways(np.zeros(2), np.array([4.0, 0.0]), 3, np.random.default_rng(0))
    sides = {np.sign(way[np.argmin(np.abs(way[:, 0] - 2.0)), 1]) for way in ways}
    assert sides == {-1.0, 1.0}
    length = [np.hypot(*np.diff(way, axis=0).T).sum() for way in ways]
    assert length[0] < length[-1] + 0.5 and len(ways) <= 3


def test_the_same_seed_gives_the_same_ways(kit):
    _, space = seen(kit)
    make = lambda seed: space.ways(np.zeros(2), np.array([4.0, 0.0]), 2, np.random.default_rng(seed))  # noqa: E731
    assert all(np.array_equal(a, b) for a, b in zip(make(3), make(3), strict=True))


def test_an_opening_leads_through_the_door_into_the_unknown(kit):
    _, space = seen(kit, reach_m=2.5)
    ends = [way[-1] for way in space.openings(np.zeros(2), np.array([6.0, 1.7]), 2)]
    assert any(end[0] > 2.0 and 0.8 < end[1] < 2.6 for end in ends)


def test_where_the_robot_has_been_is_free_whatever_was_imagined(kit):
    _, space = seen(kit, discs=tuple((2.0, y, 0.1) for y in np.arange(-4.0, 4.01, 0.15)))
    trail = np.stack([np.linspace(0.0, 4.0, 41), np.full(41, -2.0)], axis=-1)
    space.add_trail(trail)
    way = space.ways(np.zeros(2), np.array([4.0, 0.0]), 1, np.random.default_rng(0))[0]
    assert abs(way[np.argmin(np.abs(way[:, 0] - 2.0)), 1] + 2.0) < 0.2


def test_evidence_moves_with_the_grid_and_fades(kit):
    _, space = seen(kit, forget_s=10.0)
    space.follow(np.array([3.0, 0.0]), 1.0)
    way = space.ways(np.zeros(2), np.array([4.0, 0.0]), 1, np.random.default_rng(0))[0]
    assert 1.2 < way[np.argmin(np.abs(way[:, 0] - 2.0)), 1] < 2.2
    space.follow(np.array([3.0, 0.0]), 100.0)
    free, blocked = space.masks()
    assert not free.any() and not blocked.any()


def test_a_clock_that_jumps_back_forgets_everything(kit):
    _, space = seen(kit)
    space.follow(np.zeros(2), -5.0)
    assert not space.masks()[1].any()


@pytest.mark.parametrize("end", [[500.0, -300.0], [0.0, 0.0]])
def test_ends_beyond_the_grid_or_right_here_are_fine(kit, end):
    _, space = seen(kit)
    ways = space.ways(np.zeros(2), np.array(end), 3, np.random.default_rng(0))
    assert ways and all(np.isfinite(way).all() and np.allclose(way[-1], end) for way in ways)


def test_what_is_not_finite_is_left_out(kit):
    _, space = seen(kit)
    before = space.masks()[0].sum()
    space.add_scans(np.full((1, 3), np.nan), np.full((1, 24), 3.0), np.ones(1))
    space.add_scans(np.ones((1, 3)), np.full((1, 24), 3.0), np.zeros(1))
    assert space.masks()[0].sum() == before


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="cell_m"):
        FreeSpaceSettings(cell_m=0.0)
