"""Odometry, camera_info, goals, commands and plans keep their meaning on the way through messages."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Pose
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, LaserScan

from sana_wm_ros.nodes import conversions
from sana_wm_ros.planning.free_space import FreeSpace, FreeSpaceSettings
from sana_wm_ros.planning.types import Plan, RobotState
from sana_wm_ros.world_model.lens import Lens, Rectifier


def test_stamps_survive_to_a_microsecond() -> None:
    stamp = conversions.to_stamp(1486800000.123456)
    assert stamp.sec == 1486800000
    assert conversions.seconds(stamp) == pytest.approx(1486800000.123456, abs=1e-6)
    assert conversions.to_stamp(-3.0).sec == 0


def test_odometry_becomes_planar_pose_and_twist() -> None:
    message = Odometry()
    message.header.stamp = conversions.to_stamp(12.5)
    message.pose.pose.position.x, message.pose.pose.position.y = 1.0, 2.0
    message.pose.pose.orientation.z = math.sin(0.4)
    message.pose.pose.orientation.w = math.cos(0.4)
    message.twist.twist.linear.x, message.twist.twist.angular.z = 0.5, -0.25
    stamp_s, pose_3, twist_3 = conversions.planar_motion(message)
    assert stamp_s == 12.5
    np.testing.assert_allclose(pose_3, [1.0, 2.0, 0.8])
    np.testing.assert_allclose(twist_3, [0.5, 0.0, -0.25])


def test_an_unfilled_quaternion_is_refused_and_a_nan_one_passes_on() -> None:
    message = Odometry()
    message.pose.pose.orientation.w = 0.0
    with pytest.raises(ValueError, match="quaternion"):
        conversions.planar_motion(message)
    message.pose.pose.orientation.w = math.nan
    assert math.isnan(conversions.planar_motion(message)[1][2])


def test_a_goal_keeps_its_heading_only_when_asked() -> None:
    pose = Pose()
    pose.position.x = 3.0
    pose.orientation.z, pose.orientation.w = math.sin(0.5), math.cos(0.5)
    loose = conversions.goal_from_pose(pose, tolerance_m=0.3, match_heading=False)
    tight = conversions.goal_from_pose(pose, tolerance_m=0.3, match_heading=True)
    assert loose.yaw_rad is None
    assert tight.yaw_rad == pytest.approx(1.0)
    pose.position.y = math.inf
    with pytest.raises(ValueError, match="not finite"):
        conversions.goal_from_pose(pose, tolerance_m=0.3, match_heading=False)


def test_a_plan_becomes_a_path_that_starts_at_the_robot_and_is_stamped_ahead() -> None:
    start = RobotState(time_s=100.0, pose_3=np.array([1.0, 0.0, 0.0]), twist_3=np.zeros(3))
    plan = Plan(
        start=start,
        times_F=np.array([0.5, 1.0]),
        poses_F3=np.array([[1.3, 0.0, 0.0], [1.6, 0.1, 0.2]]),
        twists_F3=np.zeros((2, 3)),
        cost=1.0,
        valid_until_s=103.0,
        origin="arc",
    )
    path = conversions.to_path(plan, stamp=conversions.to_stamp(100.2), frame_id="odom")
    assert [pose.pose.position.x for pose in path.poses] == [1.0, 1.3, 1.6]
    assert conversions.seconds(path.poses[2].header.stamp) == pytest.approx(101.0)
    assert path.header.frame_id == path.poses[0].header.frame_id == "odom"


def test_clearance_sectors_become_rays_counter_clockwise_from_ahead() -> None:
    scan = conversions.to_scan(
        np.array([1.0, 2.0, 3.0, 4.0]), stamp=conversions.to_stamp(1.0), frame_id="base_link", max_range_m=8.0
    )
    points = conversions.scan_points(scan)
    np.testing.assert_allclose(points, [[1, 0], [0, 2], [-3, 0], [0, -4]], atol=1e-6)


def test_rays_without_a_return_are_left_out() -> None:
    scan = LaserScan(
        angle_increment=0.1, range_min=0.2, range_max=5.0, ranges=[math.inf, 0.1, 6.0, math.nan, 2.0]
    )
    assert conversions.scan_points(scan).shape == (1, 2)


def info(model: str, coefficients: list[float]) -> CameraInfo:
    message = CameraInfo(width=200, height=120, distortion_model=model, d=coefficients)
    message.k = [100.0, 0.0, 99.5, 0.0, 100.0, 59.5, 0.0, 0.0, 1.0]
    message.p = [90.0, 0.0, 98.0, 0.0, 0.0, 91.0, 58.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def test_a_lens_without_distortion_leaves_pictures_alone() -> None:
    lens = Lens.from_camera_info(info("plumb_bob", [0.0] * 5), rectified=False)
    picture = np.zeros((120, 200, 3), np.uint8)
    assert lens.kind == "none"
    assert Rectifier(lens).apply(picture) is picture
    assert (lens.pinhole.fx, lens.pinhole.cx) == (100.0, 99.5)


def test_rectified_pictures_are_described_by_the_projection_matrix() -> None:
    lens = Lens.from_camera_info(info("plumb_bob", [-0.3, 0.1, 0.0, 0.0, 0.0]), rectified=True)
    assert lens.kind == "none"
    assert (lens.pinhole.fx, lens.pinhole.fy, lens.pinhole.cx, lens.pinhole.cy) == (90.0, 91.0, 98.0, 58.0)


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("plumb_bob", [-0.2, 0.05, 0.001, -0.001, 0.0]),
        ("rational_polynomial", [-0.2, 0.05, 0.0, 0.0, 0.01, 0.1, 0.02, 0.0]),
        ("equidistant", [0.05, -0.01, 0.0, 0.0]),
    ],
)
@pytest.mark.parametrize("scale", [1, 2])
def test_undistortion_puts_a_mark_where_a_pinhole_would_see_it(
    model: str, coefficients: list[float], scale: int
) -> None:
    message = info(model, coefficients)
    lens = Lens.from_camera_info(message, rectified=False)
    ray = np.array([[[0.5, 0.3, 1.0]]])
    matrix = np.array(message.k).reshape(3, 3)
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    seen, _ = project(ray, np.zeros(3), np.zeros(3), matrix, np.array(coefficients))
    u, v = (seen.ravel() + 0.5) * scale - 0.5
    picture = np.zeros((120 * scale, 200 * scale, 3), np.uint8)
    cv2.circle(picture, (round(u), round(v)), 3, (255, 255, 255), -1)
    straight = Rectifier(lens).apply(picture)
    rows, columns = np.nonzero(straight[..., 0] > 128)
    expected_u, expected_v = (99.5 + 50.0 + 0.5) * scale - 0.5, (59.5 + 30.0 + 0.5) * scale - 0.5
    assert columns.mean() == pytest.approx(expected_u, abs=1.2)
    assert rows.mean() == pytest.approx(expected_v, abs=1.2)


def test_camera_info_that_cannot_be_used_says_why() -> None:
    uncalibrated = info("plumb_bob", [])
    uncalibrated.k = [0.0] * 9
    with pytest.raises(ValueError, match="uncalibrated"):
        Lens.from_camera_info(uncalibrated, rectified=False)
    with pytest.raises(ValueError, match="distortion model 'kannala'"):
        Lens.from_camera_info(info("kannala", [0.1] * 4), rectified=False)


def test_free_space_as_an_occupancy_grid_runs_along_x_first() -> None:
    space = FreeSpace(0.2, FreeSpaceSettings(cell_m=0.25, half_width_m=2.0))
    space.follow(np.array([1.0, -3.0]), 0.0)
    space.add_trail(np.array([[1.1, -2.9]]))
    space.add_bumps(np.array([[1.9, -2.9]]))
    grid = conversions.to_occupancy_grid(space, stamp=conversions.to_stamp(7.0), frame_id="odom")
    cells = np.array(grid.data).reshape(grid.info.height, grid.info.width)
    assert (grid.info.width, grid.info.height, grid.info.resolution) == (18, 18, 0.25)

    def at(x_m: float, y_m: float) -> int:
        origin = grid.info.origin.position
        return int(cells[int((y_m - origin.y) / 0.25), int((x_m - origin.x) / 0.25)])

    # Log odds of -4.05 and 3.1, imagination included: chances of .017 and .957.
    assert (at(1.1, -2.9), at(1.9, -2.9), at(1.1, -1.4)) == (2, 96, -1)
    assert (grid.header.frame_id, grid.header.stamp.sec) == ("odom", 7)
