"""Keeps a broken step from ruining a training: what is not finite is skipped, and many of them end it."""

from __future__ import annotations

import torch
from torch import Tensor


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had a loss or gradient that was not finite."""


class FiniteGuard:
    """Counts skipped steps; more than ``limit`` in a row raise ``TrainingDiverged``."""

    def __init__(self, limit: int = 20) -> None:
        self.limit = limit
        self.in_a_row = 0
        self.total = 0

    def accepts(self, loss: Tensor, gradient_norm: Tensor) -> bool:
        """Whether the step may be taken."""
        if bool(torch.isfinite(loss)) and bool(torch.isfinite(gradient_norm)):
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        self.total += 1
        if self.in_a_row > self.limit:
            raise TrainingDiverged(
                f"{self.in_a_row} steps in a row had a loss or gradient that was not finite "
                f"(last loss {float(loss):g}). Lower the learning rate and resume from the last checkpoint."
            )
        return False
