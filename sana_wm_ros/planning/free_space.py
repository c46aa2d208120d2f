"""What imagined clearance, and where the robot has been, say is free.

A grid in ``odom`` that collects evidence for free and for blocked cells over many plans. ``routes.py`` looks for
ways in it, and those are imagined and judged like any other candidate: an error here costs a candidate.
Dimension letters: P poses, K bearing sectors, C cells, W cells with a rim, M cells of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sana_wm_ros.planning.types import FloatArray

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]
Evidence = NDArray[np.float32]

_SUB = 4  # a scan's place is rounded to a quarter of a cell
_TOGETHER = 5  # scans; with more, arrays are so large that each comes fresh from the system, page by page
_BEYOND_DOUBT = 5.0
_TOUCHED_KEPT = np.float32(0.93)  # from plan to plan


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
    """The grid follows the robot; what leaves it is forgotten. ``changes`` counts how often it changed."""

    def __init__(self, radius_m: float, settings: FreeSpaceSettings | None = None) -> None:
        self.settings = settings or FreeSpaceSettings()
        self.radius_m = radius_m
        # Even, as routes are looked for on blocks of two by two cells.
        self.size = 2 * int(np.ceil(self.settings.half_width_m / self.settings.cell_m)) + 2
        self.corner: Index = np.zeros(2, dtype=np.int64)  # of cell (0, 0), in cells from odom's origin
        self.empty = True
        self.changes = 0
        self._free_CC: Evidence = np.zeros((self.size, self.size), dtype=np.float32)
        self._blocked_CC: Evidence = np.zeros_like(self._free_CC)
        self._touched_CC: Evidence = np.zeros_like(self._free_CC)
        self._trodden_CC: Mask = np.zeros(self._free_CC.shape, dtype=np.bool_)
        self._time_s = -np.inf
        self._stamps = _Stamps(self.settings.cell_m, self.settings.reach_m)
        self._masks: tuple[int, Mask, Mask, Evidence] | None = None

    def clear(self) -> None:
        """Forget everything."""
        self.changes += 1
        self._free_CC[:], self._blocked_CC[:] = 0.0, 0.0
        self._touched_CC[:], self._trodden_CC[:] = 0.0, False
        self.empty, self._time_s = True, -np.inf

    def follow(self, xy_2: FloatArray, time_s: float) -> None:
        """The robot is here now: move the grid along when it nears the rim, let old evidence fade."""
        here = np.floor(np.asarray(xy_2) / self.settings.cell_m).astype(np.int64)
        corner = here - self.size // 2
        if self.empty or time_s < self._time_s:
            self.clear()
            self.corner, self._time_s, self.empty = corner, time_s, False
            return
        self.changes += 1
        fading = np.float32(np.exp(-(time_s - self._time_s) / self.settings.forget_s))
        self._free_CC *= fading
        self._blocked_CC *= fading
        self._time_s = time_s
        if np.abs(corner - self.corner).max() * self.settings.cell_m > 0.25 * self.settings.half_width_m:
            self._free_CC = _moved(self._free_CC, corner - self.corner)
            self._blocked_CC = _moved(self._blocked_CC, corner - self.corner)
            self._touched_CC = _moved(self._touched_CC, corner - self.corner)
            self.corner = corner

    def add_scans(self, poses_P3: FloatArray, clearance_PK: FloatArray, weight_P: FloatArray) -> None:
        """Take in clearances (metres from the centre, sector k around bearing 2 pi k / K) seen from poses.

        A sector is free up to its clearance; a thin arc at that distance may be blocked. Of scans from
        almost the same place, the one with the highest weight counts. Weights of 0 and places off the grid are
        left out.
        """
        assert not self.empty, "follow comes first"
        rows = _spread(poses_P3, weight_P, self.settings.scans, 0.4)
        cell, reach = self.settings.cell_m, self._stamps.reach
        at = poses_P3[rows, :2] / cell - self.corner
        inside = ((at >= 0) & (at < self.size)).all(axis=1)
        rows, at = rows[inside], at[inside]
        if len(rows) == 0:
            return
        self.changes += 1
        weight_P11 = weight_P[rows, None, None].astype(np.float32)
        wide, window = self.size + 2 * reach, 2 * reach + 1
        found_2WW = np.zeros((2, wide, wide), dtype=np.float32)
        for begin in range(0, len(rows), _TOGETHER):
            some = slice(begin, begin + _TOGETHER)
            range_PMM, limit_PMM = self._stamps.seen_from(
                at[some], poses_P3[rows[some], 2], clearance_PK[rows[some]]
            )
            free_PMM = range_PMM < limit_PMM - np.float32(0.3 * cell)
            limit_PMM += np.float32(cell)
            blocked_PMM = range_PMM < limit_PMM
            blocked_PMM ^= free_PMM
            seen_2PMM = np.stack([free_PMM, blocked_PMM]) * weight_P11[some]
            for k, (x, y) in enumerate(at[some].astype(np.int64).tolist()):
                found_2WW[:, x : x + window, y : y + window] += seen_2PMM[:, k]
        inner = slice(reach, reach + self.size)
        for grid, found_WW in zip((self._free_CC, self._blocked_CC), found_2WW, strict=True):
            grid += found_WW[inner, inner]
            np.minimum(grid, _BEYOND_DOUBT, out=grid)

    def add_trail(self, points_P2: FloatArray) -> None:
        """Where the robot has been: its disc was free there, beyond doubt."""
        if self.empty or len(points_P2) == 0:
            return
        self.changes += 1
        cell = self.settings.cell_m
        mask = np.zeros((self.size, self.size), dtype=np.uint8)
        centres = np.rint(points_P2 / cell - self.corner - 0.5).astype(np.int64)
        near = ((centres >= 0) & (centres < self.size)).all(axis=1)
        mask[centres[near, 0], centres[near, 1]] = 1
        reach = max(1, round(self.radius_m / cell))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        trodden = cv2.dilate(mask, disc).astype(bool)
        self._trodden_CC = trodden
        self._free_CC[trodden] = _BEYOND_DOUBT
        self._blocked_CC[trodden] = 0.0

    def add_bumps(self, points_B2: FloatArray) -> None:
        """Where something stopped the robot: blocked, whatever was imagined."""
        if self.empty or len(points_B2) == 0:
            return
        self.changes += 1
        cells, _ = self._cells(points_B2)
        self._free_CC[cells[:, 0], cells[:, 1]] = 0.0
        self._blocked_CC[cells[:, 0], cells[:, 1]] = _BEYOND_DOUBT

    def add_contacts(self, points_P2: FloatArray, weight_P: FloatArray) -> None:
        """Where something was imagined to be touched (probability): that outweighs clearance seen from afar.

        What is not imagined again is forgotten within some 15 plans, as imagination may have been wrong.
        """
        self.changes += 1
        self._touched_CC *= _TOUCHED_KEPT
        if self.empty or len(points_P2) == 0:
            return
        cells, inside = self._cells(points_P2)
        touched = np.zeros_like(self._touched_CC)
        np.maximum.at(touched, tuple(cells.T), weight_P[inside].astype(np.float32))
        np.maximum(self._touched_CC, cv2.dilate(touched, np.ones((3, 3), np.uint8)), out=self._touched_CC)

    def masks(self) -> tuple[Mask, Mask]:
        """Cells that are known to be free, and cells that seem blocked. Seen free once outweighs an arc."""
        return self._known()[1:3]

    def room(self) -> Evidence:
        """Metres (C, C) from each cell to the nearest that seems blocked."""
        return self._known()[3]

    def price(self, generator: Generator | None = None) -> Evidence:
        """Per metre and cell (C, C); with a generator slightly shuffled, so that ways as good take turns."""
        options = self.settings
        free_price = np.where(self._trodden_CC, np.float32(1.0), np.float32(options.imagined_price))
        price = np.where(self.masks()[0], free_price, np.float32(options.unknown_price))
        room = self.room() - self.radius_m
        price += options.near_price * np.maximum(0.0, 1.0 - room / np.float32(options.comfort_m))
        price[room < 0] = options.blocked_price
        if generator is not None:
            coarse = generator.uniform(0.85, 1.15, size=(8, 8)).astype(np.float32)
            price *= cv2.resize(coarse, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        return price

    def _cells(self, points_P2: FloatArray) -> tuple[Index, Mask]:
        """Cells (., 2) of the points on the grid, and which of the points (P,) these are."""
        cells = np.floor(points_P2 / self.settings.cell_m).astype(np.int64) - self.corner
        inside: Mask = np.all((cells >= 0) & (cells < self.size), axis=1)
        return cells[inside], inside

    def _known(self) -> tuple[int, Mask, Mask, Evidence]:
        if self._masks is None or self._masks[0] != self.changes:
            blocked = self._blocked_CC > np.maximum(0.3, 2.0 * self._free_CC)
            blocked |= (self._touched_CC > 0.3) & ~self._trodden_CC
            free = (self._free_CC >= 0.3) & ~blocked
            room = cv2.distanceTransform((~blocked).astype(np.uint8), cv2.DIST_L2, 5) * self.settings.cell_m
            self._masks = (self.changes, free, blocked, room)
        return self._masks


class _Stamps:
    """Ranges and bearings of the cells around a scan's place: windows, one for each sixteenth of a cell."""

    def __init__(self, cell_m: float, reach_m: float) -> None:
        self.reach = int(np.ceil(reach_m / cell_m))
        window = np.arange(-self.reach, self.reach + 1)
        sub_S2 = (np.stack(np.divmod(np.arange(_SUB * _SUB), _SUB), axis=-1) + 0.5) / _SUB
        x_SM1 = (window[:, None] + 0.5 - sub_S2[:, 0, None, None]) * cell_m
        y_S1M = (window + 0.5 - sub_S2[:, 1, None, None]) * cell_m
        range_SMM = np.hypot(x_SM1, y_S1M)
        self._range_SMM = np.where(range_SMM < reach_m, range_SMM, np.inf).astype(np.float32)
        self._turn_SMM = (np.arctan2(y_S1M, x_SM1) / (2 * np.pi) % 1.0).astype(np.float32)

    def seen_from(
        self, at_P2: FloatArray, yaw_P: FloatArray, clearance_PK: FloatArray
    ) -> tuple[Evidence, Evidence]:
        """Metres (P, M, M) to each cell (inf: out of reach), and those that are free in its direction."""
        sub = ((at_P2 - np.floor(at_P2)) * _SUB).astype(np.int64)
        table = sub[:, 0] * _SUB + sub[:, 1]
        sectors = clearance_PK.shape[1]
        first_P = 0.5 + sectors * (1.0 - (yaw_P / (2 * np.pi)) % 1.0)
        place_PMM = self._turn_SMM[table]
        place_PMM *= np.float32(sectors)
        place_PMM += first_P.astype(np.float32)[:, None, None]
        sector_PMM = place_PMM.astype(np.int64)
        # A sector's number may be up to twice K too high: three rounds of clearances.
        sector_PMM += 3 * sectors * np.arange(len(yaw_P))[:, None, None]
        rounds = np.tile(clearance_PK.astype(np.float32), 3)
        return self._range_SMM[table], np.take(rounds, sector_PMM)


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
    place = np.round(poses_P3[rows, :2] / apart_m).astype(np.int64)
    _, first = np.unique(place[:, 0] * 2**32 + place[:, 1], return_index=True)
    return rows[np.sort(first)[:most]]
