"""How closely a future passes things, well before it touches them."""

from __future__ import annotations

from torch import Tensor

from sana_wm_ros.planning.critics.contact import discount
from sana_wm_ros.planning.types import Futures


class Clearance:
    """Mean over the horizon of (1 - free / comfort)^2, where free = nearest imagined distance - radius.

    0 with ``comfort_m`` or more around the robot's disc, 1 when it touches. Frames count
    exp(-t / trust_s), as imagination drifts, relative to the sum of those weights.
    Unit: share. Default weight: 3.
    """

    name = "clearance"
    needs = ("clearance",)

    def __init__(self, weight: float = 3.0, comfort_m: float = 0.9, trust_s: float = 20.0) -> None:
        self.weight = weight
        self.comfort_m = comfort_m
        self.trust_s = trust_s

    def score(self, futures: Futures) -> Tensor:
        """Share, shape (N,)."""
        free_NF = futures.rollout.clearance_NFK.amin(dim=-1) - futures.robot.radius_m
        closeness_NF = (1 - free_NF / self.comfort_m).clamp(0, 1) ** 2
        weight_F = discount(futures, self.trust_s)
        return (closeness_NF * weight_F).sum(dim=1) / weight_F.sum()
