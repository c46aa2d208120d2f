"""What tests of the published weights share: small random models in their form, and inputs for them."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from sana_wm_ros.world_model.published.conditions import CameraConditions, camera_conditions
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
