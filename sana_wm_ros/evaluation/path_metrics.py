"""How far planned paths lie from what was driven, and how they would feel. ``docs/metrics.md`` has the sources.

Dimension letters: N candidates, F points of a path, T samples. Poses are (x, y, yaw), twists (vx, vy, yaw rate).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.geometry.se2 import wrap_angle


def displacement(poses_NF3: ArrayLike, driven_F3: ArrayLike) -> Floats:
    """Distance in metres of every point from where the robot was at that time, (..., F)."""
    offset = (
        np.asarray(poses_NF3, dtype=np.float64)[..., :2] - np.asarray(driven_F3, dtype=np.float64)[..., :2]
    )
    return np.asarray(np.hypot(offset[..., 0], offset[..., 1]))


def average_displacement(poses_NF3: ArrayLike, driven_F3: ArrayLike) -> Floats:
    """ADE: mean distance over the path, (...)."""
    return np.asarray(displacement(poses_NF3, driven_F3).mean(axis=-1))


def final_displacement(poses_NF3: ArrayLike, driven_F3: ArrayLike) -> Floats:
    """FDE: distance at the path's end, (...)."""
    return displacement(poses_NF3, driven_F3)[..., -1]


def heading_error(poses_NF3: ArrayLike, driven_F3: ArrayLike) -> Floats:
    """Mean absolute difference of heading over the path in radians, (...)."""
    turn = np.asarray(poses_NF3, dtype=np.float64)[..., 2] - np.asarray(driven_F3, dtype=np.float64)[..., 2]
    return np.asarray(np.abs(wrap_angle(turn)).mean(axis=-1))


@dataclass(frozen=True, kw_only=True)
class Comfort:
    """95th percentiles of absolute values: acceleration (m/s^2), jerk (m/s^3) and yaw rate (rad/s)."""

    acceleration_mps2: float
    jerk_mps3: float
    yaw_rate_radps: float


def comfort(times_T: ArrayLike, twists_T3: ArrayLike, *, window_s: float = 0.5) -> Comfort | None:
    """Comfort of a motion from its twists, averaged over windows so that sensor noise is no jerk.

    Differences of the means of following windows over their distance in time; None for less than three windows.
    Acceleration is that of the speed vector in the robot's frame with the centripetal part v times yaw rate.
    """
    times, twists = np.asarray(times_T, dtype=np.float64), np.asarray(twists_T3, dtype=np.float64)
    if len(times) < 2:
        return None
    window = np.floor((times - times[0]) / window_s + 1e-9).astype(np.int64)
    _, start = np.unique(window, return_index=True)
    sizes = np.diff([*start, len(times)])
    mean_W3 = np.add.reduceat(twists, start, axis=0) / sizes[:, None]
    time_W = np.add.reduceat(times, start) / sizes
    if len(time_W) < 3:
        return None
    step_W = np.diff(time_W)
    between_W3 = 0.5 * (mean_W3[1:] + mean_W3[:-1])
    along = np.diff(mean_W3[:, 0]) / step_W - between_W3[:, 2] * between_W3[:, 1]
    aside = np.diff(mean_W3[:, 1]) / step_W + between_W3[:, 2] * between_W3[:, 0]
    acceleration_W2 = np.stack([along, aside], axis=-1)
    jerk_W2 = np.diff(acceleration_W2, axis=0) / (0.5 * (step_W[1:] + step_W[:-1]))[:, None]
    return Comfort(
        acceleration_mps2=_p95(np.linalg.norm(acceleration_W2, axis=-1)),
        jerk_mps3=_p95(np.linalg.norm(jerk_W2, axis=-1)),
        yaw_rate_radps=_p95(np.abs(mean_W3[:, 2])),
    )


def _p95(values: Floats) -> float:
    return float(np.percentile(values, 95))
