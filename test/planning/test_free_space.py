"""What clearance says is free: walls stay walls, doors are found, and the unknown is worth a look."""

import numpy as np
import pytest

from sana_wm_ros.planning.free_space import FreeSpace, FreeSpaceSettings, _spread
from sana_wm_ros.planning.routes import Routes

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
    way = Routes(space).ways(np.zeros(2), np.array([4.0, 0.0]), 1, np.random.default_rng(0))[0]
    assert np.allclose(way[0], 0.0) and np.allclose(way[-1], [4.0, 0.0])
    assert world.distance(way).min() > 0.2
    crossing = way[np.argmin(np.abs(way[:, 0] - 2.0))]
    assert 1.3 < crossing[1] < 2.1


def test_ways_differ_and_the_cheapest_comes_first(kit):
    # A block in the way, free space on both sides of it.
    block = tuple((2.0, y, 0.3) for y in np.arange(-0.6, 0.61, 0.3))
    poses = np.array([[0, 0, 0], [1, 1.8, 0], [1, -1.8, 0], [3, 1.5, 0], [3, -1.5, 0]], dtype=float)
    _, space = seen(kit, discs=block, poses=poses)
    ways = Routes(space).ways(np.zeros(2), np.array([4.0, 0.0]), 3, np.random.default_rng(0))
    sides = {np.sign(way[np.argmin(np.abs(way[:, 0] - 2.0)), 1]) for way in ways}
    assert sides == {-1.0, 1.0}
    length = [np.hypot(*np.diff(way, axis=0).T).sum() for way in ways]
    assert length[0] < length[-1] + 0.5 and len(ways) <= 3


def test_the_same_seed_gives_the_same_ways(kit):
    _, space = seen(kit)
    make = lambda seed: Routes(space).ways(np.zeros(2), np.array([4.0, 0.0]), 2, np.random.default_rng(seed))  # noqa: E731
    assert all(np.array_equal(a, b) for a, b in zip(make(3), make(3), strict=True))


def test_an_opening_leads_through_the_door_into_the_unknown(kit):
    _, space = seen(kit, reach_m=2.5)
    ends = [way[-1] for way in Routes(space).openings(np.zeros(2), np.array([6.0, 1.7]), 2)]
    assert any(end[0] > 2.0 and 0.8 < end[1] < 2.6 for end in ends)


def test_where_the_robot_has_been_is_free_whatever_was_imagined(kit):
    _, space = seen(kit, discs=tuple((2.0, y, 0.1) for y in np.arange(-4.0, 4.01, 0.15)))
    trail = np.stack([np.linspace(0.0, 4.0, 41), np.full(41, -2.0)], axis=-1)
    space.add_trail(trail)
    way = Routes(space).ways(np.zeros(2), np.array([4.0, 0.0]), 1, np.random.default_rng(0))[0]
    assert abs(way[np.argmin(np.abs(way[:, 0] - 2.0)), 1] + 2.0) < 0.2


def test_evidence_moves_with_the_grid_and_fades(kit):
    _, space = seen(kit, forget_s=10.0)
    space.follow(np.array([3.0, 0.0]), 1.0)
    way = Routes(space).ways(np.zeros(2), np.array([4.0, 0.0]), 1, np.random.default_rng(0))[0]
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
    ways = Routes(space).ways(np.zeros(2), np.array(end), 3, np.random.default_rng(0))
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


def exact_scans(space, poses_P3, clearance_PK, weight_P):
    """The slow twin of ``add_scans``: every cell of the grid from the exact pose, one scan after the other."""
    options, size = space.settings, space.size
    free_CC, blocked_CC = np.zeros((size, size)), np.zeros((size, size))
    cells = (
        np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1) + space.corner + 0.5
    ) * 0.15
    for (x, y, yaw), clearance_K, weight in zip(poses_P3, clearance_PK, weight_P, strict=True):
        away = np.hypot(cells[..., 0] - x, cells[..., 1] - y)
        bearing = np.arctan2(cells[..., 1] - y, cells[..., 0] - x) - yaw
        limit = clearance_K[np.rint(bearing * len(clearance_K) / (2 * np.pi)).astype(int) % len(clearance_K)]
        within = away < options.reach_m
        free = within & (away < limit - 0.3 * 0.15)
        free_CC += weight * free
        blocked_CC += weight * (within & ~free & (away < limit + 0.15))
    return np.minimum(free_CC, 5.0), np.minimum(blocked_CC, 5.0)


@pytest.mark.parametrize(("rounded", "equal"), [(True, 0.9999), (False, 0.93)])
def test_stamped_scans_equal_exact_ones_from_places_rounded_to_a_quarter_of_a_cell(rounded, equal):
    random = np.random.default_rng(0)
    poses = np.stack([*random.uniform(-7.0, 7.0, (2, 30)), random.uniform(-9.0, 9.0, 30)], axis=-1)
    if rounded:
        poses[:, :2] = (np.floor(poses[:, :2] / 0.0375) + 0.5) * 0.0375
    clearance, weight = random.uniform(0.3, 6.0, (30, 24)), random.uniform(0.1, 1.0, 30)
    space = FreeSpace(0.2)
    space.follow(np.array([0.3, -0.4]), 0.0)
    space.add_scans(poses, clearance, weight)
    rows = _spread(poses, weight, 60, 0.4)
    free_CC, blocked_CC = exact_scans(space, poses[rows], clearance[rows], weight[rows])
    assert free_CC.max() > 3 and blocked_CC.max() > 1
    # From other places, cells differ that the rounding moves over an edge.
    assert np.mean(np.abs(space._free_CC - free_CC) < 1e-4) >= equal
    assert np.mean(np.abs(space._blocked_CC - blocked_CC) < 1e-4) >= equal
    assert space._free_CC.sum() == pytest.approx(free_CC.sum(), rel=0.01)
    assert space._blocked_CC.sum() == pytest.approx(blocked_CC.sum(), rel=0.03)


def wall_view(kit, *, camera_yaw=0.0, half_view=0.8, views=6, **settings):
    """Free space after the robot, at the origin, looked at a wall at x = 2 that fills its view; with that wall."""
    world = kit.DiscWorld(discs=tuple((2.1, y, 0.1) for y in np.arange(-4.0, 4.01, 0.1)))
    space = FreeSpace(0.2, FreeSpaceSettings(**settings))
    space.follow(np.zeros(2), 0.0)
    pose = np.array([0.0, 0.0, -camera_yaw])
    fine = (np.arange(24 * 5) - 2) * 2 * np.pi / (24 * 5)
    clearance = world.ranges(pose[None], fine).reshape(24, 5).min(axis=-1)
    for _ in range(views):
        space.add_view(pose, clearance, camera_yaw, half_view)
    return space


def at(space, mask, x, y):
    cell = np.floor(np.array([x, y]) / space.settings.cell_m).astype(int) - space.corner
    return mask[tuple(cell)]


@pytest.mark.parametrize("camera_yaw", [0.0, 1.2, -3.0])
def test_what_the_camera_sees_is_free_up_to_the_wall_and_blocked_there(kit, camera_yaw):
    space = wall_view(kit, camera_yaw=camera_yaw)
    free, blocked = space.masks()
    assert at(space, free, 0.8, 0.0) and at(space, free, 0.8, 0.5)
    assert at(space, blocked, 2.0, 0.0) and at(space, blocked, 2.05, 0.9)
    # Nothing is known of what lies behind it, nor of what lies beside the view.
    for x, y in ((3.2, 0.0), (-0.8, 0.0), (0.1, 1.5)):
        assert not at(space, free, x, y) and not at(space, blocked, x, y)


def test_a_wall_that_was_seen_stands_however_free_it_is_imagined(kit):
    space = wall_view(kit, views=20)
    poses = np.array([[x, 0.0, 0.0] for x in np.arange(0.0, 4.0, 0.5)])
    space.add_scans(poses, np.full((8, 24), 4.0), np.ones(8))
    _, blocked = space.masks()
    assert at(space, blocked, 2.0, 0.0)
    assert at(space, space.masks()[0], 3.5, 0.0), "behind it, imagination is all there is"


def test_where_the_robot_would_touch_what_was_seen_is_barred(kit):
    space = wall_view(kit, views=30)
    seen_free, (near, wall, free, behind, off) = space.seen(
        np.array([[1.85, 0.0], [2.0, 0.0], [0.8, 0.0], [3.5, 0.0], [90.0, 0.0]])
    )
    # At two metres, looking on makes nothing surer than log odds of 3 * (1.6 / 2)^2.
    assert wall == pytest.approx(np.tanh(0.5 * 1.92) ** 2, rel=1e-3) and near > 0.3
    assert free == behind == off == 0.0
    assert seen_free.tolist() == [False, False, True, False, False]


def test_what_was_seen_fades_slowly_and_moves_with_the_grid(kit):
    space = wall_view(kit, views=10, forget_seen_s=100.0)
    before = at(space, space._seen_CC, 2.0, 0.0)
    space.follow(np.array([3.0, 0.0]), 50.0)
    assert at(space, space._seen_CC, 2.0, 0.0) == pytest.approx(before * np.exp(-0.5), rel=1e-5)


def test_a_view_from_beyond_the_grid_or_not_finite_changes_nothing(kit):
    space = wall_view(kit)
    before = space._seen_CC.copy()
    for pose in ([900.0, 0.0, 0.0], [np.nan, 0.0, 0.0]):
        space.add_view(np.array(pose), np.full(24, 3.0), 0.0, 0.8)
    assert np.array_equal(space._seen_CC, before)


def test_bumps_outweigh_what_was_seen_and_the_trail_outweighs_walls(kit):
    space = wall_view(kit, views=20)
    space.add_bumps(np.array([[0.8, 0.0]]))
    space.add_trail(np.array([[2.0, 1.0]]))
    free, blocked = space.masks()
    assert at(space, blocked, 0.8, 0.0) and at(space, free, 2.0, 1.0)
    assert at(space, space.price(), 2.0, 1.0) == 1.0 < at(space, space.price(), 0.8, 1.5)
