"""What imagined clearance, and where the robot has been, say is free; and the ways and openings in it.

A grid in ``odom`` that collects evidence for free and for blocked cells over many plans. It proposes, nothing
more: every way is imagined and judged like any other candidate, so an error here costs a candidate.
Dimension letters: P poses, K bearing sectors, C cells, M points of a way.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from sana_wm_ros.planning.types import FloatArray

_TOUCHED_KEPT = np.float32(0.93)

Index = NDArray[np.int64]
Evidence = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FreeSpaceSettings:
    """cell_m, half_width_m: of the grid around the robot; reach_m: clearance is believed so far out;
    forget_s: evidence fades to 1/e in so long; scans: at most so many imagined scans are taken in per plan.

    Prices are per metre of way, relative to 1 where the robot has been: imagined to be free, unknown, blocked,
    and near_price on top beside blocked cells, down to nothing at comfort_m from them.
    """

    cell_m: float = 0.15
    half_width_m: float = 9.0
    reach_m: float = 4.0
    forget_s: float = 60.0
    scans: int = 60
    imagined_price: float = 1.5
    unknown_price: float = 3.0
    blocked_price: float = 40.0
    near_price: float = 3.0
    comfort_m: float = 0.6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} = {value} must be positive")


class FreeSpace:
    """The grid follows the robot; what leaves it is forgotten."""

    def __init__(self, radius_m: float, settings: FreeSpaceSettings | None = None) -> None:
        self.settings = settings or FreeSpaceSettings()
        self._radius_m = radius_m
        self._size = 2 * int(np.ceil(self.settings.half_width_m / self.settings.cell_m)) + 1
        self._free_CC: Evidence = np.zeros((self._size, self._size), dtype=np.float32)
        self._blocked_CC: Evidence = np.zeros_like(self._free_CC)
        self._touched_CC: Evidence = np.zeros_like(self._free_CC)
        self._trodden_CC = np.zeros(self._free_CC.shape, dtype=bool)
        self._corner: Index | None = None  # of cell (0, 0), in cells from odom's origin
        self._time_s = -np.inf
        self._graph = _Graph(self._size)
        self._from_start: tuple[FloatArray, Index] | None = None  # until the grid changes
        self._started = -1

    @property
    def empty(self) -> bool:
        """Whether nothing was taken in yet."""
        return self._corner is None

    def clear(self) -> None:
        """Forget everything."""
        self._from_start = None
        self._free_CC[:], self._blocked_CC[:] = 0.0, 0.0
        self._touched_CC[:], self._trodden_CC[:] = 0.0, False
        self._corner, self._time_s = None, -np.inf

    def follow(self, xy_2: FloatArray, time_s: float) -> None:
        """The robot is here now: move the grid along when it nears the rim, let old evidence fade."""
        self._from_start = None
        here = np.floor(np.asarray(xy_2) / self.settings.cell_m).astype(np.int64)
        corner = here - self._size // 2
        if self._corner is None or time_s < self._time_s:
            self.clear()
            self._corner, self._time_s = corner, time_s
            return
        fading = np.float32(np.exp(-(time_s - self._time_s) / self.settings.forget_s))
        self._free_CC *= fading
        self._blocked_CC *= fading
        self._time_s = time_s
        if np.abs(corner - self._corner).max() * self.settings.cell_m > 0.25 * self.settings.half_width_m:
            self._free_CC = _moved(self._free_CC, corner - self._corner)
            self._blocked_CC = _moved(self._blocked_CC, corner - self._corner)
            self._touched_CC = _moved(self._touched_CC, corner - self._corner)
            self._corner = corner

    def add_scans(self, poses_P3: FloatArray, clearance_PK: FloatArray, weight_P: FloatArray) -> None:
        """Take in clearances (metres from the centre, sector k around bearing 2 pi k / K) seen from poses.

        A sector is free up to its clearance; a thin arc at that distance may be blocked. Of scans from
        almost the same place, the one with the highest weight counts. Weights of 0 are left out.
        """
        assert self._corner is not None, "follow comes first"
        self._from_start = None
        rows = _spread(poses_P3, weight_P, self.settings.scans, 0.4)
        if len(rows) == 0:
            return
        cell, sectors = self.settings.cell_m, clearance_PK.shape[1]
        poses, clearance, weight = poses_P3[rows], clearance_PK[rows], weight_P[rows]
        middle = np.floor(poses[:, :2] / cell).astype(np.int64)
        reach = int(self.settings.reach_m / cell)
        window = np.arange(-reach, reach + 1)
        # Cells of a window around each pose, relative to the exact pose.
        x_PW = ((middle[:, :1] + window + 0.5) * cell - poses[:, :1]).astype(np.float32)
        y_PW = ((middle[:, 1:] + window + 0.5) * cell - poses[:, 1:2]).astype(np.float32)
        range_PWW = np.hypot(x_PW[:, :, None], y_PW[:, None, :])
        bearing_PWW = np.arctan2(y_PW[:, None, :], x_PW[:, :, None]) - poses[:, 2, None, None].astype(
            np.float32
        )
        sector_PWW = np.rint(bearing_PWW * (sectors / (2 * np.pi))).astype(np.int64) % sectors
        limit_PWW = np.take_along_axis(
            clearance.astype(np.float32)[:, None, :], sector_PWW.reshape(len(rows), 1, -1), axis=2
        ).reshape(sector_PWW.shape)
        within = range_PWW < self.settings.reach_m
        free = within & (range_PWW < limit_PWW - 0.3 * cell)
        blocked = within & ~free & (range_PWW < limit_PWW + cell)
        at_x = middle[:, 0, None, None] + window[:, None] - self._corner[0]
        at_y = middle[:, 1, None, None] + window[None, :] - self._corner[1]
        inside = (at_x >= 0) & (at_x < self._size) & (at_y >= 0) & (at_y < self._size)
        flat = at_x * self._size + at_y
        heavy = np.broadcast_to(weight[:, None, None].astype(np.float32), flat.shape)
        for grid, found in ((self._free_CC, free), (self._blocked_CC, blocked)):
            chosen = found & inside
            grid.ravel()[:] += np.bincount(
                flat[chosen], weights=heavy[chosen], minlength=self._size**2
            ).astype(np.float32)
        np.minimum(self._free_CC, 5.0, out=self._free_CC)
        np.minimum(self._blocked_CC, 5.0, out=self._blocked_CC)

    def add_trail(self, points_P2: FloatArray) -> None:
        """Where the robot has been: its disc was free there, beyond doubt."""
        if self._corner is None or len(points_P2) == 0:
            return
        self._from_start = None
        cell = self.settings.cell_m
        mask = np.zeros((self._size, self._size), dtype=np.uint8)
        centres = np.rint(points_P2 / cell - self._corner - 0.5).astype(np.int64)
        near = ((centres >= 0) & (centres < self._size)).all(axis=1)
        mask[centres[near, 0], centres[near, 1]] = 1
        reach = max(1, round(self._radius_m / cell))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        trodden = cv2.dilate(mask, disc).astype(bool)
        self._trodden_CC = trodden
        self._free_CC[trodden] = 5.0
        self._blocked_CC[trodden] = 0.0

    def add_bumps(self, points_B2: FloatArray) -> None:
        """Where something stopped the robot: blocked, whatever was imagined."""
        if self._corner is None or len(points_B2) == 0:
            return
        self._from_start = None
        cells = np.floor(points_B2 / self.settings.cell_m).astype(np.int64) - self._corner
        cells = cells[((cells >= 0) & (cells < self._size)).all(axis=1)]
        self._free_CC[cells[:, 0], cells[:, 1]] = 0.0
        self._blocked_CC[cells[:, 0], cells[:, 1]] = 5.0

    def add_contacts(self, points_P2: FloatArray, weight_P: FloatArray) -> None:
        """Where something was imagined to be touched (probability): that outweighs clearance seen from afar.

        What is not imagined again is forgotten within some 15 plans, as imagination may have been wrong.
        """
        self._from_start = None
        self._touched_CC *= _TOUCHED_KEPT
        if self._corner is None or len(points_P2) == 0:
            return
        cells = np.floor(points_P2 / self.settings.cell_m).astype(np.int64) - self._corner
        inside = ((cells >= 0) & (cells < self._size)).all(axis=1)
        touched = np.zeros_like(self._touched_CC)
        np.maximum.at(touched, tuple(cells[inside].T), weight_P[inside].astype(np.float32))
        np.maximum(self._touched_CC, cv2.dilate(touched, np.ones((3, 3), np.uint8)), out=self._touched_CC)

    def masks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Cells that are known to be free, and cells that seem blocked. Seen free once outweighs an arc."""
        blocked = self._blocked_CC > np.maximum(0.3, 2.0 * self._free_CC)
        blocked |= (self._touched_CC > 0.3) & ~self._trodden_CC
        return (self._free_CC >= 0.3) & ~blocked, blocked

    def ways(
        self, start_2: FloatArray, end_2: FloatArray, count: int, generator: Generator
    ) -> list[FloatArray]:
        """Up to ``count`` different ways (M, 2) from start to end, the cheapest first; in metres.

        A way further on goes through the cell from which the sum of both ways is least among those far from
        all ways before it (via-node routes: Abraham et al., "Alternative routes in road networks", 2013).
        """
        if self._corner is None or count < 1:
            return []
        price = self._price(generator)
        start, end = self._cell(start_2), self._cell(end_2)
        away_s, before_s = self._from_start = self._graph.search(price, start)
        self._started = start
        away_e, before_e = self._graph.search(price, end)
        through = away_s + away_e
        found: list[FloatArray] = []
        best = float(through[start])
        for _ in range(3 * count):
            via = int(np.argmin(through))
            if len(found) == count or not through[via] < 2.5 * best + 2.0:
                break
            there, on = _trace(before_s, via), _trace(before_e, via)
            way = np.concatenate([there[::-1], on[1:]])
            if len(np.unique(way)) > 0.95 * len(way):
                found.append(self._points(way, start_2, end_2))
                through = self._without(through, way, 1.0)
            else:  # out and back along the same cells
                through = self._without(through, np.array([via]), 1.0)
        return found

    def openings(self, start_2: FloatArray, towards_2: FloatArray | None, count: int) -> list[FloatArray]:
        """Up to ``count`` ways (M, 2) to where free space ends at the unknown, and a metre beyond.

        The best ones first: near, and near to ``towards``; apart from each other.
        """
        if self._corner is None or count < 1:
            return []
        free, blocked = self.masks()
        unknown = ~free & ~blocked
        room = cv2.distanceTransform((~blocked).astype(np.uint8), cv2.DIST_L2, 3) * self.settings.cell_m
        beside = cv2.dilate(unknown.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        frontier = np.flatnonzero((free & beside & (room > self._radius_m + 0.05)).ravel())
        start = self._cell(start_2)
        if self._from_start is None or self._started != start:
            self._from_start, self._started = self._graph.search(self._price(None), start), start
        away, before = self._from_start
        centres = self._centres(frontier)
        far = np.hypot(*(centres - start_2).T) > 0.8
        frontier, centres = frontier[far], centres[far]
        score = away[frontier] * self.settings.cell_m
        if towards_2 is not None:
            score = score + 1.5 * np.hypot(*(centres - towards_2).T)
        found: list[FloatArray] = []
        while len(found) < count and len(score) and np.isfinite(score.min()):
            pick = int(np.argmin(score))
            way = self._points(_trace(before, int(frontier[pick]))[::-1], start_2, centres[pick])
            heading = way[-1] - way[max(0, len(way) - 3)]
            length = float(np.hypot(*heading))
            if length > 1e-6:
                way = np.concatenate([way, way[-1:] + heading / length])
            found.append(way)
            apart = np.hypot(*(centres - centres[pick]).T) > 1.0
            frontier, centres, score = frontier[apart], centres[apart], score[apart]
        return found

    def _price(self, generator: Generator | None) -> FloatArray:
        """Per metre and cell; slightly shuffled, so that ways that are about as good take turns."""
        options = self.settings
        free, blocked = self.masks()
        room = cv2.distanceTransform((~blocked).astype(np.uint8), cv2.DIST_L2, 5) * options.cell_m
        price = np.where(free, np.where(self._trodden_CC, 1.0, options.imagined_price), options.unknown_price)
        price += options.near_price * np.maximum(0.0, 1.0 - (room - self._radius_m) / options.comfort_m)
        price[room < self._radius_m] = options.blocked_price
        if generator is not None:
            coarse = generator.uniform(0.85, 1.15, size=(8, 8)).astype(np.float32)
            price *= cv2.resize(coarse, (self._size, self._size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(price.ravel(), dtype=np.float64)

    def _cell(self, xy_2: FloatArray) -> int:
        """The cell of a point; of one beyond the grid, the nearest on the rim."""
        assert self._corner is not None
        cell = np.floor(np.asarray(xy_2) / self.settings.cell_m).astype(np.int64) - self._corner
        x, y = np.clip(cell, 0, self._size - 1)
        return int(x * self._size + y)

    def _centres(self, cells: Index) -> FloatArray:
        assert self._corner is not None
        at = np.stack([cells // self._size, cells % self._size], axis=-1)
        return np.asarray((at + self._corner + 0.5) * self.settings.cell_m, dtype=np.float64)

    def _points(self, cells: Index, start_2: FloatArray, end_2: FloatArray) -> FloatArray:
        """Cells as a smooth line from start to end."""
        points = self._centres(cells)
        padded = np.concatenate([points[:1], points[:1], points, points[-1:], points[-1:]])
        smooth = np.stack([np.convolve(padded[:, i], np.full(5, 0.2), mode="valid") for i in (0, 1)], axis=-1)
        return np.concatenate([start_2[None], smooth[1:-1], end_2[None]])

    def _without(self, cost: FloatArray, cells: Index, apart_m: float) -> FloatArray:
        """The same costs, endless within ``apart_m`` of some cells."""
        mask = np.ones((self._size, self._size), dtype=np.uint8)
        mask.ravel()[cells] = 0
        far = cv2.distanceTransform(mask, cv2.DIST_L2, 3).ravel() * self.settings.cell_m > apart_m
        return np.where(far, cost, np.inf)


class _Graph:
    """Eight-connected cells of a square grid: built once, priced for each search."""

    def __init__(self, size: int) -> None:
        index = np.arange(size * size).reshape(size, size)
        pairs = [
            (index[:-1], index[1:], 1.0),
            (index[:, :-1], index[:, 1:], 1.0),
            (index[:-1, :-1], index[1:, 1:], np.sqrt(2.0)),
            (index[:-1, 1:], index[1:, :-1], np.sqrt(2.0)),
        ]
        rows = np.concatenate([end.ravel() for a, b, _ in pairs for end in (a, b)])
        columns = np.concatenate([end.ravel() for a, b, _ in pairs for end in (b, a)])
        lengths = np.concatenate([np.full(2 * a.size, length) for a, _, length in pairs])
        edge = np.arange(len(rows)) + 1.0
        self._matrix = coo_array((edge, (rows, columns)), shape=(size * size,) * 2).tocsr()
        order = self._matrix.data.astype(np.int64) - 1
        self._rows, self._columns, self._half_lengths = rows[order], columns[order], 0.5 * lengths[order]

    def search(self, price: FloatArray, start: int) -> tuple[FloatArray, Index]:
        """Cost, in cells times price, of every cell from ``start``, and the cell before it."""
        self._matrix.data = self._half_lengths * (price[self._rows] + price[self._columns])
        away, before = dijkstra(self._matrix, indices=start, return_predecessors=True)
        return away, before


def _trace(before: Index, cell: int) -> Index:
    """Cells from ``cell`` back to where the search began."""
    way = [cell]
    while before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return np.array(way)


def _moved(grid: Evidence, by: Index) -> Evidence:
    """The grid seen from a corner that moved; what comes in is empty."""
    size = len(grid)
    moved = np.zeros_like(grid)
    x, y = int(by[0]), int(by[1])
    if abs(x) < size and abs(y) < size:
        moved[max(0, -x) : size - max(0, x), max(0, -y) : size - max(0, y)] = grid[
            max(0, x) : size - max(0, -x), max(0, y) : size - max(0, -y)
        ]
    return moved


def _spread(poses_P3: FloatArray, weight_P: FloatArray, most: int, apart_m: float) -> Index:
    """Rows of poses in different places, those of the highest weight, at most so many."""
    rows = np.flatnonzero((weight_P > 0) & np.isfinite(poses_P3).all(axis=1))
    rows = rows[np.argsort(-weight_P[rows], kind="stable")]
    _, first = np.unique(np.round(poses_P3[rows, :2] / apart_m).astype(np.int64), axis=0, return_index=True)
    return rows[np.sort(first)[:most]]
