"""Where the robot has been: poses in order, and what lies on them.

Dimension letters: P poses, M points of a way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from sana_wm_ros.planning.types import FloatArray

_APART_M = 0.1
_POINTS = 3000  # at least so many of the newest are kept
_TRODDEN_M, _SNAP_M = 0.12, 0.25
_CELL_M, _CELLS = 0.25, 2**16  # wider than twice _TRODDEN_M


class Trail:
    """Grows by a pose each tenth of a metre. Its search tree is built once after it grew, on the first question."""

    def __init__(self) -> None:
        self._poses_P3, self._count = np.zeros((2 * _POINTS, 3)), 0
        self._tree: KDTree | None = None
        self._near_C: NDArray[np.bool_] = np.zeros(_CELLS, dtype=np.bool_)

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
                self._near_C[:] = False
                self._mark(fresh[:count, :2])
            self._poses_P3[count] = pose_3
            self._mark(pose_3[None, :2])
            self._count = count + 1
            self._tree = None

    def carries(self, points_NF2: FloatArray) -> NDArray[np.bool_]:
        """Which points (N, F) lie on the trail, to a few centimetres: doorways leave no more to spare."""
        if not self._count:
            return np.zeros(points_NF2.shape[:-1], dtype=np.bool_)
        carried_NF = self._near_C[_cell(points_NF2)]
        maybe_M2 = points_NF2[carried_NF]
        if len(maybe_M2):
            # Nothing further off is looked for, which spares most of the search.
            away_M, _ = self._searchable().query(maybe_M2, distance_upper_bound=np.nextafter(_TRODDEN_M, 1.0))
            carried_NF[carried_NF] = away_M <= _TRODDEN_M
        return carried_NF

    def onto(self, ways: Sequence[FloatArray]) -> list[FloatArray]:
        """Ways (M, 2) that run beside the trail, moved onto it: the grid is coarser than a doorway leaves room."""
        if not self._count or not ways:
            return list(ways)
        points_M2 = np.concatenate(ways)
        away_M, nearest_M = self._searchable().query(
            points_M2, distance_upper_bound=np.nextafter(_SNAP_M, 1.0)
        )
        snaps_M = away_M <= _SNAP_M
        ends = np.cumsum([len(way) for way in ways])
        snaps_M[ends - 1] = snaps_M[ends - [len(way) for way in ways]] = False
        points_M2[snaps_M] = self._poses_P3[nearest_M[snaps_M], :2]
        return np.split(points_M2, ends[:-1])

    def _mark(self, points_P2: FloatArray) -> None:
        """Points in the cells around these may lie on them."""
        for corner in np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]):
            self._near_C[_cell(points_P2 + 1.01 * _TRODDEN_M * corner)] = True

    def _searchable(self) -> KDTree:
        if self._tree is None:
            self._tree = KDTree(self.poses_P3[:, :2])
        return self._tree


def _cell(points_2: FloatArray) -> NDArray[np.int64]:
    """Which of ``_CELLS`` a point (..., 2) falls into; far points may share one, which costs a search."""
    cell_2 = np.floor(points_2 / _CELL_M).astype(np.int64)
    return (cell_2[..., 0] * 251 + cell_2[..., 1]) % _CELLS
