"""The building from above is the building that MuJoCo steps: the same ranges, the same distances."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.building import FAMILIES, draw_building
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.shapes import Shape, Shapes
from sana_wm_ros.simulation.simulator import BEARINGS_R, MAX_RANGE_M, RAY_HEIGHT_M, Simulator


@pytest.mark.parametrize("family", FAMILIES)
def test_ranges_equal_those_of_mujoco_everywhere_in_a_building(family: str) -> None:
    plan, rng = draw_building(1_000_007, family), np.random.default_rng(0)
    blocking = Shapes(solid.outline for solid in plan.solids if solid.blocks)
    seen = Shapes(solid.outline for solid in plan.solids if solid.spans(RAY_HEIGHT_M))
    whole = plan.bounds
    points_P2 = rng.uniform((whole.x0, whole.y0), (whole.x1, whole.y1), (400, 2))
    poses_P3 = np.column_stack([points_P2, rng.uniform(-4, 4, 400)])[blocking.distance(points_P2) > 0.05]
    assert len(poses_P3) > 200
    simulator = Simulator(plan, robot=Robot(), camera=Camera(), start_3=poses_P3[0], pictures=False)
    expected_PR = []
    for pose_3 in poses_P3:
        simulator.set_moment(0.0, pose_3, np.empty((len(plan.movers), 2)) + 99.0)
        expected_PR.append(simulator.ranges_R())
    found_PR = seen.ranges(poses_P3[:, :2], poses_P3[:, 2:] + BEARINGS_R, MAX_RANGE_M)
    off_PR = np.abs(found_PR - expected_PR)
    # A ray that grazes an edge may fall to either side of it; everywhere else they agree.
    assert (off_PR < 1e-3).mean() > 0.9995
    assert np.median(off_PR) < 1e-4


def test_ranges_worked_out_by_hand() -> None:
    box = Shape(kind="box", center=(3.0, 0.0), half=(1.0, 0.5))
    turned = Shape(kind="box", center=(0.0, 3.0), half=(0.5, 0.5), yaw=math.pi / 4)
    circle = Shape(kind="circle", center=(-2.0, 0.0), half=(0.5, 0.5))
    angles = [0.0, math.pi / 2, math.pi, -math.pi / 2, math.atan2(0.5, 2.0) + 0.01]
    found = Shapes([box, turned, circle]).ranges(np.zeros((1, 2)), np.array([angles]), 8.0)[0]
    # The box's near face is at x = 2; the turned one's corner at y = 3 - sqrt(.5); nothing below; just past a corner.
    np.testing.assert_allclose(found, [2.0, 3 - math.sqrt(0.5), 1.5, 8.0, 8.0], atol=1e-6)


def test_a_long_list_of_points_gives_what_each_gives_alone() -> None:
    shapes = Shapes(solid.outline for solid in draw_building(1_000_001).solids)
    rng = np.random.default_rng(1)
    points_P2, angles_PR = rng.uniform(0, 8, (700, 2)), rng.uniform(-3, 3, (700, 72))
    together = shapes.ranges(points_P2, angles_PR, MAX_RANGE_M)
    alone = [
        shapes.ranges(point_2[None], angles_R[None], MAX_RANGE_M)[0]
        for point_2, angles_R in zip(points_P2[::70], angles_PR[::70], strict=True)
    ]
    np.testing.assert_array_equal(together[::70], alone)


def test_an_empty_floor_is_free_as_far_as_one_looks() -> None:
    assert Shapes([]).distance(np.zeros((2, 2))).tolist() == [np.inf, np.inf]
    assert (Shapes([]).ranges(np.zeros((2, 2)), np.zeros((2, 3)), 5.0) == 5.0).all()
