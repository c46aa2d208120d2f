"""How soon a future gets near the goal: the mean of the remaining way over all its commands."""

from __future__ import annotations

from torch import Tensor

from sana_wm_ros.planning.critics.contact import ContactModel, start_distance, zeros
from sana_wm_ros.planning.types import Futures, Goal


class Progress:
    """Mean over the commands of the expected distance to the goal, as a share of the distance at the start.

    Standing still costs 1, arriving half way through at constant speed 0.25. A robot that touches something
    is expected to stay there. Distances at the start below the goal's tolerance count as that.
    Unit: share of the way. Default weight: 3. Costs nothing without a goal pose.
    """

    name = "progress"
    needs = ("collision", "clearance")

    def __init__(self, weight: float = 3.0, contact: ContactModel | None = None) -> None:
        self.weight = weight
        self.contact = contact or ContactModel()

    def score(self, futures: Futures) -> Tensor:
        """Share of the way, shape (N,)."""
        if not isinstance(futures.goal, Goal):
            return zeros(futures)
        return self.contact.goal_distance(futures).mean(dim=1) / start_distance(futures)
