"""Ranges of a real scanner as points around the robot, and how near a moving disc comes to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What a scanner saw: points (M, 2) in metres in ``odom``."""

    points_M2: FloatArray

    @staticmethod
    def from_ranges(
        ranges_M: ArrayLike,
        angles_M: ArrayLike,
        *,
        base_pose_3: ArrayLike,
        max_range_m: float = np.inf,
        base_scanner_3: ArrayLike = (0.0, 0.0, 0.0),
    ) -> Scan:
        """Points from ranges and bearings, seen by a scanner mounted at ``base_scanner_3`` on the base.

        Ranges that are not finite, not positive or not below ``max_range_m`` saw nothing (REP-117).
        """
        ranges, angles = np.asarray(ranges_M, dtype=np.float64), np.asarray(angles_M, dtype=np.float64)
        if ranges.ndim != 1 or ranges.shape != angles.shape:
            raise ValueError(
                f"expected as many ranges as angles, got shapes {ranges.shape} and {angles.shape}"
            )
        hit = np.isfinite(ranges) & (ranges > 0) & (ranges < max_range_m)
        ranges, angles = ranges[hit], angles[hit]
        along = np.stack([ranges * np.cos(angles), ranges * np.sin(angles), np.zeros_like(angles)], axis=-1)
        scanner = se2.compose(base_pose_3, base_scanner_3)
        return Scan(points_M2=se2.compose(scanner, along)[:, :2])

    def distances(self, poses_P3: ArrayLike) -> FloatArray:
        """Distance (P,) from the centre of each pose to the nearest point; inf without points."""
        centres = np.asarray(poses_P3, dtype=np.float64)[:, None, :2]
        if len(self.points_M2) == 0:
            return np.full(len(centres), np.inf)
        return np.linalg.norm(centres - self.points_M2[None], axis=-1).min(axis=1)


def first_contact(distances_P: FloatArray, now_m: float, radius_m: float) -> int | None:
    """The first pose at which a disc touches something and is nearer to it than it is now, or None.

    A robot whose disc already reaches over a point (a bumper, a wall it scraped) may still drive away.
    """
    touching = (distances_P < radius_m) & (distances_P < now_m - 1e-3)
    return int(np.argmax(touching)) if touching.any() else None
