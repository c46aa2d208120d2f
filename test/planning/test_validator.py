"""Every way in which a plan may be wrong is found and named."""

import numpy as np
import pytest

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.planning.validator import ValidatorSettings, invalid

STRAIGHT = np.array([[0.4, 0.0, 0.0]] * 8)
SETTINGS = ValidatorSettings(check_s=2.0, margin_m=0.02)


def check(kit, twists=STRAIGHT, poses=None, start=None, **options):
    start = start or kit.state()
    poses = se2.integrate(start.pose_3, twists, 0.5) if poses is None else poses
    return invalid(Robot(), start, poses, twists, 0.5, SETTINGS, **options)


def wall(x, y=0.0):
    return Scan(points_M2=np.array([[x, y]]))


def test_a_good_way_is_good(kit):
    assert check(kit) is None
    assert check(kit, scan=wall(5.0), clearance_FK=np.full((8, 24), 8.0)) is None


def test_what_is_not_finite(kit):
    poses = se2.integrate(np.zeros(3), STRAIGHT, 0.5)
    poses[3, 1] = np.nan
    assert "not finite" in check(kit, poses=poses)
    assert "not finite" in check(kit, twists=np.full((8, 3), np.inf), poses=np.zeros((8, 3)))


def test_too_fast_and_too_sudden(kit):
    assert "forward velocity 0.800" in check(kit, twists=STRAIGHT * 2)
    backwards = STRAIGHT.copy()
    backwards[4, 0] = -0.2
    assert "acceleration 1.200 at 2.0 s" in check(kit, twists=backwards)


def test_the_first_change_counts_from_what_the_robot_does_now(kit):
    assert "acceleration 1.200 at 0.0 s" in check(kit, start=kit.state(v=-0.2))


def test_a_way_that_starts_elsewhere(kit):
    poses = se2.integrate(np.array([0.0, 0.15, 0.0]), STRAIGHT, 0.5)
    assert "starts 0.15 m from the robot" in check(kit, poses=poses)
    poses = se2.integrate(np.array([0.0, 0.0, 0.3]), STRAIGHT, 0.5)
    assert "starts turned 0.30 rad" in check(kit, poses=poses)


def test_poses_that_do_not_follow_from_the_commands(kit):
    poses = se2.integrate(np.zeros(3), STRAIGHT, 0.5)
    poses[5:, 0] += 0.5
    assert "do not follow from its commands at 3.0 s" in check(kit, poses=poses)


def test_something_that_the_scan_sees_on_the_way(kit):
    # 0.8 m in the two seconds that are looked at, radius and margin 0.22: 1 m ahead is met, 1.05 m is not.
    assert "the scan sees something" in check(kit, scan=wall(1.0))
    assert check(kit, scan=wall(1.05)) is None
    assert check(kit, scan=wall(0.4, 0.25)) is None


def test_between_two_poses_too(kit):
    # A peg beside the middle of a 0.2 m step, nearer to the way than to its ends.
    at = wall(0.1, 0.2195)
    assert "the scan sees something" in check(kit, scan=at)


def test_a_robot_that_touches_a_wall_may_drive_away_and_stand_but_not_on(kit):
    assert check(kit, scan=wall(-0.15)) is None
    assert check(kit, scan=wall(0.15), twists=np.zeros((8, 3))) is None
    assert "scan" in check(kit, scan=wall(0.15))


def test_what_is_imagined_right_ahead(kit):
    clearance = np.full((8, 24), 8.0)
    clearance[1, 0] = 0.21
    assert "imagines only 0.21 m free ahead at 1.0 s" in check(kit, clearance_FK=clearance)
    clearance[1, 0], clearance[1, 23] = 8.0, 0.21  # the neighbouring sector
    assert "imagines" in check(kit, clearance_FK=clearance)
    clearance[1, 23], clearance[1, 12] = 8.0, 0.21  # behind
    assert check(kit, clearance_FK=clearance) is None
    clearance[1, 12], clearance[7, 0] = 8.0, 0.21  # later than the first seconds
    assert check(kit, clearance_FK=clearance) is None


def test_imagination_may_be_left_to_the_critics(kit):
    settings = ValidatorSettings(trust_imagination=False)
    poses = se2.integrate(np.zeros(3), STRAIGHT, 0.5)
    assert (
        invalid(Robot(), kit.state(), poses, STRAIGHT, 0.5, settings, clearance_FK=np.zeros((8, 24))) is None
    )


def test_ranges_become_points_where_the_scanner_sits():
    # The base at (1, 2) looks along y; the scanner sits 0.1 m ahead of it; 2 m ahead of that is (1, 4.1).
    scan = Scan.from_ranges(
        [2.0, np.inf, np.nan, 0.0, 9.0],
        np.zeros(5),
        base_pose_3=[1.0, 2.0, np.pi / 2],
        base_scanner_3=[0.1, 0.0, 0.0],
        max_range_m=8.0,
    )
    assert scan.points_M2 == pytest.approx(np.array([[1.0, 4.1]]))
    assert Scan.from_ranges([], [], base_pose_3=[0, 0, 0]).distances([[0, 0, 0]]) == pytest.approx([np.inf])
    with pytest.raises(ValueError, match="as many ranges as angles"):
        Scan.from_ranges([1.0], [0.0, 1.0], base_pose_3=[0, 0, 0])
