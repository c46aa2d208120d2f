"""What fills a building: furniture that is known again, movers that keep to the floor, light that changes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.building import FAMILIES, draw_building
from sana_wm_ros.simulation.drive import DriveConfig, draw_scene
from sana_wm_ros.simulation.floor_plan import distance_to_solids
from sana_wm_ros.simulation.light import Light, draw_light
from sana_wm_ros.simulation.movers import Movers
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.simulator import Simulator

SEEDS = range(1_000_000, 1_000_012)


@pytest.mark.parametrize("seed", SEEDS)
def test_movers_walk_where_there_is_room_and_in_real_time(seed: int) -> None:
    plan = draw_building(seed, "varied")
    for mover in plan.movers:
        track_P3 = np.array(mover.track_P3)
        times = np.arange(0.0, mover.period_s, 0.1)
        places_T2 = np.stack([np.interp(times, track_P3[:, 0], track_P3[:, axis]) for axis in (1, 2)], axis=1)
        assert distance_to_solids(places_T2, plan.solids).min() > mover.radius_m
        assert np.hypot(*np.diff(places_T2, axis=0).T).max() < 0.08  # below 0.8 m/s
        assert 0.0 <= mover.begin_s <= mover.period_s
        assert not mover.closed or mover.track_P3[0][1:] == pytest.approx(mover.track_P3[-1][1:])


def test_buildings_have_none_to_three_movers_and_varied_ones_more() -> None:
    counts = {family: [len(draw_building(seed, family).movers) for seed in range(40)] for family in FAMILIES}
    assert 0 in counts["lab"] and set(counts["varied"]) == {0, 1, 2, 3}
    assert np.mean(counts["varied"]) > np.mean(counts["lab"]) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_no_drive_begins_beside_a_mover(seed: int) -> None:
    scene = draw_scene(seed, DriveConfig(family="varied"))
    places_M2 = Movers(scene.plan.movers).places(Movers(scene.plan.movers).begin())
    assert (np.hypot(*(places_M2 - scene.start_3[:2]).T) > 1.0).all()


def test_decoration_is_neither_touched_nor_scanned() -> None:
    scene = draw_scene(1_000_001, DriveConfig(family="varied"))
    plan = replace(scene.plan, movers=())
    bare = replace(plan, solids=tuple(solid for solid in plan.solids if solid.kind != "decor"))
    assert len(bare.solids) < len(plan.solids)
    rng, scans = np.random.default_rng(0), []
    poses = [scene.ways.draw_start(rng) for _ in range(20)]
    for each in (plan, bare):
        simulator = Simulator(each, robot=Robot(), camera=Camera(), start_3=poses[0], pictures=False)
        ranges = []
        for pose_3 in poses:
            simulator.place(pose_3)
            ranges.append(simulator.ranges_R())
        scans.append(ranges)
    np.testing.assert_array_equal(scans[0], scans[1])


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("family", FAMILIES)
def test_rooms_can_be_told_apart_by_what_is_seen_in_them(family: str) -> None:
    plan = draw_building(1_000_002, family)
    views = []
    with Simulator(plan, robot=Robot(), camera=Camera(), start_3=np.zeros(3)) as simulator:
        for room in plan.rooms:
            for yaw in (0.0, np.pi / 2, np.pi, -np.pi / 2):
                simulator.set_moment(0.0, np.array([*room.center, yaw]), np.full((len(plan.movers), 2), 99.0))
                views.append(simulator.look().astype(float))
    apart = [np.abs(a - b).mean() for a, b in itertools.combinations(views, 2)]
    assert min(apart) > 8.0 and np.median(apart) > 40.0


def test_light_is_dimmed_as_it_says() -> None:
    clouds = Light(change="clouds", depth=0.4, period_s=20.0)
    switch = replace(clouds, change="switch")
    # Clouds: full at 0 s, all of the depth at half a period. Switch: off in the middle half of the period.
    assert [clouds.brightness(t) for t in (0.0, 5.0, 10.0, 20.0)] == pytest.approx([1.0, 0.8, 0.6, 1.0])
    assert [switch.brightness(t) for t in (1.0, 9.0, 11.0, 19.0)] == pytest.approx([1.0, 0.6, 0.6, 1.0])
    assert Light().brightness(123.0) == 1.0


@pytest.mark.parametrize("family", FAMILIES)
def test_some_lights_change_and_some_do_not(family: str) -> None:
    rng = np.random.default_rng(0)
    kinds = [draw_light(family, rng).change for _ in range(60)]
    assert set(kinds) == {"steady", "clouds", "switch"}


@pytest.mark.usefixtures("pictures")
def test_a_switched_lamp_darkens_the_picture() -> None:
    plan = replace(
        draw_building(1_000_003), light=Light(change="switch", depth=0.4, period_s=20.0), movers=()
    )
    start_3 = draw_scene(1_000_003, DriveConfig()).start_3
    with Simulator(plan, robot=Robot(), camera=Camera(), start_3=start_3) as simulator:
        bright = simulator.look().astype(float)
        simulator.hold((0.0, 0.0), 10.0)
        dark = simulator.look().astype(float)
    assert dark.mean() / bright.mean() == pytest.approx(0.6, abs=0.03)
