"""How far a training is, and the learning rate that belongs there: warm-up, plateau, a linear way down.

The plateau lets a run be prolonged, or its averaged weights be exported, at any time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """A training ends after ``steps`` steps or ``minutes`` minutes of training time, what comes first."""

    steps: int = 1_000_000_000
    minutes: float | None = None
    warmup_steps: int = 100
    decay_from: float = 0.6
    final_factor: float = 0.02

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.minutes is not None and self.minutes <= 0):
            raise ValueError(f"steps = {self.steps}, minutes = {self.minutes}: expected both above zero")
        if not 0.0 <= self.decay_from <= 1.0:
            raise ValueError(f"decay_from = {self.decay_from}: expected a fraction from 0 to 1")

    def progress(self, step: int, elapsed_s: float) -> float:
        """The fraction done, 0 to 1."""
        by_time = elapsed_s / (60.0 * self.minutes) if self.minutes is not None else 0.0
        return min(1.0, max(step / self.steps, by_time))

    def factor(self, step: int, elapsed_s: float) -> float:
        """What the peak learning rate is multiplied by."""
        done = self.progress(step, elapsed_s)
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if done <= self.decay_from:
            return warm
        left = (1.0 - done) / max(1e-9, 1.0 - self.decay_from)
        return warm * (self.final_factor + (1.0 - self.final_factor) * left)
