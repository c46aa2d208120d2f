"""Hold the imagined free distances against a laser scanner, where the recording has one.

Dimension letters: K sectors, R rays, T scans, F latent frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sana_wm_ros.evaluation.foretelling import Foretelling
from sana_wm_ros.evaluation.metrics import Floats, mean_of_known

CLEARANCE_GUESSES = ("imagined", "last ranges", "mean ranges")


@dataclass(frozen=True, kw_only=True)
class MeasuredClearance:
    """Free distance by sector as a scanner measured it; NaN where no ray went. Seconds, metres."""

    stamps_T: Floats
    clearance_TK: Floats
    max_range_m: float

    def at(self, time_s: float, *, within_s: float = 0.15) -> Floats | None:
        """The scan nearest to a time, or None when there is none that near."""
        index = int(np.abs(self.stamps_T - time_s).argmin())
        return self.clearance_TK[index] if abs(self.stamps_T[index] - time_s) <= within_s else None


@dataclass(frozen=True, kw_only=True)
class ClearanceCheck:
    """Mean absolute error in metres per lead: the imagination's and two guesses' that know the past scans.

    lead_F: seconds ahead. error: name to metres (F,), the mean over starts and sectors.
    """

    lead_F: Floats
    error: dict[str, Floats]


def sector_minimum(ranges_R: Floats, angles_R: Floats, sectors: int, max_range_m: float) -> Floats:
    """The least range in each of K sectors, sector 0 centred straight ahead, counter-clockwise.

    A ray that met nothing (infinite, or beyond the range) counts as ``max_range_m``; NaN and what is not
    positive say nothing (REP-117).
    """
    says = ~np.isnan(ranges_R) & (ranges_R > 0)
    sector_R = np.rint(angles_R * sectors / (2.0 * np.pi)).astype(np.int64) % sectors
    least_K = np.full(sectors, np.inf)
    np.minimum.at(least_K, sector_R[says], np.minimum(ranges_R[says], max_range_m))
    return np.where(np.isinf(least_K), np.nan, least_K)


def check_clearance(
    foretellings: Sequence[Foretelling], measured: MeasuredClearance, *, first_stamp_s: float
) -> ClearanceCheck | None:
    """Compare each start's imagined clearance with the scans of those times; None without any."""
    rows = [_errors(one, measured, first_stamp_s) for one in foretellings]
    found = [row for row in rows if row is not None]
    if not found:
        return None
    length = max(len(row[CLEARANCE_GUESSES[0]]) for row in found)
    error = {}
    for name in CLEARANCE_GUESSES:
        padded = [np.pad(row[name], (0, length - len(row[name])), constant_values=np.nan) for row in found]
        error[name] = mean_of_known(np.array(padded))
    longest = max(foretellings, key=lambda one: len(one.lead_F))
    return ClearanceCheck(lead_F=longest.lead_F[:length], error=error)


def _errors(one: Foretelling, measured: MeasuredClearance, first_stamp_s: float) -> dict[str, Floats] | None:
    now_s = first_stamp_s + one.start_s
    last = measured.at(now_s)
    past = measured.clearance_TK[measured.stamps_T <= now_s]
    if last is None or len(past) == 0:
        return None
    mean = mean_of_known(past)
    true_FK = [measured.at(now_s + lead) for lead in one.lead_F]
    guesses = {"imagined": one.clearance_FK, "last ranges": last, "mean ranges": mean}
    return {
        name: np.array(
            [_mean_error(guess[k] if guess.ndim == 2 else guess, true) for k, true in enumerate(true_FK)]
        )
        for name, guess in guesses.items()
    }


def _mean_error(guess_K: Floats, true_K: Floats | None) -> float:
    if true_K is None:
        return float("nan")
    return float(mean_of_known(np.abs(guess_K - true_K)))
