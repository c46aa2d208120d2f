"""How likely a future touches something on its way, and how soon."""

from __future__ import annotations

import torch
from torch import Tensor

from sana_wm_ros.planning.critics.contact import ContactModel, like_rollout
from sana_wm_ros.planning.types import Futures


class Collision:
    """Probability that the first contact comes in a frame, times exp(-t / soon_s), summed over the frames.

    What is touched late is touched by a plan that will have been replaced many times; being stopped there is
    what the goal's critics count. ``ContactModel`` says how likely contact is: the higher of the collision
    head's probability (above its noise floor) and of how far the imagined clearance in the direction of motion
    is below radius + margin.
    At most ``cap``, so that among futures that all touch something the other critics still decide.
    Unit: probability of contact at once. Default weight: 20, so a contact now outweighs 20 m of detour.
    """

    name = "collision"
    needs = ("collision", "clearance")

    def __init__(
        self,
        weight: float = 20.0,
        cap: float = 0.98,
        soon_s: float = 10.0,
        contact: ContactModel | None = None,
    ) -> None:
        self.weight = weight
        self.cap = cap
        self.soon_s = soon_s
        self.contact = contact or ContactModel()

    def score(self, futures: Futures) -> Tensor:
        """Probability, shape (N,)."""
        times_F = (futures.proposed or futures.candidates).times_F
        soon_F = torch.exp(-like_rollout(futures, times_F) / self.soon_s)
        return torch.clamp((self.contact.stops(futures) * soon_F).sum(dim=1), max=self.cap)
