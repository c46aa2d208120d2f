"""How likely a future touches something on its way."""

from __future__ import annotations

import torch
from torch import Tensor

from sana_wm_ros.planning.critics.contact import ContactModel
from sana_wm_ros.planning.types import Futures


class Collision:
    """Probability of contact along the way: 1 - prod(1 - p_f), with p_f discounted as imagination drifts.

    p_f is the higher of the collision head's probability (above its noise floor) and of how far the
    imagined clearance in the direction of motion is below radius + margin (see ``ContactModel``).
    At most ``cap``, so that among futures that all touch something the other critics still decide.
    Unit: probability. Default weight: 20, so a certain contact outweighs 20 m of detour.
    """

    name = "collision"

    def __init__(self, weight: float = 20.0, cap: float = 0.98, contact: ContactModel | None = None) -> None:
        self.weight = weight
        self.cap = cap
        self.contact = contact or ContactModel()

    def score(self, futures: Futures) -> Tensor:
        """Probability, shape (N,)."""
        return torch.clamp(1 - self.contact.survival(futures)[:, -1], max=self.cap)
