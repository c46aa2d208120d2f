"""How unsure the model says it is of what it imagined."""

from __future__ import annotations

from torch import Tensor

from sana_wm_ros.planning.critics.contact import trusted_mean
from sana_wm_ros.planning.types import Futures


class Uncertainty:
    """Mean over the horizon of the expected latent error.

    Unit: standard deviations of a latent. Default weight: 0.5. Ways into the unseen cost a little more than
    ways through what the camera knows.
    """

    name = "uncertainty"
    needs = ("uncertainty",)

    def __init__(self, weight: float = 0.5) -> None:
        self.weight = weight

    def score(self, futures: Futures) -> Tensor:
        """Standard deviations, shape (N,)."""
        return trusted_mean(futures, futures.rollout.uncertainty_NF)
