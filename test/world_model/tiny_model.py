"""A small transformer with lively weights and a camera that really moves."""

from __future__ import annotations

import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import CameraTrack, latent_intrinsics
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.transformer import SanaTransformer

TINY = TransformerConfig(width=32, depth=4, heads=2, head_width=16, latent_channels=5, window_frames=5)


def enliven(module: torch.nn.Module, seed: int = 0) -> None:
    """Random values everywhere, so that nothing which starts at zero can hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        fan = parameter[0].numel() if parameter.ndim > 1 else 25
        noise = torch.randn(parameter.shape, generator=generator) / fan**0.5
        parameter.data = noise if parameter.ndim > 1 else parameter.data + noise


def drive(batch: int, frames: int, seed: int = 0) -> CameraTrack:
    """Another curved drive for every row."""
    generator = torch.Generator().manual_seed(seed)
    yaw = torch.randn(batch, frames, generator=generator).mul(0.2).cumsum(1)
    poses = torch.eye(4).repeat(batch, frames, 1, 1)
    poses[..., 0, 0] = poses[..., 2, 2] = yaw.cos()
    poses[..., 0, 2], poses[..., 2, 0] = yaw.sin(), -yaw.sin()
    poses[..., 0, 3], poses[..., 2, 3] = (0.3 * yaw.sin()).cumsum(1), (0.3 * yaw.cos()).cumsum(1)
    intrinsics = latent_intrinsics(48.0, 48.0, 47.5, 31.5, image=(64, 96), latent=(4, 6)).repeat(batch, 1)
    return CameraTrack(poses_BF44=poses, before_B44=poses[:, 0], intrinsics_B4=intrinsics)


def latents(batch: int, frames: int, seed: int = 0) -> Tensor:
    """Unit noise in the shape of TINY's latents."""
    return torch.randn(batch, frames, 5, 4, 6, generator=torch.Generator().manual_seed(seed))
