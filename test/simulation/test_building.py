"""Buildings: connected, passable, distinct, and the same for the same seed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sana_wm_ros.simulation.building import FAMILIES, draw_building
from sana_wm_ros.simulation.floor_plan import Solid, distance_to_solids
from sana_wm_ros.simulation.layout import all_joined
from sana_wm_ros.simulation.navigation import Navigator

SEEDS = range(1_000_000, 1_000_012)


def test_same_seed_same_building_and_another_seed_another() -> None:
    assert draw_building(1_000_000) == draw_building(1_000_000)
    assert draw_building(1_000_000) != draw_building(1_000_001)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_room_can_be_driven_to(seed: int) -> None:
    plan = draw_building(seed)
    assert 4 <= len(plan.rooms) <= 9
    assert all_joined(plan.rooms, plan.doors)
    navigator = Navigator(plan, 0.3)
    found = navigator.search(*navigator.cells_P2[0])
    reached = {
        plan.room_of(*cell)
        for cell, cost in zip(navigator.cells_P2, found.cost_P, strict=True)
        if np.isfinite(cost)
    }
    assert reached >= set(range(len(plan.rooms)))


@pytest.mark.parametrize("seed", SEEDS)
def test_rooms_tile_the_building_without_overlap(seed: int) -> None:
    plan = draw_building(seed)
    assert sum(room.area for room in plan.rooms) == pytest.approx(plan.bounds.area)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_walls_of_a_room_have_different_colours(seed: int) -> None:
    plan = draw_building(seed)
    for room in plan.rooms:
        colours = {
            solid.rgb
            for solid in plan.solids
            if solid.kind == "wall" and room.contains(*solid.center[:2], margin=0.0)
        }
        assert len(colours) == 4
        pairs = [(a, b) for a in colours for b in colours if a < b]
        assert all(math.dist(a, b) > 0.25 for a, b in pairs)


def test_distance_to_solids_equals_distances_worked_out_by_hand() -> None:
    box = Solid(shape="box", center=(0.0, 0.0, 0.5), half=(1.0, 0.5, 0.5), rgb=(0, 0, 0), yaw=math.pi / 2)
    column = Solid(shape="cylinder", center=(5.0, 0.0, 0.5), half=(0.5, 0.5, 0.5), rgb=(0, 0, 0))
    lintel = Solid(shape="box", center=(9.0, 0.0, 2.2), half=(1.0, 1.0, 0.2), rgb=(0, 0, 0))
    points_P2 = np.array([[1.5, 0.0], [0.0, 3.0], [0.0, 0.0], [5.0, 2.0], [9.0, 0.0], [0.8, 1.4]])
    # the turned box spans x +-0.5, y +-1; one passes below the lintel; the last: corner (.5, 1) plus (.3, .4)
    expected_P = [1.0, 2.0, -0.5, 1.5, 3.5, 0.5]
    np.testing.assert_allclose(distance_to_solids(points_P2, (box, column, lintel)), expected_P, atol=1e-9)


def test_paths_keep_their_distance_and_lead_to_the_goal() -> None:
    plan = draw_building(1_000_003)
    navigator = Navigator(plan, 0.3)
    found = navigator.search(*navigator.cells_P2[0])
    goal = int(np.argmax(np.where(np.isfinite(found.cost_P), found.cost_P, -1)))
    path_P2 = found.path_to(goal)
    np.testing.assert_allclose(path_P2[-1], navigator.cells_P2[goal], atol=0.13)
    # smoothing may cut a corner by less than a cell
    assert distance_to_solids(path_P2, plan.solids).min() > 0.22


def test_unknown_family_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match=FAMILIES[0]):
        draw_building(0, "castle")
    with pytest.raises(ValueError, match="from 0 on"):
        draw_building(-1)
