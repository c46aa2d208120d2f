"""How far a future strays from the path that was given."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from sana_wm_ros.planning.critics.contact import like_rollout, zeros
from sana_wm_ros.planning.types import Futures, Goal


class PathFollowing:
    """Mean distance in metres between the poses that the commands ask for and the nearest point of the path.

    Unit: m. Default weight: 3 per metre. Costs nothing without a goal that is a path.
    """

    name = "path_following"

    def __init__(self, weight: float = 3.0) -> None:
        self.weight = weight

    def score(self, futures: Futures) -> Tensor:
        """Metres, shape (N,)."""
        goal = futures.goal
        if not isinstance(goal, Goal) or goal.path_M2 is None or len(goal.path_M2) < 2:
            return zeros(futures)
        points_NF2 = like_rollout(futures, (futures.proposed or futures.candidates).poses_NF3[..., :2])
        path_M2 = like_rollout(futures, goal.path_M2)
        nearest_NF = torch.full_like(points_NF2[..., 0], torch.inf)
        for begin, end in itertools.pairwise(path_M2):
            along, offset_NF2 = end - begin, points_NF2 - begin
            share_NF = (offset_NF2 @ along / (along @ along).clamp(min=1e-12)).clamp(0, 1)
            away_NF = torch.linalg.norm(offset_NF2 - share_NF[..., None] * along, dim=-1)
            nearest_NF = torch.minimum(nearest_NF, away_NF)
        return nearest_NF.mean(dim=1)
