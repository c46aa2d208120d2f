"""Ways to a goal and to openings through what a ``FreeSpace`` holds to be free.

Searched from block to block of two by two cells, which takes a fifth of the time that single cells take. A step
costs what the cells between both middles cost, so a doorway of one cell stays open and a wall of two stays shut.
Dimension letters: B blocks, C cells, M points of a way.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from scipy.ndimage import map_coordinates
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from sana_wm_ros.planning.free_space import FreeSpace, Index
from sana_wm_ros.planning.sensor_model import Evidence
from sana_wm_ros.planning.types import FloatArray

_APART_M = 1.0  # ways and openings of one plan
_PER_METRE = 3.0  # from an opening to the goal: as much as floor costs that was imagined to be free


@dataclass(frozen=True)
class WayLeft:
    """How long the cheapest way to a goal is, from every block of a grid.

    corner_2: the middle of block (0, 0), in metres; end_2: the goal. A block's size is taken off, as it says no more
    than that.
    """

    metres_BB: FloatArray
    corner_2: FloatArray
    end_2: FloatArray
    block_m: float

    def at(self, points_2: FloatArray) -> FloatArray:
        """Metres (...) from points (..., 2), linear between blocks; beyond the grid, those of its rim.

        Never less than the straight line.
        """
        x, y = points_2[..., 0], points_2[..., 1]
        places = np.stack([x - self.corner_2[0], y - self.corner_2[1]]) / self.block_m
        left = map_coordinates(self.metres_BB, places, order=1, mode="nearest")
        return np.asarray(np.maximum(left - self.block_m, np.hypot(x - self.end_2[0], y - self.end_2[1])))


class Routes:
    """Looks for ways in one free space. What was searched from the start is kept until that changes."""

    def __init__(self, space: FreeSpace) -> None:
        self._space = space
        self._size = space.size // 2
        self._block_m = 2 * space.settings.cell_m
        self._graph = _Graph(self._size, self._block_m)
        self._disc = _disc(round(_APART_M / self._block_m))
        self._key = (-1, -1)  # changes of the space, and the block where the search began
        self._from_start: tuple[FloatArray, Index] = (np.zeros(0), np.zeros(0, dtype=np.int64))
        self._middles_B2: FloatArray = np.zeros((0, 2))

    def ways(
        self, start_2: FloatArray, end_2: FloatArray, count: int, generator: Generator
    ) -> list[FloatArray]:
        """Up to ``count`` different ways (M, 2) from start to end, the cheapest first; in metres.

        A way further on goes through the block from which the sum of both ways is least among those far from
        all ways before it (via-node routes: Abraham et al., "Alternative routes in road networks", 2013).
        """
        if self._space.empty or count < 1:
            return []
        self._search(start_2, generator)
        away_s, before_s = self._from_start
        away_e, before_e = self._graph.search(self._block(end_2))
        through = away_s + away_e
        left = _Left(through, self._size, self._disc)
        there_B, on_B = before_s.tolist(), before_e.tolist()
        best = float(through[self._block(start_2)])
        found: list[FloatArray] = []
        for _ in range(3 * count):
            cost, via = left.best()
            if len(found) == count or not cost < 2.5 * best + self._block_m:
                break
            way = _trace(there_B, via)[::-1] + _trace(on_B, via)[1:]
            if len(set(way)) > 0.95 * len(way):
                found.append(self._points(way, start_2, end_2))
                left.drop(way)
            else:  # out and back along the same blocks
                left.drop([via])
        return found

    def way_left(self, end_2: FloatArray) -> WayLeft | None:
        """What is left to ``end`` from anywhere, or None while nothing is known."""
        space = self._space
        if space.empty:
            return None
        self._graph.set_price(space.price())
        self._key = (-1, -1)
        _, before_B = self._graph.search(self._block(end_2))
        return WayLeft(
            metres_BB=self._block_m * _steps(before_B, self._size).reshape(self._size, self._size),
            corner_2=np.asarray((space.corner + 1.0) * space.settings.cell_m),
            end_2=end_2,
            block_m=self._block_m,
        )

    def openings(self, start_2: FloatArray, towards_2: FloatArray | None, count: int) -> list[FloatArray]:
        """Up to ``count`` ways (M, 2) to where free space ends at the unknown, and a metre beyond.

        The best ones first: near, and near to ``towards``; apart from each other.
        """
        space = self._space
        if space.empty or count < 1:
            return []
        free, blocked = space.masks()
        unknown = (~free & ~blocked).astype(np.uint8)
        beside = cv2.dilate(unknown, np.ones((3, 3), np.uint8)).astype(bool)
        frontier = np.argwhere(free & beside & (space.room() > space.radius_m + 0.05))
        if self._key != (space.changes, self._block(start_2)):
            self._search(start_2, None)
        away, before = self._from_start
        before_B = before.tolist()
        centres = (frontier + space.corner + 0.5) * space.settings.cell_m
        blocks = frontier[:, 0] // 2 * self._size + frontier[:, 1] // 2
        score = away[blocks]
        if towards_2 is not None:
            score = score + _PER_METRE * np.hypot(*(centres - towards_2).T)
        far = np.hypot(*(centres - start_2).T) > 0.8
        blocks, centres, score = blocks[far], centres[far], score[far]
        found: list[FloatArray] = []
        while len(found) < count and len(score) and np.isfinite(score.min()):
            pick = int(np.argmin(score))
            way = self._points(_trace(before_B, int(blocks[pick]))[::-1], start_2, centres[pick])
            heading = way[-1] - way[max(0, len(way) - 3)]
            length = float(np.hypot(*heading))
            if length > 1e-6:
                way = np.concatenate([way, way[-1:] + heading / length])
            found.append(way)
            apart = np.hypot(*(centres - centres[pick]).T) > _APART_M
            blocks, centres, score = blocks[apart], centres[apart], score[apart]
        return found

    def _search(self, start_2: FloatArray, generator: Generator | None) -> None:
        price_CC = self._space.price(generator)
        self._graph.set_price(price_CC)
        self._middles_B2 = (middles(price_CC) + self._space.corner + 0.5) * self._space.settings.cell_m
        start = self._block(start_2)
        self._from_start = self._graph.search(start)
        self._key = (self._space.changes, start)

    def _block(self, xy_2: FloatArray) -> int:
        """The block of a point; of one beyond the grid, the nearest on the rim."""
        space = self._space
        cell = np.floor(np.asarray(xy_2) / space.settings.cell_m).astype(np.int64) - space.corner
        x, y = np.clip(cell // 2, 0, self._size - 1)
        return int(x * self._size + y)

    def _points(self, way: list[int], start_2: FloatArray, end_2: FloatArray) -> FloatArray:
        """Blocks as a smooth line from start to end."""
        points = self._middles_B2[way]
        line = np.empty((max(2, len(points)), 2))
        line[0], line[-1] = start_2, end_2
        line[1:-1] = 0.25 * (points[:-2] + points[2:]) + 0.5 * points[1:-1]
        return line


class _Left:
    """Blocks from which another way may still be made: those that are not close to one that was."""

    def __init__(self, cost_B: FloatArray, size: int, close_2: tuple[Index, Index]) -> None:
        self._size, self._apart = size, int(close_2[0].max())
        self._wide = size + 2 * self._apart
        self._cost_WW = np.full((self._wide, self._wide), np.inf)
        inner = slice(self._apart, -self._apart)
        self._cost_WW[inner, inner] = cost_B.reshape(size, size)
        self._close = close_2[0] * self._wide + close_2[1]

    def best(self) -> tuple[float, int]:
        """The least cost (inf: nothing is left) and its block."""
        at = int(np.argmin(self._cost_WW))
        x, y = divmod(at, self._wide)
        return float(self._cost_WW.ravel()[at]), (x - self._apart) * self._size + y - self._apart

    def drop(self, way: list[int]) -> None:
        """No more ways from close to these blocks."""
        x, y = np.divmod(np.array(way), self._size)
        middle = (x + self._apart) * self._wide + y + self._apart
        self._cost_WW.ravel()[(middle[:, None] + self._close).ravel()] = np.inf


_QUARTERS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


def middles(price_CC: Evidence) -> FloatArray:
    """Per block (B, 2): its middle in cells, drawn to its cheaper cells."""
    weight_CC = 1 / np.square(price_CC)
    left, right = weight_CC[:, ::2], weight_CC[:, 1::2]
    rows, lower = left + right, right[::2] + right[1::2]
    every = rows[::2] + rows[1::2]
    first = 2 * np.arange(len(every), dtype=np.float32)
    middle = np.stack([first[:, None] + rows[1::2] / every, first + lower / every], axis=-1)
    return middle.reshape(-1, 2).astype(np.float64)


def step_prices(price_CC: Evidence) -> list[Evidence]:
    """Mean price between the middles of blocks (x, y), by kind of step.

    From (x, y) to (x + 1, y), to (x, y + 1) and to (x + 1, y + 1), and from (x, y + 1) to (x + 1, y). A straight step
    takes the cheaper of two rows of cells. A diagonal one passes a corner: the cells beside that count, too, where
    they cost more, otherwise ways would slip through walls that run diagonally.
    """
    down = price_CC[1:-1:2] + price_CC[2::2]
    right = price_CC[:, 1:-1:2] + price_CC[:, 2::2]
    falling = price_CC[1:-1:2, 1:-1:2] + price_CC[2::2, 2::2]
    rising = price_CC[1:-1:2, 2::2] + price_CC[2::2, 1:-1:2]
    steep = np.maximum(falling, rising)
    sums = np.minimum(down[:, ::2], down[:, 1::2]), np.minimum(right[::2], right[1::2]), steep, steep
    return [np.float32(0.5) * one for one in sums]


def _disc(radius: int) -> tuple[Index, Index]:
    """Offsets of the blocks within so many blocks."""
    x, y = np.divmod(np.arange((2 * radius + 1) ** 2), 2 * radius + 1)
    near = (x - radius) ** 2 + (y - radius) ** 2 <= radius**2
    return x[near] - radius, y[near] - radius


class _Graph:
    """Eight-connected blocks of a square grid: built once, priced for each plan."""

    def __init__(self, size: int, block_m: float) -> None:
        index = np.arange(size * size, dtype=np.int32).reshape(size, size)
        steps = [
            (index[:-1], index[1:], 1.0),
            (index[:, :-1], index[:, 1:], 1.0),
            (index[:-1, :-1], index[1:, 1:], np.sqrt(2.0)),
            (index[:-1, 1:], index[1:, :-1], np.sqrt(2.0)),
        ]
        begins = np.concatenate([begin.ravel() for begin, _, _ in steps])
        ends = np.concatenate([end.ravel() for _, end, _ in steps])
        number = np.arange(len(begins)) + 1.0
        matrix = coo_array(
            (np.tile(number, 2), (np.concatenate([begins, ends]), np.concatenate([ends, begins]))),
            shape=(size * size,) * 2,
        )
        self._matrix = matrix.tocsr()
        self._step = self._matrix.data.astype(np.int64) - 1
        self._lengths = np.concatenate([np.full(begin.size, length * block_m) for begin, _, length in steps])

    def set_price(self, price_CC: Evidence) -> None:
        """Price all steps; per metre and cell."""
        price = np.concatenate([one.ravel() for one in step_prices(price_CC)])
        self._matrix.data = (self._lengths * price)[self._step]

    def search(self, start: int) -> tuple[FloatArray, Index]:
        """Cost, in metres times price, of every block from ``start``, and the block before it."""
        away, before = dijkstra(self._matrix, indices=start, return_predecessors=True)
        return away, before


def _steps(before_B: Index, size: int) -> FloatArray:
    """Blocks of way (B,) back to where the search began, by doubling how far each block looks back."""
    last_B = np.where(before_B >= 0, before_B, np.arange(len(before_B)))
    x_B, y_B = np.divmod(np.arange(len(before_B)), size)
    steps_B = np.hypot(x_B - x_B[last_B], y_B - y_B[last_B])
    while (steps_B[last_B] > 0).any():
        steps_B = steps_B + steps_B[last_B]
        last_B = last_B[last_B]
    return steps_B


def _trace(before: list[int], block: int) -> list[int]:
    """Blocks from ``block`` back to where the search began."""
    way = [block]
    while before[way[-1]] >= 0:
        way.append(before[way[-1]])
    return way
