"""Where the robot has been: poses in order, and what lies on them.

Dimension letters: P poses, M points of a way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from sana_wm_ros.planning.types import FloatArray

_APART_M = 0.1
_POINTS = 3000  # at least so many of the newest are kept
_TRODDEN_M, _SNAP_M = 0.08, 0.25


class Trail:
    """Grows by a pose each tenth of a metre. Its search tree is built once after it grew, on the first question."""

    def __init__(self) -> None:
        self._poses_P3, self._count = np.zeros((2 * _POINTS, 3)), 0
        self._tree: KDTree | None = None

    @property
    def poses_P3(self) -> FloatArray:
        """Poses (P, 3), the oldest first. A view that stays as it is while the trail grows."""
        return self._poses_P3[: self._count]

    def add(self, poses_P3: FloatArray) -> None:
        """The robot was at these poses, in order of time."""
        for pose_3 in poses_P3:
            count = self._count
            if count and np.hypot(*(pose_3[:2] - self._poses_P3[count - 1, :2])) < _APART_M:
                continue
            if count == len(self._poses_P3):  # the older half is forgotten
                fresh = np.zeros_like(self._poses_P3)
                fresh[:_POINTS] = self._poses_P3[_POINTS:]
                self._poses_P3, count = fresh, _POINTS
            self._poses_P3[count] = pose_3
            self._count = count + 1
            self._tree = None

    def carries(self, points_NF2: FloatArray) -> NDArray[np.bool_]:
        """Which points (N, F) lie on the trail, to a few centimetres: doorways leave no more to spare."""
        if not self._count:
            return np.zeros(points_NF2.shape[:-1], dtype=np.bool_)
        # Nothing further off is looked for, which spares most of the search.
        away, _ = self._searchable().query(points_NF2, distance_upper_bound=np.nextafter(_TRODDEN_M, 1.0))
        return np.asarray(away <= _TRODDEN_M)

    def onto(self, way_M2: FloatArray) -> FloatArray:
        """A way that runs beside the trail, moved onto it: the grid is coarser than a doorway leaves room."""
        if not self._count:
            return way_M2
        away_M, nearest_M = self._searchable().query(way_M2)
        moved = np.where((away_M <= _SNAP_M)[:, None], self._poses_P3[nearest_M, :2], way_M2)
        moved[0], moved[-1] = way_M2[0], way_M2[-1]
        return moved

    def _searchable(self) -> KDTree:
        if self._tree is None:
            self._tree = KDTree(self.poses_P3[:, :2])
        return self._tree
