"""Routes on blocks against the search on single cells, which takes five times as long."""

import itertools

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from sana_wm_ros.planning.free_space import FreeSpace
from sana_wm_ros.planning.routes import Routes

BLOCKED = 80.0


def cheapest(price_CC, start, end):
    """The slow twin: the least price of a way over single cells, eight-connected; in cells."""
    size = len(price_CC)
    index, edges = np.arange(size * size).reshape(size, size), []
    for x, y in ((1, 0), (0, 1), (1, 1), (1, -1)):
        a = index[: size - x, max(0, -y) : size - max(0, y)].ravel()
        edges.append((a, a + x * size + y, np.full(len(a), np.hypot(x, y))))
    a, b, length = (np.concatenate([edge[i] for edge in edges]) for i in range(3))
    cost = 0.5 * length * (price_CC.ravel()[a] + price_CC.ravel()[b])
    graph = coo_array((np.tile(cost, 2), (np.r_[a, b], np.r_[b, a])), shape=(size * size,) * 2).tocsr()
    return float(dijkstra(graph, indices=index[tuple(start)])[index[tuple(end)]])


def paid(price_CC, space, way_M2):
    """The price of a way, in cells, sampled five times per cell; and the share of it that is blocked."""
    cell = space.settings.cell_m
    fine = np.concatenate(
        [
            a + np.linspace(0, 1, max(2, int(5 * np.hypot(*(b - a)) / cell)))[:-1, None] * (b - a)
            for a, b in itertools.pairwise(way_M2)
        ]
    )
    at = np.floor(fine / cell).astype(int) - space.corner
    steps = np.hypot(*np.diff(np.concatenate([fine, way_M2[-1:]]), axis=0).T) / cell
    prices = price_CC[at[:, 0], at[:, 1]]
    return float((steps * prices).sum()), float(steps[prices >= BLOCKED].sum())


def floor(seed, tilt):
    """Free space with walls of one blocked cell at an angle, each with a doorway of 5 to 7 cells (0.75 to 1 m)."""
    random = np.random.default_rng(seed)
    space = FreeSpace(0.2)
    space.follow(np.zeros(2), 0.0)
    space._seen_CC[:] = -4.0
    size = space.size
    for x_m in (-5.0, -1.0, 3.0):
        door = random.uniform(-5.0, 5.0)
        for t in np.arange(-14.0, 14.0, 0.05):
            if abs(t - door) > 0.5 * 0.15 * random.integers(5, 8):
                xy = np.array([x_m + t * np.sin(tilt), t * np.cos(tilt)])
                x, y = np.floor(xy / 0.15).astype(int) - space.corner
                if 0 <= x < size and 0 <= y < size:
                    space._seen_CC[x, y] = 3.0
    space.changes += 1
    return space


@pytest.mark.parametrize("tilt", [0.0, 0.2, 0.5, -0.7854])
@pytest.mark.parametrize("seed", range(4))
def test_a_way_over_blocks_costs_little_more_than_the_cheapest_over_cells(seed, tilt):
    space = floor(seed, tilt)
    start, end = np.array([-7.5, -0.4]), np.array([7.3, 0.7])
    price = space.price()
    at = [np.floor(xy / 0.15).astype(int) - space.corner for xy in (start, end)]
    least = cheapest(price, *at)
    routes = Routes(space)
    way = routes.ways(start, end, 1, Even())[0]
    cost, through_walls = paid(price, space, way)
    assert through_walls <= 1.0, "cells, where a corner of a doorway is cut"
    assert cost < 1.3 * least


class Even:
    """A generator that shuffles nothing."""

    def uniform(self, low, high, size):
        return np.ones(size)


def test_a_wall_without_a_doorway_is_only_crossed_at_its_price():
    space = FreeSpace(0.2)
    space.follow(np.zeros(2), 0.0)
    space._free_CC[:] = 1.0
    for x in (60, 61):  # on and off the blocks' raster
        space._blocked_CC[:], space._free_CC[:] = 0.0, 1.0
        space._blocked_CC[x], space._free_CC[x] = 1.0, 0.0
        space.changes += 1
        routes = Routes(space)
        routes.ways(np.array([-3.0, 0.0]), np.array([3.0, 0.0]), 1, Even())
        away, _ = routes._from_start
        # Three cells of 0.15 m at a price of 40, one on either side being nearer to the wall than the radius.
        assert away[routes._block(np.array([3.0, 0.0]))] > 3 * 0.15 * BLOCKED


def test_what_was_searched_is_kept_until_the_space_changes(monkeypatch):
    space = floor(0, 0.0)
    routes, searches = Routes(space), []
    original = routes._graph.search
    monkeypatch.setattr(routes._graph, "search", lambda start: searches.append(start) or original(start))
    start, end = np.array([-7.0, 0.0]), np.array([7.0, 0.0])
    routes.ways(start, end, 3, np.random.default_rng(0))
    routes.openings(start, end, 3)
    assert len(searches) == 2  # from the start and from the end
    space.add_trail(np.array([[0.0, 0.0]]))
    routes.openings(start, end, 3)
    assert len(searches) == 3


def test_the_way_left_leads_around_a_wall():
    """Behind a wall of 6 m with free floor on all sides, one metre from the goal as the crow flies."""
    space = FreeSpace(0.2)
    space.follow(np.zeros(2), 0.0)
    space._free_CC[:] = 1.0
    walls = [np.array([0.0, y]) for y in np.arange(-3.0, 3.0, 0.05)]
    cells = np.floor(np.array(walls) / 0.15).astype(int) - space.corner
    space._free_CC[cells[:, 0], cells[:, 1]], space._blocked_CC[cells[:, 0], cells[:, 1]] = 0.0, 1.0
    space.changes += 1
    left = Routes(space).way_left(np.array([0.5, 0.0]))
    assert left is not None
    behind, beside, far_off = left.at(np.array([[-0.5, 0.0], [1.5, 0.0], [-50.0, 0.0]]))
    assert 6.0 < behind < 10.0, "around an end: 3 m out, 3 m back, and metres beside the wall cost more"
    assert beside == 1.0 < behind, "on this side nothing is in the way: the straight line"
    assert np.isfinite(far_off), "beyond the grid what its rim has is taken"
    nearer = left.at(np.array([[-0.5, 0.0], [-0.5, 2.0], [-0.3, 3.6]]))
    assert (np.diff(nearer) < 0).all(), "it falls on the way to the wall's end"


def test_nothing_is_known_of_the_way_left_before_anything_was_seen():
    assert Routes(FreeSpace(0.2)).way_left(np.zeros(2)) is None
