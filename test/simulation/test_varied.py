"""The family ``varied``: buildings dressed with textures that change their looks and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.building import draw_building
from sana_wm_ros.simulation.drive import DriveConfig, draw_scene
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.patterns import PATTERNS, Texture, paint
from sana_wm_ros.simulation.recorder import record_episode
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.simulator import Simulator

SEED = 1_000_000


def undressed(plan: FloorPlan) -> FloorPlan:
    plain = tuple(replace(solid, texture=None) for solid in plan.solids)
    return replace(plan, solids=plain, textures=(), floor_textures=())


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_texture_is_drawn_the_same_each_time_and_is_not_plain(pattern: str) -> None:
    texture = Texture(name="t", pattern=pattern, colours=((0.8, 0.2, 0.2), (0.1, 0.1, 0.4)), repeat=1, seed=5)
    picture = paint(texture)
    np.testing.assert_array_equal(picture, paint(texture))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 1


def test_every_panel_is_a_poster_and_most_walls_have_a_pattern() -> None:
    plan = draw_building(SEED, "varied")
    panels = [solid for solid in plan.solids if solid.kind == "panel"]
    walls = [solid for solid in plan.solids if solid.kind == "wall"]
    patterns = {texture.name: texture.pattern for texture in plan.textures}
    assert panels and all(patterns[str(panel.texture)] == "poster" for panel in panels)
    assert sum(wall.texture is not None for wall in walls) > len(walls) / 2
    assert len(plan.floor_textures) == len(plan.rooms)


def test_textures_move_no_wall() -> None:
    plan = draw_building(SEED, "varied")
    start_3 = draw_scene(SEED, DriveConfig(family="varied")).start_3
    ranges = [
        Simulator(each, robot=Robot(), camera=Camera(), start_3=start_3, pictures=False).ranges_R()
        for each in (plan, undressed(plan))
    ]
    np.testing.assert_allclose(ranges[0], ranges[1], atol=1e-6)


@pytest.mark.usefixtures("pictures")
def test_a_dressed_building_looks_different_from_a_plain_one() -> None:
    plan = draw_building(SEED, "varied")
    start_3 = draw_scene(SEED, DriveConfig(family="varied")).start_3
    edges = []
    for each in (plan, undressed(plan)):
        with Simulator(each, robot=Robot(), camera=Camera(), start_3=start_3) as simulator:
            edges.append(np.abs(np.diff(simulator.look().astype(int), axis=1)).mean())
    assert edges[0] > 1.2 * edges[1]


@pytest.mark.usefixtures("pictures")
def test_varied_drives_are_the_same_for_the_same_seed() -> None:
    config = DriveConfig(family="varied", seconds=2.0)
    first, second = record_episode(SEED, config), record_episode(SEED, config)
    assert first.family == "varied"
    np.testing.assert_array_equal(first.frames_THWC, second.frames_THWC)
