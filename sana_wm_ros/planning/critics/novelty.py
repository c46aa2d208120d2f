"""How much of a future leads through places where the robot has been already; for exploring."""

from __future__ import annotations

from torch import Tensor

from sana_wm_ros.planning.critics.contact import trusted_mean, zeros
from sana_wm_ros.planning.types import Futures


class Novelty:
    """Mean over the horizon of the likeness (cos, from 0) between a place and the most alike visited one.

    1: nothing but the known; 0: nothing but the new. The place embedding tells driving distance, so likeness
    falls as exp(-distance / 3 m) from what was seen.
    Unit: share. Default weight: 10. Costs nothing with a goal, or before any place was visited.
    """

    name = "novelty"
    needs = ("place",)

    def __init__(self, weight: float = 10.0) -> None:
        self.weight = weight

    def score(self, futures: Futures) -> Tensor:
        """Share, shape (N,)."""
        if futures.goal is not None or futures.visited_ME is None:
            return zeros(futures)
        place_NFE = futures.rollout.place_NFE
        likeness_NFM = place_NFE @ futures.visited_ME.to(place_NFE).T
        return trusted_mean(futures, likeness_NFM.amax(dim=-1).clamp(min=0))
