"""How long imagining takes on this machine, learnt while planning, and the rounds that fit into what is left.

Dimension letters: N candidates, F latent frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_NEWEST_SHARE = 0.3


class Pace:
    """Seconds per latent frame by batch size: running means of what was measured."""

    def __init__(self) -> None:
        self._frame_s: dict[int, float] = {}

    def observe(self, size: int, frames: int, seconds: float) -> None:
        """Take in that ``frames`` frames of ``size`` candidates took so long."""
        new = seconds / frames
        known = self._frame_s.get(size)
        self._frame_s[size] = new if known is None else known + _NEWEST_SHARE * (new - known)

    def frame_s(self, size: int) -> float | None:
        """Seconds per frame to expect for ``size`` candidates; None while nothing was measured.

        A size that was never measured takes at most what the next larger one took, and at most what a smaller
        one took times the ratio of both.
        """
        if size in self._frame_s:
            return self._frame_s[size]
        bounds = [seconds * max(1.0, size / known) for known, seconds in self._frame_s.items()]
        return min(bounds) if bounds else None


def halved(size: int, keep_fraction: float, keep_least: int) -> int:
    """How many of ``size`` candidates go on to the next round."""
    return min(size, max(keep_least, math.ceil(keep_fraction * size)))


def duration_s(
    rounds_s: Sequence[float],
    size: int,
    pace: Pace,
    *,
    period_s: float,
    keep_fraction: float,
    keep_least: int,
    done_s: float = 0.0,
) -> float:
    """Seconds that a whole schedule is expected to take from horizon ``done_s`` on."""
    total, before = 0.0, done_s
    for horizon_s in rounds_s:
        frame_s = pace.frame_s(size)
        assert frame_s is not None, "nothing was measured yet"
        total += frame_s * max(0.0, horizon_s - before) / period_s
        before = max(before, horizon_s)
        size = halved(size, keep_fraction, keep_least)
    return total


def fitting_rounds(
    rounds_s: Sequence[float],
    size: int,
    pace: Pace,
    left_s: float,
    *,
    period_s: float,
    keep_fraction: float,
    keep_least: int,
    least_s: float,
    done_s: float = 0.0,
) -> tuple[float, ...]:
    """The given rounds where they fit into ``left_s``; otherwise rounds that halve earlier, as early as needed.

    The first horizon is halved until everything fits, though not below ``least_s``; the others double from
    there to the same last one. Where even that does not fit, whoever runs them is stopped by the clock.
    """
    first, last = rounds_s[0], rounds_s[-1]
    rounds = tuple(rounds_s)
    while duration_s(
        rounds,
        size,
        pace,
        period_s=period_s,
        keep_fraction=keep_fraction,
        keep_least=keep_least,
        done_s=done_s,
    ) > left_s and first / 2 >= max(least_s, done_s):
        first /= 2
        rounds = doubling(first, last)
    return rounds


def doubling(first_s: float, last_s: float) -> tuple[float, ...]:
    """first, twice that, ... and the last."""
    rounds: list[float] = []
    while first_s < last_s:
        rounds.append(first_s)
        first_s *= 2
    return (*rounds, last_s)
