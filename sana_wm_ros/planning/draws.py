"""Finalists imagined again with other noise, and judged by the mean, and by the bad half where they touch.

A model that takes one denoising step from a blank imagines the same every time; then the first repetition
shows it, and no more are made.
Dimension letters: N finalists, F latent frames, D draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sana_wm_ros.planning.types import FloatArray
from sana_wm_ros.world_model.protocol import Rollout

_BY_THE_WORST = ("collision",)
_WORST_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Costs (N,) and shares of the finalists over all draws."""

    costs_N: FloatArray
    shares: dict[str, FloatArray]


def judged(costs_DN: list[FloatArray], shares_D: list[dict[str, FloatArray]]) -> Judgement:
    """Every critic by its mean over the draws; contact by its conditional value at risk.

    That is the mean of the worst half of the draws (Rockafellar and Uryasev, 2000): a way that touches
    something in one of three imaginations is not a third as bad.
    """
    shares = {}
    for name in shares_D[0]:
        share_DN = np.sort(np.stack([one[name] for one in shares_D]), axis=0)
        if name in _BY_THE_WORST:
            share_DN = share_DN[-int(np.ceil(_WORST_SHARE * len(share_DN))) :]
        shares[name] = share_DN.mean(axis=0)
    missing = np.mean(
        [cost - sum(one.values()) for cost, one in zip(costs_DN, shares_D, strict=True)], axis=0
    )
    return Judgement(costs_N=sum(shares.values(), start=missing), shares=shares)


def alike(first: Rollout, second: Rollout) -> bool:
    """Whether two draws are the same imagination, to rounding."""
    frames = min(first.collision_NF.shape[1], second.collision_NF.shape[1])
    return all(
        torch.allclose(getattr(first, name)[:, :frames], getattr(second, name)[:, :frames], atol=1e-5)
        for name in ("latents_NFCHW", "collision_NF", "clearance_NFK")
    )
