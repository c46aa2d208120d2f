"""A world model that costs nothing and knows nothing: free space everywhere. Measures what all the rest costs."""

from __future__ import annotations

import torch
from torch import Tensor

from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec, Rollout

NULL_SPEC = ModelSpec(
    image_height=64,
    image_width=96,
    frame_rate_hz=8.0,
    frames_per_latent=4,
    latent_shape=(1, 1, 1),
    sectors=24,
    max_range_m=8.0,
    place_width=1,
)


class NullModel:
    """Implements the protocol of ``world_model/protocol.py`` without imagining anything."""

    spec = NULL_SPEC

    def start(self, intrinsics: Intrinsics) -> _Context:
        """An empty context."""
        return _Context(0)

    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Black pictures."""
        frames = len(latents_FCHW) * self.spec.frames_per_latent
        return torch.zeros(frames, self.spec.image_height, self.spec.image_width, 3, dtype=torch.uint8)


class _Context:
    def __init__(self, latent_frames: int) -> None:
        self.latent_frames = latent_frames
        self.last_latent_CHW = torch.zeros(NULL_SPEC.latent_shape) if latent_frames else None

    def extend(self, frames_THWC: Tensor, poses_T44: Tensor) -> _Context:
        return _Context(self.latent_frames + -(-len(frames_THWC) // NULL_SPEC.frames_per_latent))

    def fork(self, candidates: int) -> _Batch:
        return _Batch(candidates)


class _Batch:
    def __init__(self, size: int) -> None:
        self.size = size

    def imagine(
        self, poses_NF44: Tensor, *, steps: int | None = None, generator: torch.Generator | None = None
    ) -> tuple[_Batch, Rollout]:
        n, f = poses_NF44.shape[:2]
        rollout = Rollout(
            latents_NFCHW=torch.zeros(n, f, *NULL_SPEC.latent_shape),
            collision_NF=torch.zeros(n, f),
            clearance_NFK=torch.full((n, f, NULL_SPEC.sectors), NULL_SPEC.max_range_m),
            uncertainty_NF=torch.zeros(n, f),
            place_NFE=torch.ones(n, f, NULL_SPEC.place_width),
        )
        return self, rollout

    def select(self, index_N: Tensor) -> _Batch:
        return _Batch(len(index_N))
