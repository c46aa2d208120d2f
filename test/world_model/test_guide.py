"""The guide: keyframes' latents arrive where the frame's own rays would see them, and only there."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.config import BadConfig, TransformerConfig
from sana_wm_ros.world_model.guide import DEPTHS_M, READS, guide_width, moved
from sana_wm_ros.world_model.toy import TINY, drive, enliven, latents
from sana_wm_ros.world_model.transformer import SanaTransformer

# Straight ahead lies in column 1, between rows 0 and 1; a column is 1 / 1.5 to the side at a depth of 1 m.
CONFIG = dataclasses.replace(TINY, window_frames=3, keyframes=6, keyframe_reads=2, keyframe_guide=True)
INTRINSICS = torch.tensor([[1.5, 1.5, 1.0, 0.5]])
D, C, W = len(DEPTHS_M), CONFIG.latent_channels, CONFIG.latent_width


def pose(x_m: float = 0.0, z_m: float = 0.0, yaw_rad: float = 0.0) -> Tensor:
    out = torch.eye(4)
    out[0, 0] = out[2, 2] = math.cos(yaw_rad)
    out[0, 2], out[2, 0] = math.sin(yaw_rad), -math.sin(yaw_rad)
    out[0, 3], out[2, 3] = x_m, z_m
    return out


def guided(view: Tensor, keyframe: Tensor, seen_SC: Tensor, valid: bool = True) -> tuple[Tensor, Tensor]:
    """Latents (D, S, C) and weights (D, S) that the first of two equal keyframes gives one view."""
    out = moved(
        CONFIG,
        view[None, None],
        keyframe.expand(1, 1, READS, 4, 4),
        seen_SC.expand(1, 1, READS, *seen_SC.shape),
        torch.full((1, 1, READS), valid),
        INTRINSICS,
    )
    assert out.shape == (1, 1, CONFIG.tokens, guide_width(CONFIG))
    rows = out[0, 0].unflatten(1, (READS, D, C + 1))[:, 0].transpose(0, 1)
    return rows[..., :C], rows[..., C]


@pytest.fixture
def seen_SC() -> Tensor:
    return torch.randn(CONFIG.tokens, C, generator=torch.Generator().manual_seed(3))


def test_the_same_place_gives_the_same_latents(seen_SC: Tensor) -> None:
    values, weights = guided(pose(0.7, 2.0, 0.4), pose(0.7, 2.0, 0.4), seen_SC)
    torch.testing.assert_close(values, seen_SC.expand(D, -1, -1), atol=1e-5, rtol=0)
    torch.testing.assert_close(weights, torch.ones_like(weights), atol=1e-5, rtol=0)


def test_what_lies_behind_the_keyframe_or_was_not_worth_it_guides_nothing(seen_SC: Tensor) -> None:
    for values, weights in (
        guided(pose(), pose(yaw_rad=math.pi), seen_SC),
        guided(pose(), pose(), seen_SC, valid=False),
    ):
        assert not values.any() and not weights.any()


def test_a_step_to_the_side_moves_near_things_by_whole_columns(seen_SC: Tensor) -> None:
    """Moving right by depth / fx makes what was in column c + 1 appear in column c."""
    values, weights = guided(pose(x_m=DEPTHS_M[0] / 1.5), pose(), seen_SC)
    picture, weight = values[0].unflatten(0, (-1, W)), weights[0].unflatten(0, (-1, W))
    was = seen_SC.unflatten(0, (-1, W))
    # Weighted by how much nearer or farther the keyframe saw it.
    torch.testing.assert_close(picture[:, 0], was[:, 1] * weight[:, 0, None])
    torch.testing.assert_close(picture[:, 1], was[:, 2] * weight[:, 1, None])
    # Straight ahead at 1.5 m, seen by the keyframe from sqrt(1.5^2 + 1^2) m: the row lies half a column below.
    up = 0.5 / 1.5
    near, far = math.hypot(1.0, up), math.hypot(1.0, up, 1.0 / 1.5)
    assert float(weight[0, 1]) == pytest.approx(near / far, abs=1e-5)


def test_a_turn_moves_all_depths_alike(seen_SC: Tensor) -> None:
    values, weights = guided(pose(yaw_rad=0.3), pose(), seen_SC)
    torch.testing.assert_close(values[0], values[1], atol=1e-5, rtol=0)
    torch.testing.assert_close(weights[0], weights[1], atol=1e-5, rtol=0)
    assert weights.any() and not weights.all()


def test_a_guide_without_keyframes_is_refused() -> None:
    with pytest.raises(BadConfig, match="keyframe_guide"):
        TransformerConfig(keyframe_guide=True)


def imagine_last(model: SanaTransformer, x: Tensor, track: CameraTrack) -> Tensor:
    sigma = torch.zeros(1, x.shape[1])
    sigma[:, -1] = 1.0
    out, _, _ = model(x, sigma, track, None, (1,) * x.shape[1], x.shape[1] - 1)
    return out[:, -1]


def test_only_unseen_frames_are_guided_and_a_new_guide_says_nothing() -> None:
    torch.manual_seed(0)
    plain = SanaTransformer(dataclasses.replace(CONFIG, keyframe_guide=False))
    enliven(plain, 0)
    model = SanaTransformer(CONFIG)
    found = model.load_state_dict(plain.state_dict(), strict=False)
    assert found.missing_keys == ["guide_embedder.weight"]
    x, track = latents(1, 8), drive(1, 8)
    same = imagine_last(plain.eval(), x, track)
    assert torch.equal(imagine_last(model.eval(), x, track), same)
    torch.nn.init.normal_(model.guide_embedder.weight, std=0.1)
    assert not torch.allclose(imagine_last(model, x, track), same, atol=1e-3)
    seen, _, _ = model(x, torch.zeros(1, 8), track, None, (1,) * 8, 8)
    torch.testing.assert_close(seen, plain(x, torch.zeros(1, 8), track, None, (1,) * 8, 8)[0])
