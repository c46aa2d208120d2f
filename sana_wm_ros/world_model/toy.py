"""A toy: a whole model of a few thousand lively random weights, and made-up drives for it.

Tests of every room run the real code with it in milliseconds, without files and without a GPU.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.camera import CameraTrack, latent_intrinsics
from sana_wm_ros.world_model.config import SANA_WM_STREAMING, TransformerConfig
from sana_wm_ros.world_model.heads import Heads, HeadsConfig
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.protocol import Intrinsics
from sana_wm_ros.world_model.transformer import SanaTransformer

TINY = TransformerConfig(width=32, depth=4, heads=2, head_width=16, latent_channels=5, window_frames=5)

# The streaming form of the published weights, small: everything but its sizes as published.
TINY_SANA_WM = dataclasses.replace(
    SANA_WM_STREAMING, width=48, heads=2, head_width=24, depth=4, latent_height=2, latent_width=3,
    latent_channels=6, text_width=10,
)  # fmt: skip


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


def tiny_navigation_model(seed: int = 0, **settings: object) -> NavigationModel:
    """A whole model, the same for the same seed; ``settings`` change the transformer's configuration."""
    torch.manual_seed(seed)
    config = dataclasses.replace(TINY, **settings)  # type: ignore[arg-type]
    images = AutoencoderConfig(
        latent_channels=5, widths=(8, 8, 8), encoder_depths=(1, 1, 1), decoder_depths=(1, 1, 1)
    )
    heads = Heads(HeadsConfig(place_width=8, token_width=4, hidden=16), config.width, config.tokens)
    model = NavigationModel(SanaTransformer(config), heads, Autoencoder(images))
    enliven(model.transformer, seed)
    enliven(model.autoencoder, seed + 1)
    return model.requires_grad_(False)


def pictures(frames: int, seed: int = 0) -> Tensor:
    """Random RGB frames."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, 64, 96, 3), dtype=torch.uint8, generator=generator)


def camera_path(frames: int, seed: int = 0, batch: int | None = None) -> Tensor:
    """Camera poses far from the world's origin, one per frame: (frames, 4, 4) or (batch, frames, 4, 4)."""
    poses = drive(batch or 1, frames, seed).poses_BF44.double()
    poses[..., :3, 3] += torch.tensor([40.0, 0.0, -70.0], dtype=torch.float64)
    return poses if batch else poses[0]


INTRINSICS = Intrinsics(fx=48.0, fy=48.0, cx=47.5, cy=31.5)
