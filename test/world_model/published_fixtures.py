"""What tests of the published weights share: small random models in their form, and inputs for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model.published.conditions import CameraConditions, camera_conditions
from sana_wm_ros.world_model.published.video import LTXVideo
from sana_wm_ros.world_model.text import ReadText
from sana_wm_ros.world_model.toy import TINY_SANA_WM, drive, enliven
from sana_wm_ros.world_model.transformer import SanaTransformer


def tiny_transformer(**settings: object) -> SanaTransformer:
    torch.manual_seed(0)
    model = SanaTransformer(dataclasses.replace(TINY_SANA_WM, **settings))  # type: ignore[arg-type]
    enliven(model)
    return model.eval().requires_grad_(False)


def caption(model: SanaTransformer, seed: int = 0) -> ReadText:
    tokens = torch.randn(1, 5, model.config.text_width, generator=torch.Generator().manual_seed(seed))
    return model.read(tokens, torch.tensor([[1, 1, 1, 0, 1]]))


def camera(frames: int, seed: int = 0) -> CameraConditions:
    poses = drive(1, 8 * frames - 7, seed=seed).poses_BF44[0]
    return camera_conditions(poses, torch.tensor([70.0, 72.0, 47.0, 33.0]), image=(64, 96), latent=(2, 3))


def noise(frames: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, frames, 6, 2, 3, generator=torch.Generator().manual_seed(seed))


def tiny_video(**settings: Any) -> LTXVideo:
    """An LTX-2 autoencoder of a few thousand random weights for 64 x 96 pictures; skips without diffusers."""
    ltx = pytest.importorskip(
        "diffusers.models.autoencoders.autoencoder_kl_ltx2", reason="needs diffusers 0.42.1 (extra sana_wm)"
    )
    torch.manual_seed(0)
    network = ltx.AutoencoderKLLTX2Video(
        latent_channels=6, block_out_channels=(8, 8, 16, 16), decoder_block_out_channels=(8, 16, 32),
        layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1), **settings,
    )  # fmt: skip
    enliven(network)
    network.latents_mean.copy_(torch.linspace(-0.5, 0.5, 6))
    network.latents_std.copy_(torch.linspace(0.5, 2.0, 6))
    return LTXVideo(network, 64, 96)
