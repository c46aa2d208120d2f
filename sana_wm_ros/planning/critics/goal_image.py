"""How far a future stays from the place that a goal image shows."""

from __future__ import annotations

from torch import Tensor

from sana_wm_ros.planning.critics.contact import trusted_mean, zeros
from sana_wm_ros.planning.types import Futures, PlaceGoal


class GoalImage:
    """Distance 1 - cos between imagined place embeddings and the goal's: half its last value, half its mean.

    The last value asks to end there, the mean to be there soon. A robot that touches something is imagined
    where it was stopped, so a way through a wall ends before the wall.
    Unit: 1 - cos, from 0 (there) to 2. Default weight: 10. Costs nothing without a goal image.
    """

    name = "goal_image"
    needs = ("place",)

    def __init__(self, weight: float = 10.0) -> None:
        self.weight = weight

    def score(self, futures: Futures) -> Tensor:
        """1 - cos, shape (N,)."""
        if not isinstance(futures.goal, PlaceGoal) or futures.goal.place_E is None:
            return zeros(futures)
        place_NFE = futures.rollout.place_NFE
        away_NF = 1 - place_NFE @ futures.goal.place_E.to(place_NFE)
        return 0.5 * away_NF[:, -1] + 0.5 * trusted_mean(futures, away_NF)
