"""What the camera saw, where the robot has been, and what was imagined say is free.

A grid in ``odom`` that collects evidence for free and for blocked cells, from every picture and over many plans.
``routes.py`` looks for ways in it, and those are imagined and judged like any other candidate.
Dimension letters: P poses, K bearing sectors, C cells, W cells with a rim, M cells of a window.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from sana_wm_ros.planning.sensor_model import SURE, Evidence, log_odds, most_sure
from sana_wm_ros.planning.types import FloatArray

Index = NDArray[np.int64]
Mask = NDArray[np.bool_]

_SUB = 4  # a scan's place is rounded to a quarter of a cell
_TOGETHER = 5  # scans; with more, arrays are so large that each comes fresh from the system, page by page
_BEYOND_DOUBT = 5.0
_LATE_S = 2.0  # pictures may be so much older than the plan before them
_TOUCHED_KEPT = np.float32(0.93)  # from plan to plan
_LITTLE = 0.1  # log odds
_FREE, _BLOCKED, _UNKNOWN, _SEEN_FREE = -0.5, 0.4, -0.5, -1.0  # log odds
_PER_EVIDENCE, _SURE_IMAGINED = 1.7, (-3.0, 2.0)  # log odds of what was imagined, where nothing was seen


@dataclass(frozen=True, kw_only=True)
class FreeSpaceSettings:
    """cell_m, half_width_m: of the grid around the robot; reach_m: clearance is believed so far out;
    forget_s, forget_seen_s: what was imagined, and what was seen, fades to 1/e in so long; scans: at most so many
    imagined scans are taken in per plan.

    Prices are per metre of way, relative to 1 where the robot has been: free_price where it is certainly free,
    doubt_price times the chance to touch something on top of that, blocked_price at least where something seems to
    stand, and near_price beside that, down to nothing at comfort_m from it. Ways through what is well known are
    worth many metres of detour: a model that misses half a wall leaves gaps in it, which only doubt keeps shut.
    """

    cell_m: float = 0.15
    half_width_m: float = 9.0
    reach_m: float = 4.0
    forget_s: float = 60.0
    forget_seen_s: float = 300.0
    scans: int = 60
    free_price: float = 1.2
    doubt_price: float = 60.0
    blocked_price: float = 80.0
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
        self._seen_CC: Evidence = np.zeros_like(self._free_CC)  # log odds to be blocked
        self._touched_CC: Evidence = np.zeros_like(self._free_CC)
        self._trodden_CC: Mask = np.zeros(self._free_CC.shape, dtype=np.bool_)
        self._time_s = -np.inf
        reach = max(1, round(radius_m / self.settings.cell_m))
        self._disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        self._stamps = _Stamps(self.settings.cell_m, self.settings.reach_m)
        self._known_at, self._known_now = -1, _Known.nothing(self.size)

    def clear(self) -> None:
        """Forget everything."""
        self.changes += 1
        self._free_CC[:], self._blocked_CC[:], self._seen_CC[:] = 0.0, 0.0, 0.0
        self._touched_CC[:], self._trodden_CC[:] = 0.0, False
        self.empty, self._time_s = True, -np.inf

    def follow(self, xy_2: FloatArray, time_s: float) -> None:
        """The robot is here now: move the grid along when it nears the rim, let old evidence fade."""
        here = np.floor(np.asarray(xy_2) / self.settings.cell_m).astype(np.int64)
        corner = here - self.size // 2
        if self.empty or time_s < self._time_s - _LATE_S:
            self.clear()
            self.corner, self._time_s, self.empty = corner, time_s, False
            return
        self.changes += 1
        time_s = max(time_s, self._time_s)
        fading = np.float32(np.exp(-(time_s - self._time_s) / self.settings.forget_s))
        self._free_CC *= fading
        self._blocked_CC *= fading
        self._seen_CC *= np.float32(np.exp(-(time_s - self._time_s) / self.settings.forget_seen_s))
        self._time_s = time_s
        if np.abs(corner - self.corner).max() * self.settings.cell_m > 0.25 * self.settings.half_width_m:
            self._free_CC = _moved(self._free_CC, corner - self.corner)
            self._blocked_CC = _moved(self._blocked_CC, corner - self.corner)
            self._seen_CC = _moved(self._seen_CC, corner - self.corner)
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
            seen_2PMM = np.empty((2, *free_PMM.shape), dtype=np.float32)
            np.multiply(free_PMM, weight_P11[some], out=seen_2PMM[0])
            np.multiply(blocked_PMM, weight_P11[some], out=seen_2PMM[1])
            for k, (x, y) in enumerate(at[some].astype(np.int64).tolist()):
                found_2WW[:, x : x + window, y : y + window] += seen_2PMM[:, k]
        inner = slice(reach, reach + self.size)
        for grid, found_WW in zip((self._free_CC, self._blocked_CC), found_2WW, strict=True):
            grid += found_WW[inner, inner]
            np.minimum(grid, _BEYOND_DOUBT, out=grid)

    def add_view(
        self, pose_3: FloatArray, clearance_K: FloatArray, camera_yaw_rad: float, half_view_rad: float
    ) -> None:
        """Take in the clearance that the model reads from what the camera sees, from this pose of the base.

        Only what lies in the view counts: ``half_view_rad`` to both sides of ``camera_yaw_rad`` from the base's axis.
        """
        cell, reach = self.settings.cell_m, self._stamps.reach
        at = pose_3[None, :2] / cell - self.corner
        if self.empty or not ((at >= 0) & (at < self.size)).all():
            return
        self.changes += 1
        range_PMM, limit_PMM = self._stamps.seen_from(at, pose_3[None, 2], clearance_K[None])
        in_view_MM = self._stamps.in_view(at[0], pose_3[2] + camera_yaw_rad, half_view_rad)
        found_MM = np.where(in_view_MM, log_odds(range_PMM[0], limit_PMM[0]), np.float32(0.0))
        (x, y), window = at[0].astype(np.int64).tolist(), 2 * reach + 1
        wide_WW = np.pad(self._seen_CC, reach)
        before_MM = wide_WW[x : x + window, y : y + window]
        raised_MM = np.maximum(before_MM, np.minimum(before_MM + found_MM, most_sure(limit_PMM[0])))
        lowered_MM = np.maximum(before_MM + found_MM, SURE[0])
        wide_WW[x : x + window, y : y + window] = np.where(found_MM > 0, raised_MM, lowered_MM)
        self._seen_CC = wide_WW[reach : reach + self.size, reach : reach + self.size].copy()

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
        trodden = cv2.dilate(mask, self._disc).astype(bool)
        self._trodden_CC = trodden
        self._free_CC[trodden] = _BEYOND_DOUBT
        self._blocked_CC[trodden] = 0.0
        self._seen_CC[trodden] = SURE[0]

    def add_bumps(self, points_B2: FloatArray) -> None:
        """Where something stopped the robot: blocked, whatever was imagined."""
        if self.empty or len(points_B2) == 0:
            return
        self.changes += 1
        cells, _ = self._cells(points_B2)
        self._free_CC[cells[:, 0], cells[:, 1]] = 0.0
        self._blocked_CC[cells[:, 0], cells[:, 1]] = _BEYOND_DOUBT
        self._seen_CC[cells[:, 0], cells[:, 1]] = SURE[1]

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
        """Cells that are known to be free, and cells that seem blocked."""
        return self._known.free_CC, self._known.blocked_CC

    def room(self) -> Evidence:
        """Metres (C, C) from each cell to the nearest that seems blocked."""
        return self._known.room_CC

    def chance(self) -> Evidence:
        """The chance (C, C) that a cell is blocked, x first; NaN where there is no evidence."""
        known = self._known
        chance_CC: Evidence = (1.0 / (1.0 + np.exp(-known.odds_CC))).astype(np.float32)
        chance_CC[known.blocked_CC] = np.maximum(chance_CC[known.blocked_CC], 0.8)
        chance_CC[~known.free_CC & ~known.blocked_CC & (np.abs(known.odds_CC) < _LITTLE)] = np.nan
        return chance_CC

    def price(self, generator: Generator | None = None) -> Evidence:
        """Per metre and cell (C, C); with a generator slightly shuffled, so that ways as good take turns."""
        options = self.settings
        doubt = np.float32(options.doubt_price) * self._known.touch_CC
        price: Evidence = np.float32(options.free_price) + doubt
        room = self.room() - self.radius_m
        price += np.float32(options.near_price) * np.maximum(0.0, 1.0 - room / np.float32(options.comfort_m))
        price[room < 0] = np.maximum(price[room < 0], options.blocked_price)
        price[self._trodden_CC] = 1.0
        if generator is not None:
            coarse = generator.uniform(0.85, 1.15, size=(8, 8)).astype(np.float32)
            fine = cv2.resize(coarse, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
            price = price * fine.astype(np.float32)
        return price

    def seen(self, points_NF2: FloatArray) -> tuple[Mask, FloatArray]:
        """What the camera alone says (N, F) of the floor under the robot's disc at these points.

        Where it saw nothing but free floor, and how surely (0 to 1) something stands there: 0 where it saw as much for
        as against it, where it saw nothing, and beyond the grid. Squared, as little evidence is often wrong: half of
        a wall's lies before it.
        """
        # A rim of which nothing is known stands for all that lies beyond the grid.
        odds_WW = np.pad(cv2.dilate(self._seen_CC, self._disc), 1)
        cells_NF2 = np.floor(points_NF2 / self.settings.cell_m).astype(np.int64)
        cells_NF2 -= self.corner - 1
        np.clip(cells_NF2, 0, self.size + 1, out=cells_NF2)
        odds_NF = odds_WW[cells_NF2[..., 0], cells_NF2[..., 1]].astype(np.float64)
        return odds_NF < _SEEN_FREE, np.square(np.tanh(0.5 * np.maximum(0.0, odds_NF)))

    def _cells(self, points_P2: FloatArray) -> tuple[Index, Mask]:
        """Cells (., 2) of the points on the grid, and which of the points (P,) these are."""
        cells = np.floor(points_P2 / self.settings.cell_m).astype(np.int64) - self.corner
        inside: Mask = np.all((cells >= 0) & (cells < self.size), axis=1)
        return cells[inside], inside

    @property
    def _known(self) -> _Known:
        if self._known_at != self.changes:
            imagined = _PER_EVIDENCE * (self._blocked_CC - 2.0 * self._free_CC)
            imagined = np.clip(imagined, *_SURE_IMAGINED)
            odds = self._seen_CC + imagined * np.exp(-np.abs(self._seen_CC))
            blocked = (odds > _BLOCKED) | ((self._touched_CC > 0.3) & ~self._trodden_CC)
            free = (odds < _FREE) & ~blocked
            room = cv2.distanceTransform((~blocked).astype(np.uint8), cv2.DIST_L2, 5) * self.settings.cell_m
            chance = 1.0 / (1.0 + np.exp(-_UNKNOWN - odds))
            chance[blocked] = np.maximum(chance[blocked], 0.8)
            touch = cv2.GaussianBlur(cv2.dilate(chance.astype(np.float32), self._disc), (0, 0), 0.7)
            self._known_now = _Known(
                free_CC=free,
                blocked_CC=blocked,
                room_CC=room.astype(np.float32),
                touch_CC=touch.astype(np.float32),
                odds_CC=odds.astype(np.float32),
            )
            self._known_at = self.changes
        return self._known_now


@dataclass(frozen=True, kw_only=True)
class _Known:
    """What all evidence comes to. touch_CC: the chance that the robot's disc there touches something."""

    free_CC: Mask
    blocked_CC: Mask
    room_CC: Evidence
    touch_CC: Evidence
    odds_CC: Evidence

    @staticmethod
    def nothing(size: int) -> _Known:
        mask, zero = np.zeros((size, size), dtype=np.bool_), np.zeros((size, size), dtype=np.float32)
        return _Known(free_CC=mask, blocked_CC=mask, room_CC=zero, touch_CC=zero, odds_CC=zero)


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
        # A sector's number may be up to twice K too high: three rounds of clearances.
        rounds = np.tile(clearance_PK.astype(np.float32), 3)
        limit_PMM = np.empty_like(place_PMM)
        for limit_MM, round_K, sector_MM in zip(limit_PMM, rounds, place_PMM.astype(np.int64), strict=True):
            limit_MM[:] = round_K[sector_MM]
        return self._range_SMM[table], limit_PMM

    def in_view(self, at_2: FloatArray, yaw_rad: float, half_view_rad: float) -> Mask:
        """Cells (M, M) around a place that lie in a view."""
        sub = ((at_2 - np.floor(at_2)) * _SUB).astype(np.int64)
        turn_MM = self._turn_SMM[sub[0] * _SUB + sub[1]] - yaw_rad / (2 * np.pi)
        return np.asarray(np.abs((turn_MM + 0.5) % 1.0 - 0.5) <= half_view_rad / (2 * np.pi))


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
