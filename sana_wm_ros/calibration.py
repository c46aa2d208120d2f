"""Does a score order what comes, and does a probability mean what it says? Rank correlation, AUROC, calibration.

Training and evaluation judge by the same numbers, and neither room knows the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def rank_correlation(a_N: ArrayLike, b_N: ArrayLike) -> float:
    """Spearman's rho of the pairs that are finite (ties share their mean rank); NaN below three or without spread."""
    a, b = np.asarray(a_N, dtype=np.float64), np.asarray(b_N, dtype=np.float64)
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3:
        return float("nan")
    ranks = np.stack([_ranks(a[known]), _ranks(b[known])])
    ranks -= ranks.mean(axis=1, keepdims=True)
    spread = np.sqrt((ranks**2).sum(axis=1).prod())
    return float((ranks[0] * ranks[1]).sum() / spread) if spread > 0 else float("nan")


def _ranks(values_N: Floats) -> Floats:
    below = (values_N[None] < values_N[:, None]).sum(axis=1)
    equal = (values_N[None] == values_N[:, None]).sum(axis=1)
    return np.asarray(below + 0.5 * (equal - 1), dtype=np.float64)


def auroc(score_N: ArrayLike, label_N: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative; ties count half.

    NaN when only one class is there.
    """
    score, label = np.asarray(score_N, dtype=np.float64), np.asarray(label_N, dtype=bool)
    positive, negative = int(label.sum()), int((~label).sum())
    if not positive or not negative:
        return float("nan")
    order = np.argsort(score, kind="stable")
    value, start, size = np.unique(score[order], return_index=True, return_counts=True)
    rank = np.repeat(start + 0.5 * (size + 1), size)  # mean rank of each run of ties, from 1
    total = rank[label[order]].sum()
    return float((total - positive * (positive + 1) / 2) / (positive * negative))


def calibration_error(probability_N: ArrayLike, label_N: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: |mean probability - frequency| over equal bins, weighted by count."""
    probability = np.asarray(probability_N, dtype=np.float64)
    label = np.asarray(label_N, dtype=np.float64)
    rows = reliability(probability, label, bins)
    return float(sum(row[3] * abs(row[1] - row[2]) for row in rows) / max(1, len(probability)))


def reliability(
    probability_N: ArrayLike, label_N: ArrayLike, bins: int = 10
) -> list[tuple[float, float, float, int]]:
    """Per bin that holds any: its lower edge, mean probability, frequency of the event, count."""
    probability = np.asarray(probability_N, dtype=np.float64)
    label = np.asarray(label_N, dtype=np.float64)
    which: NDArray[np.int64] = np.minimum((probability * bins).astype(np.int64), bins - 1)
    found = []
    for number in np.unique(which):
        inside = which == number
        found.append(
            (
                number / bins,
                float(probability[inside].mean()),
                float(label[inside].mean()),
                int(inside.sum()),
            )
        )
    return found


def brier_score(probability_N: ArrayLike, label_N: ArrayLike) -> float:
    """Mean squared difference of probability and event; NaN without any."""
    probability = np.asarray(probability_N, dtype=np.float64)
    if len(probability) == 0:
        return float("nan")
    return float(((probability - np.asarray(label_N, dtype=np.float64)) ** 2).mean())
