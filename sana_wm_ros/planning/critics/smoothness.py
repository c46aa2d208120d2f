"""How much the commands change from frame to frame."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sana_wm_ros.planning.critics.contact import like_rollout
from sana_wm_ros.planning.types import Futures


class Smoothness:
    """Mean squared change of the command per frame, as a share of the largest change that limits allow.

    The change of velocity over (acceleration limit x period), squared, plus the same for the yaw rate; the
    first change is from the twist that the robot has now, so plans that jerk the robot around cost more.
    Unit: share squared, 0 for a constant command, 2 for one that always changes as hard as it may.
    Default weight: 1.
    """

    name = "smoothness"

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def score(self, futures: Futures) -> Tensor:
        """Share squared, shape (N,)."""
        robot, candidates = futures.robot, futures.candidates
        period_s = candidates.times_F[0]
        change = np.empty_like(candidates.twists_NF3)
        change[:, 0] = candidates.twists_NF3[:, 0] - futures.start.twist_3
        np.subtract(candidates.twists_NF3[:, 1:], candidates.twists_NF3[:, :-1], out=change[:, 1:])
        largest = period_s * np.array([robot.max_acceleration_mps2] * 2 + [robot.max_yaw_acceleration_radps2])
        size, frames = change.shape[:2]
        share = change.reshape(size, -1) / np.tile(largest, frames)
        return like_rollout(futures, np.einsum("ni,ni->n", share, share) / frames)
