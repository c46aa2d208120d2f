"""Planar rigid motions: poses (x, y, yaw), twists (vx, vy, yaw rate), and the exact arcs between them.

All functions work on the last axis of arrays of any shape (..., 3), in float64, metres, seconds and
radians; yaw comes back wrapped to (-pi, pi]. Twists are in the moving frame (REP-103: x forward, y left).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def wrap_angle(angle_rad: ArrayLike) -> FloatArray:
    """The same angle in (-pi, pi]."""
    angle = np.asarray(angle_rad, dtype=np.float64)
    return np.pi - np.mod(np.pi - angle, 2 * np.pi)


def compose(first_3: ArrayLike, second_3: ArrayLike) -> FloatArray:
    """The pose reached by going ``second`` from ``first`` (T_ac = T_ab T_bc); shapes broadcast."""
    first, second = _poses(first_3), _poses(second_3)
    turned = _rotate(second[..., :2], first[..., 2])
    yaw = wrap_angle(first[..., 2] + second[..., 2])
    return np.concatenate([first[..., :2] + turned, yaw[..., None]], axis=-1)


def inverse(pose_3: ArrayLike) -> FloatArray:
    """The pose that undoes ``pose``: ``compose(pose, inverse(pose))`` is zero."""
    pose = _poses(pose_3)
    back = _rotate(-pose[..., :2], -pose[..., 2])
    return np.concatenate([back, wrap_angle(-pose[..., 2])[..., None]], axis=-1)


def between(origin_3: ArrayLike, pose_3: ArrayLike) -> FloatArray:
    """``pose`` as seen from ``origin``: ``compose(origin, between(origin, pose))`` is ``pose``."""
    origin, pose = np.broadcast_arrays(_poses(origin_3), _poses(pose_3))
    offset = _rotate(pose[..., :2] - origin[..., :2], -origin[..., 2])
    return np.concatenate([offset, wrap_angle(pose[..., 2] - origin[..., 2])[..., None]], axis=-1)


def exp(twist_3: ArrayLike, duration_s: ArrayLike = 1.0) -> FloatArray:
    """Where a constant twist leads within ``duration_s``: the exact arc, straight lines included.

    With theta = w t: x = vx t sin(theta)/theta - vy t (1 - cos(theta))/theta, and y likewise
    (the exponential of se(2)). Written with sinc, so that small turns lose no digits.
    """
    twist, duration = _poses(twist_3), np.asarray(duration_s, dtype=np.float64)
    step = twist * duration[..., None]
    theta = step[..., 2]
    along = np.sinc(theta / np.pi)
    aside = 0.5 * theta * np.sinc(0.5 * theta / np.pi) ** 2
    x = along * step[..., 0] - aside * step[..., 1]
    y = aside * step[..., 0] + along * step[..., 1]
    return np.stack([x, y, wrap_angle(theta)], axis=-1)


def log(pose_3: ArrayLike) -> FloatArray:
    """The constant twist that leads to ``pose`` in one second by the shorter turn: undoes ``exp``."""
    pose = _poses(pose_3)
    half = 0.5 * wrap_angle(pose[..., 2])
    cotangent = np.cos(half) / np.sinc(half / np.pi)
    vx = cotangent * pose[..., 0] + half * pose[..., 1]
    vy = -half * pose[..., 0] + cotangent * pose[..., 1]
    return np.stack([vx, vy, 2 * half], axis=-1)


def integrate(start_3: ArrayLike, twists_F3: ArrayLike, period_s: float) -> FloatArray:
    """Poses at the end of each step of a sequence of twists, each held for ``period_s``.

    start_3 has shape (..., 3), twists (..., F, 3); the answer has the shape of the twists. Exact.
    """
    start, twists = _poses(start_3), _poses(twists_F3)
    steps = exp(twists, period_s)
    turned = np.cumsum(twists[..., 2] * period_s, axis=-1)
    yaw_after = start[..., 2, None] + turned
    yaw_before = yaw_after - twists[..., 2] * period_s
    xy = start[..., None, :2] + np.cumsum(_rotate(steps[..., :2], yaw_before), axis=-2)
    return np.concatenate([xy, wrap_angle(yaw_after)[..., None]], axis=-1)


def _rotate(vector_2: FloatArray, yaw_rad: FloatArray) -> FloatArray:
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    x, y = vector_2[..., 0], vector_2[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def _poses(values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != 3:
        raise ValueError(f"expected (x, y, yaw) or a twist on the last axis, got shape {array.shape}")
    return array
