"""Messages to arrays and back, for everything but pictures: odometry, camera_info, goals, commands, plans."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Pose, PoseStamped, Twist, TwistStamped
from nav_msgs.msg import OccupancyGrid, Odometry, Path
from sensor_msgs.msg import LaserScan

from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.planning.free_space import FreeSpace
from sana_wm_ros.planning.types import Goal, Plan


def seconds(stamp: Time) -> float:
    """A stamp in seconds."""
    return stamp.sec + stamp.nanosec * 1e-9


def to_duration(seconds_long: float) -> Duration:
    """Seconds, at least 0, as a message."""
    nanoseconds = round(seconds_long * 1e9)
    return Duration(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def to_stamp(time_s: float) -> Time:
    """Seconds as a stamp; negative times, which messages cannot hold, become zero."""
    nanoseconds = max(0, round(time_s * 1e9))
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def planar_motion(message: Odometry) -> tuple[float, FloatArray, FloatArray]:
    """Stamp (s), pose (x, y, yaw) in the odometry frame and twist (vx, vy, yaw rate) of the base.

    Raises ``ValueError`` for a quaternion that is no rotation. Values that are not finite pass: the
    buffer refuses and counts them.
    """
    twist = message.twist.twist
    twist_3 = np.array([twist.linear.x, twist.linear.y, twist.angular.z])
    return seconds(message.header.stamp), planar_pose(message.pose.pose), twist_3


def planar_pose(pose: Pose) -> FloatArray:
    """(x, y, yaw) of a pose; raises ``ValueError`` for a quaternion that is no rotation."""
    q = pose.orientation
    quaternion = (q.x, q.y, q.z, q.w)
    yaw = se3.yaw_from_quaternion(quaternion) if np.isfinite(quaternion).all() else float("nan")
    return np.array([pose.position.x, pose.position.y, yaw])


def goal_from_pose(pose: Pose, *, tolerance_m: float, match_heading: bool) -> Goal:
    """A goal in the frame that the pose is in; raises ``ValueError`` when it is not finite."""
    x, y, q = pose.position.x, pose.position.y, pose.orientation
    if not np.isfinite((x, y, q.x, q.y, q.z, q.w)).all():
        raise ValueError(f"goal ({x}, {y}) is not finite")
    heading = None
    if match_heading and any((q.x, q.y, q.z, q.w)):
        heading = se3.yaw_from_quaternion((q.x, q.y, q.z, q.w))
    return Goal(x_m=x, y_m=y, yaw_rad=heading, tolerance_m=tolerance_m)


def matrix_from_transform(transform: Any) -> FloatArray:
    """A geometry_msgs/Transform as a 4x4 matrix."""
    t, q = transform.translation, transform.rotation
    return se3.from_quaternion((t.x, t.y, t.z), (q.x, q.y, q.z, q.w))


def to_pose(pose_3: FloatArray) -> Pose:
    """A planar pose as a message."""
    message = Pose()
    message.position.x, message.position.y = float(pose_3[0]), float(pose_3[1])
    q = message.orientation
    q.x, q.y, q.z, q.w = (float(value) for value in se3.quaternion_from_yaw(float(pose_3[2])))
    return message


def to_twist(twist_3: FloatArray) -> Twist:
    """A planar twist as a message."""
    message = Twist()
    message.linear.x, message.linear.y = float(twist_3[0]), float(twist_3[1])
    message.angular.z = float(twist_3[2])
    return message


def planar_twist(command: tuple[float, float]) -> FloatArray:
    """(vx, vy, yaw rate) of a command (speed, yaw rate)."""
    return np.array([command[0], 0.0, command[1]])


def to_twist_stamped(twist_3: FloatArray, *, stamp: Time, frame_id: str) -> TwistStamped:
    """A planar twist of the base as a stamped message."""
    message = TwistStamped(twist=to_twist(twist_3))
    message.header.stamp, message.header.frame_id = stamp, frame_id
    return message


def to_path(plan: Plan, *, stamp: Time, frame_id: str) -> Path:
    """A plan's poses, each stamped with the time at which the robot should be there."""
    path = Path()
    path.header.stamp, path.header.frame_id = stamp, frame_id
    times = np.concatenate([[0.0], plan.times_F])
    poses = np.concatenate([plan.start.pose_3[None], plan.poses_F3])
    for time_s, pose_3 in zip(times, poses, strict=True):
        stop = PoseStamped(pose=to_pose(pose_3))
        stop.header.stamp = to_stamp(plan.start.time_s + float(time_s))
        stop.header.frame_id = frame_id
        path.poses.append(stop)
    return path


def to_scan(clearance_K: FloatArray, *, stamp: Time, frame_id: str, max_range_m: float) -> LaserScan:
    """Clearance by bearing sector as a scan around the base, one ray through each sector's middle."""
    step = 2 * np.pi / len(clearance_K)
    scan = LaserScan(
        angle_min=0.0,
        angle_max=float(step * (len(clearance_K) - 1)),
        angle_increment=float(step),
        range_min=0.0,
        range_max=float(max_range_m),
        ranges=[float(value) for value in clearance_K],
    )
    scan.header.stamp, scan.header.frame_id = stamp, frame_id
    return scan


def to_occupancy_grid(space: FreeSpace, *, stamp: Time, frame_id: str) -> OccupancyGrid:
    """What is known of the floor: 0 free to 100 blocked, -1 unknown; cells run along x first, as the message asks."""
    chance_CC, cell_m = space.chance(), space.settings.cell_m
    percent_CC = np.where(np.isnan(chance_CC), -1, np.rint(100 * np.nan_to_num(chance_CC))).astype(np.int8)
    grid = OccupancyGrid(data=array("b", percent_CC.T.tobytes()))
    grid.header.stamp, grid.header.frame_id = stamp, frame_id
    grid.info.map_load_time = stamp
    grid.info.resolution, grid.info.width, grid.info.height = cell_m, *percent_CC.shape
    grid.info.origin.position.x, grid.info.origin.position.y = (float(at) for at in cell_m * space.corner)
    grid.info.origin.orientation.w = 1.0
    return grid


def scan_points(message: LaserScan) -> FloatArray:
    """The returns of a scan as points (P, 2) in its own frame; rays without a return are left out."""
    ranges = np.asarray(message.ranges, dtype=np.float64)
    bearings = message.angle_min + message.angle_increment * np.arange(len(ranges))
    good = np.isfinite(ranges) & (ranges >= message.range_min) & (ranges <= message.range_max)
    return np.stack([ranges[good] * np.cos(bearings[good]), ranges[good] * np.sin(bearings[good])], axis=-1)
