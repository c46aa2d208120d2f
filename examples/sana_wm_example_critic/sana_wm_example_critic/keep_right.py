"""A cost for passing things on the wrong side: keep to the right of corridors."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sana_wm_ros.planning.types import Futures


class KeepRight:
    """Mean over the horizon of how much more room there is on the right than on the left, as a share of both.

    Unit: share from 0 (hugs what is on the right) to 1. Default weight: 1.
    """

    name = "keep_right"
    needs = ("clearance",)

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def score(self, futures: Futures) -> Tensor:
        """Share, shape (N,): one finite cost per candidate, lower is better."""
        clearance_NFK = futures.rollout.clearance_NFK
        sectors = clearance_NFK.shape[-1]
        left, right = sectors // 4, sectors - sectors // 4  # sector k looks 2 pi k / K to the left
        left_NF, right_NF = clearance_NFK[..., left], clearance_NFK[..., right]
        return (right_NF / (left_NF + right_NF).clamp(min=float(np.finfo(np.float32).eps))).mean(dim=1)
