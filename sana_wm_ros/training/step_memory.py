"""How much a training step keeps in memory for its gradient, by the length of its clip: linear, or it is a bug.

Dimension letters: B clips, F latent frames, C latent channels, K sectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sana_wm_ros.geometry.camera import base_to_optical, camera_poses
from sana_wm_ros.geometry.se2 import integrate
from sana_wm_ros.training.clips import ClipBatch
from sana_wm_ros.training.objective import Foretelling, Objective, losses
from sana_wm_ros.world_model.model import NavigationModel

SHORT_S, LONG_S = 15.0, 60.0
SEEN_SHARE = 0.3


def arc_clip(model: NavigationModel, frames: int) -> ClipBatch:
    """One clip of noise along an arc, every label known."""
    spec = model.spec
    twists = np.tile([0.4, 0.0, 0.2], (frames - 1, 1))
    base = np.concatenate([np.zeros((1, 3)), integrate(np.zeros(3), twists, spec.latent_period_s)])
    mount = base_to_optical((0.1, 0.0, 0.35), (0.0, 0.12, 0.0))
    focal = spec.image_width / 2
    ones = torch.ones(1, frames)
    poses = torch.from_numpy(camera_poses(base, mount))[None]
    return ClipBatch(
        latents_BFCHW=torch.randn(1, frames, *spec.latent_shape, generator=torch.Generator().manual_seed(0)),
        poses_BF44=poses,
        context_B=torch.tensor([max(1, round(SEEN_SHARE * frames))]),
        contact_BF=torch.zeros(1, frames),
        clearance_BFK=torch.full((1, frames, spec.sectors), 2.0),
        true_poses_BF3=torch.from_numpy(base.astype(np.float32))[None],
        open_loop_B=torch.ones(1),
        intrinsics_B4=torch.tensor([[focal, focal, focal - 0.5, (spec.image_height - 1) / 2]]),
        valid_BF=ones,
        known_contact_BF=ones,
        anchor_B44=poses[:, 0],
    )


def kept_mib(model: NavigationModel, seconds: float) -> float:
    """MiB that the loss of a clip keeps for its gradient: every storage once, weights left out."""
    frames = 1 + round(seconds / model.spec.latent_period_s)
    parts = Foretelling(model.transformer, model.heads)
    weights = {p.untyped_storage().data_ptr() for p in parts.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    needed = [p.requires_grad for p in parts.parameters()]
    parts.requires_grad_(True)
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss, _ = losses(
                parts,
                model.transformer.config,
                arc_clip(model, frames),
                Objective(),
                image=(model.spec.image_height, model.spec.image_width),
                max_range_m=model.spec.max_range_m,
                channel_weight_C=torch.ones(model.spec.latent_shape[0]),
                generator=torch.Generator().manual_seed(0),
            )
        del loss
    finally:
        for parameter, before in zip(parts.parameters(), needed, strict=True):
            parameter.requires_grad_(before)
    return sum(kept.values()) / 2**20


def step_memory(model: NavigationModel) -> dict[str, Any]:
    """MiB kept at ``SHORT_S`` and at ``LONG_S``, and their ratio (4 would be exactly linear)."""
    short, long = kept_mib(model, SHORT_S), kept_mib(model, LONG_S)
    return {
        f"{SHORT_S:g} s": {"kept_mib": round(short, 1)},
        f"{LONG_S:g} s": {"kept_mib": round(long, 1)},
        "growth": round(long / short, 3),
    }
