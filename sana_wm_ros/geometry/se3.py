"""Rigid motions in space as 4x4 matrices, and their ways from and to planar poses and ROS quaternions.

``T_a_b`` maps coordinates in b to coordinates in a. ROS quaternions are (x, y, z, w); transforms3d, which
does the work, takes (w, x, y, z): only this module knows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from transforms3d import euler, quaternions

from sana_wm_ros.geometry.se2 import FloatArray


def from_planar(pose_3: ArrayLike) -> FloatArray:
    """Poses (x, y, yaw) of shape (..., 3) to matrices (..., 4, 4) in the plane z = 0."""
    pose = np.asarray(pose_3, dtype=np.float64)
    matrix = np.zeros((*pose.shape[:-1], 4, 4))
    cos, sin = np.cos(pose[..., 2]), np.sin(pose[..., 2])
    matrix[..., 0, 0], matrix[..., 0, 1] = cos, -sin
    matrix[..., 1, 0], matrix[..., 1, 1] = sin, cos
    matrix[..., 2, 2] = matrix[..., 3, 3] = 1.0
    matrix[..., :2, 3] = pose[..., :2]
    return matrix


def to_planar(matrix_44: ArrayLike) -> FloatArray:
    """Matrices (..., 4, 4) to (x, y, yaw): height, roll and pitch are dropped."""
    matrix = np.asarray(matrix_44, dtype=np.float64)
    yaw = np.arctan2(matrix[..., 1, 0], matrix[..., 0, 0])
    return np.stack([matrix[..., 0, 3], matrix[..., 1, 3], yaw], axis=-1)


def from_xyz_rpy(xyz_m: ArrayLike, rpy_rad: ArrayLike) -> FloatArray:
    """A matrix from a position and roll, pitch, yaw about fixed axes (REP-103, as in URDF)."""
    roll, pitch, yaw = np.asarray(rpy_rad, dtype=np.float64)
    return _assemble(euler.euler2mat(roll, pitch, yaw, axes="sxyz"), xyz_m)


def to_rpy(matrix_44: ArrayLike) -> tuple[float, float, float]:
    """Roll, pitch, yaw about fixed axes of a matrix's rotation: undoes ``from_xyz_rpy``."""
    roll, pitch, yaw = euler.mat2euler(np.asarray(matrix_44, dtype=np.float64)[:3, :3], axes="sxyz")
    return float(roll), float(pitch), float(yaw)


def from_quaternion(xyz_m: ArrayLike, xyzw: ArrayLike) -> FloatArray:
    """A matrix from a position and a ROS quaternion (x, y, z, w), normalised here.

    Raises ValueError for a quaternion that is not finite or has no length, as unfilled messages do.
    """
    return _assemble(quaternions.quat2mat(_wxyz(xyzw)), xyz_m)


def to_quaternion(matrix_44: ArrayLike) -> FloatArray:
    """The ROS quaternion (x, y, z, w) of a matrix's rotation, with w >= 0."""
    w, x, y, z = quaternions.mat2quat(np.asarray(matrix_44, dtype=np.float64)[:3, :3])
    return np.array([x, y, z, w])


def yaw_from_quaternion(xyzw: ArrayLike) -> float:
    """The heading of a ROS quaternion, roll and pitch dropped. Raises ValueError as ``from_quaternion``."""
    rotation = quaternions.quat2mat(_wxyz(xyzw))
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def quaternion_from_yaw(yaw_rad: float) -> FloatArray:
    """The ROS quaternion (x, y, z, w) of a turn about the vertical axis."""
    return np.array([0.0, 0.0, np.sin(yaw_rad / 2), np.cos(yaw_rad / 2)])


def inverse(matrix_44: ArrayLike) -> FloatArray:
    """The inverse of rigid motions (..., 4, 4), by transposing the rotation."""
    matrix = np.asarray(matrix_44, dtype=np.float64)
    rotation = np.swapaxes(matrix[..., :3, :3], -1, -2)
    result = np.zeros_like(matrix)
    result[..., :3, :3] = rotation
    result[..., :3, 3] = -(rotation @ matrix[..., :3, 3, None])[..., 0]
    result[..., 3, 3] = 1.0
    return result


def _assemble(rotation_33: ArrayLike, xyz_m: ArrayLike) -> FloatArray:
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_33
    matrix[:3, 3] = xyz_m
    return matrix


def _wxyz(xyzw: ArrayLike) -> FloatArray:
    x, y, z, w = np.asarray(xyzw, dtype=np.float64)
    length = np.sqrt(x * x + y * y + z * z + w * w)
    if not np.isfinite(length) or length < 1e-6:
        raise ValueError(f"quaternion (x={x}, y={y}, z={z}, w={w}) is no rotation: its length is zero")
    return np.array([w, x, y, z], dtype=np.float64) / float(length)
