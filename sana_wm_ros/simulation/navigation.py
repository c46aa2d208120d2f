"""Find ways through a floor plan: a grid of free space, and shortest paths that prefer the middle."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree

from sana_wm_ros.simulation.floor_plan import FloorPlan, distance_to_solids

FloatArray = NDArray[np.float64]
CELL_M = 0.12
_COMFORT_M = 0.6
"""Beyond this distance from everything, a path is not pushed further away."""


class Navigator:
    """Shortest paths for a disc of radius ``clearance_m`` over the building's free cells."""

    def __init__(self, plan: FloorPlan, clearance_m: float, *, ignore_furniture: bool = False) -> None:
        solids = plan.solids
        if ignore_furniture:
            solids = tuple(solid for solid in solids if solid.kind != "furniture")
        bounds = plan.bounds
        xs = np.arange(bounds.x0 + CELL_M / 2, bounds.x1, CELL_M)
        ys = np.arange(bounds.y0 + CELL_M / 2, bounds.y1, CELL_M)
        grid_x, grid_y = np.meshgrid(xs, ys, indexing="ij")
        points_P2 = np.stack([grid_x.ravel(), grid_y.ravel()], axis=1)
        distance_P = distance_to_solids(points_P2, solids)
        index_XY = np.full(grid_x.shape, -1)
        free_P = distance_P >= clearance_m
        index_XY.ravel()[free_P] = np.arange(int(free_P.sum()))
        self.cells_P2 = points_P2[free_P]
        self.distance_P = distance_P[free_P]
        self._tree = KDTree(self.cells_P2)
        self._graph = _graph(index_XY, self.distance_P)

    def nearest(self, x: float, y: float) -> int:
        """The free cell nearest to a point."""
        return int(self.nearest_cells(np.array([[x, y]]))[0])

    def nearest_cells(self, points_Q2: FloatArray) -> NDArray[np.int64]:
        """The free cells (Q,) nearest to points."""
        return np.asarray(self._tree.query(points_Q2)[1])

    def search(self, x: float, y: float) -> Reachable:
        """Shortest ways from a point to everywhere."""
        start = self.nearest(x, y)
        cost_P, before_P = dijkstra(self._graph, indices=start, return_predecessors=True)
        return Reachable(cells_P2=self.cells_P2, cost_P=cost_P, before_P=before_P, start=start)


class Reachable:
    """What one search found: the cost of every cell and the way there."""

    def __init__(
        self, *, cells_P2: FloatArray, cost_P: FloatArray, before_P: NDArray[np.int32], start: int
    ) -> None:
        self._cells_P2, self.cost_P, self._before_P, self._start = cells_P2, cost_P, before_P, start

    def path_to(self, cell: int) -> FloatArray:
        """Points from the start to a cell, smoothed, shape (points, 2)."""
        if not np.isfinite(self.cost_P[cell]):
            raise ValueError(f"cell {cell} cannot be reached")
        way = [cell]
        while way[-1] != self._start:
            way.append(int(self._before_P[way[-1]]))
        points_P2 = self._cells_P2[way[::-1]]
        if len(points_P2) < 3:
            return points_P2
        padded_P2 = np.concatenate([points_P2[:1], points_P2[:1], points_P2, points_P2[-1:], points_P2[-1:]])
        return np.stack([np.convolve(padded_P2[:, i], np.full(5, 0.2), mode="valid") for i in (0, 1)], axis=1)


def _graph(index_XY: NDArray[np.int64], distance_P: FloatArray) -> coo_array:
    """Eight-connected cells; a step costs its length, and more near things."""
    price_P = 1.0 + 3.0 * np.maximum(0.0, 1.0 - distance_P / _COMFORT_M)
    rows, columns, costs = [], [], []
    width, depth = index_XY.shape
    for dx, dy in ((1, 0), (0, 1), (1, 1), (1, -1)):
        here = index_XY[: width - dx, max(0, -dy) : depth - max(0, dy)].ravel()
        there = index_XY[dx:, max(0, dy) : depth - max(0, -dy)].ravel()
        both = (here >= 0) & (there >= 0)
        a, b = here[both], there[both]
        rows.append(a)
        columns.append(b)
        costs.append(CELL_M * np.hypot(dx, dy) * (price_P[a] + price_P[b]) / 2)
    row, column, cost = (np.concatenate(part) for part in (rows, columns, costs))
    both_ways = (np.concatenate([cost, cost]), (np.r_[row, column], np.r_[column, row]))
    return coo_array(both_ways, shape=(len(distance_P),) * 2).tocsr()
