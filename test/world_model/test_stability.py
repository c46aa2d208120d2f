"""No Gated DeltaNet memory can explode: every transition of trained, random and hostile weights is a contraction."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.checkpoint import load_model
from sana_wm_ros.world_model.delta_attention import DeltaAttention
from sana_wm_ros.world_model.kernels import Form, naive
from sana_wm_ros.world_model.toy import TINY, drive, enliven, latents
from sana_wm_ros.world_model.transformer import SanaTransformer

FRAMES = 12


def far(track: CameraTrack, by_m: float) -> CameraTrack:
    """The track as seen from an anchor so far away."""
    poses, before = track.poses_BF44.clone(), track.before_B44.clone()
    poses[..., 2, 3] += by_m
    before[..., 2, 3] += by_m
    return dataclasses.replace(track, poses_BF44=poses, before_B44=before)


def eigenvalues(
    model: SanaTransformer, monkeypatch: pytest.MonkeyPatch, away_m: float = 0.0
) -> dict[str, Tensor]:
    """Of every frame's g (I - K B K^T) in the main branch, the camera branch and the normaliser, in float64."""
    found: dict[str, list[Tensor]] = {"main": [], "camera": [], "normaliser": []}

    def watched(
        q: Tensor, k: Tensor, v: Tensor | None, beta: Tensor, decay: Tensor, state: Tensor,
        chunk_lengths: tuple[int, ...], bounded: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        identity = torch.eye(k.shape[-1])
        for t in range(len(k)):
            # Without values, the state after a frame that began with I is that frame's transition.
            start = identity.expand(*k.shape[1:3], -1, -1)
            one = slice(t, t + 1)
            nothing = k.new_zeros(*k[one].shape[:-1], k.shape[-1])
            _, A = naive.delta_memory(q[one], k[one], nothing, beta[one], decay[one], start, (1,), bounded)
            parts = (
                {"normaliser": A} if v is None else dict(zip(("main", "camera"), A.chunk(2, 1), strict=True))
            )
            for name, part in parts.items():
                found[name].append(torch.linalg.eigvalsh(part.double()).flatten())
        return naive.delta_memory(q, k, v, beta, decay, state, chunk_lengths, bounded)

    monkeypatch.setattr(DeltaAttention, "form", lambda self, x: Form(delta_memory=watched))
    config = model.config
    x = torch.randn(
        1, FRAMES, config.latent_channels, config.latent_height, config.latent_width,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    track = far(drive(1, FRAMES), away_m)
    with torch.no_grad():
        out, _, state = model(x, torch.zeros(1, 1), track, None, (1, 3, 2, 2, 2, 2))
    assert out.isfinite().all()
    assert all(
        v.isfinite().all() for block in state.blocks for v in vars(block).values() if isinstance(v, Tensor)
    )
    return {name: torch.cat(values) for name, values in found.items()}


def assert_contractions(found: dict[str, Tensor]) -> None:
    for name, values in found.items():
        assert len(values) > 100, name
        assert values.min() >= -1e-5 and values.max() <= 1.0 + 1e-5, (name, values.min(), values.max())


@pytest.fixture(scope="module")
def nano(checkout: Path) -> SanaTransformer:
    return load_model(checkout / "models" / "nano").transformer


@pytest.mark.parametrize("away_m", [0.0, 1000.0])
def test_the_trained_nano_contracts_near_its_anchor_and_a_kilometre_away(
    nano: SanaTransformer, monkeypatch: pytest.MonkeyPatch, away_m: float
) -> None:
    found = eigenvalues(nano, monkeypatch, away_m)
    assert_contractions(found)
    assert found["main"].max() > 0.9  # and it does remember


def lively(**settings: object) -> SanaTransformer:
    torch.manual_seed(0)
    model = SanaTransformer(dataclasses.replace(TINY, **settings))  # type: ignore[arg-type]
    enliven(model, seed=3)
    return model.eval().requires_grad_(False)


def huge_norms(block: DeltaAttention) -> None:
    for norm in (block.k_norm, block.k_norm_cam, block.q_norm, block.q_norm_cam):
        norm.weight.data.mul_(1e4)


def all_written(block: DeltaAttention) -> None:
    block.beta_proj.bias.data.fill_(1e4)
    block.k_norm.weight.data.mul_(30.0)
    block.k_norm_cam.weight.data.mul_(30.0)


def nothing_forgotten(block: DeltaAttention) -> None:
    block.A_log.data.fill_(100.0)
    block.dt_bias.data.fill_(-1e4)
    block.gate_proj.weight.data.zero_()


def everything_forgotten(block: DeltaAttention) -> None:
    block.A_log.data.fill_(100.0)
    block.dt_bias.data.fill_(1e4)


@pytest.mark.parametrize("translation", ["homogeneous", "rotary"])
@pytest.mark.parametrize("spoil", [huge_norms, all_written, nothing_forgotten, everything_forgotten])
def test_no_weights_make_a_bounded_memory_expand(
    monkeypatch: pytest.MonkeyPatch, spoil: Callable[[DeltaAttention], None], translation: str
) -> None:
    model = lively(translation=translation)
    for block in model.blocks:
        if isinstance(block.attn, DeltaAttention):
            spoil(block.attn)
    assert_contractions(eigenvalues(model, monkeypatch, away_m=50.0))


def test_published_rules_are_untouched_by_the_bound_and_do_expand(monkeypatch: pytest.MonkeyPatch) -> None:
    """SANA's key scale alone: grown norm weights turn the sign of what is remembered."""
    model = lively(bounded_keys=False)
    for block in model.blocks:
        if isinstance(block.attn, DeltaAttention):
            block.attn.k_norm.weight.data.mul_(10.0)
    assert eigenvalues(model, monkeypatch)["main"].min() < -1.0


def test_where_keys_are_short_the_bound_changes_nothing() -> None:
    outs = []
    for bounded in (False, True):
        model = lively(bounded_keys=bounded)
        for block in model.blocks:
            if isinstance(block.attn, DeltaAttention):
                block.attn.k_norm.weight.data.mul_(0.1)
                block.attn.k_norm_cam.weight.data.mul_(0.0)  # UCPE alone lowers unbounded betas
        outs.append(model(latents(1, 8), torch.zeros(1, 1), drive(1, 8), None)[0])
    torch.testing.assert_close(outs[0], outs[1], atol=1e-6, rtol=1e-5)
