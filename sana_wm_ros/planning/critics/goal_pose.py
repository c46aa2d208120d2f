"""How far from the goal a future ends: metres, plus the heading's error close to it."""

from __future__ import annotations

import torch
from torch import Tensor

from sana_wm_ros.planning.critics.contact import ContactModel, goal_distance, like_rollout, zeros
from sana_wm_ros.planning.types import Futures, Goal


class GoalPose:
    """Expected distance in metres between the goal and where the robot is at the end of its commands.

    A robot that touches something is expected to stay there, so a way through a wall ends at the wall.
    A goal with a yaw adds ``heading_m_per_rad`` times the final error, fading with exp(-distance / 1 m).
    Unit: m. Default weight: 1 per metre. Costs nothing without a goal pose.
    """

    name = "goal_pose"
    needs = ("collision", "clearance")

    def __init__(
        self, weight: float = 1.0, heading_m_per_rad: float = 0.3, contact: ContactModel | None = None
    ) -> None:
        self.weight = weight
        self.heading_m_per_rad = heading_m_per_rad
        self.contact = contact or ContactModel()

    def score(self, futures: Futures) -> Tensor:
        """Metres, shape (N,)."""
        if not isinstance(futures.goal, Goal):
            return zeros(futures)
        cost = self.contact.goal_distance(futures)[:, -1]
        if futures.goal.yaw_rad is None:
            return cost
        proposed = futures.proposed or futures.candidates
        yaw = like_rollout(futures, proposed.poses_NF3[:, -1, 2]) - futures.goal.yaw_rad
        error = torch.atan2(torch.sin(yaw), torch.cos(yaw)).abs()
        return cost + self.heading_m_per_rad * error * torch.exp(-goal_distance(futures)[:, -1])
