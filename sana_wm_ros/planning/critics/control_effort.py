"""How fast a future drives and turns."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sana_wm_ros.planning.critics.contact import like_rollout
from sana_wm_ros.planning.types import Futures


class ControlEffort:
    """Mean over the horizon of (speed / speed limit)^2 + (yaw rate / yaw rate limit)^2.

    Unit: share squared; 1 for full speed straight on. Default weight: 0.1, so that standing still or
    turning needlessly is decided by it only between futures that are otherwise alike.
    """

    name = "control_effort"

    def __init__(self, weight: float = 0.1) -> None:
        self.weight = weight

    def score(self, futures: Futures) -> Tensor:
        """Share squared, shape (N,)."""
        robot, twists = futures.robot, futures.candidates.twists_NF3
        size, frames = twists.shape[:2]
        limits = np.array([robot.max_speed_mps, robot.max_speed_mps, robot.max_yaw_rate_radps])
        share = twists.reshape(size, -1) / np.tile(limits, frames)
        return like_rollout(futures, np.einsum("ni,ni->n", share, share) / frames)
