"""Against an independent implementation: diffusers' bidirectional SANA-WM, where it is installed.

With one chunk over the whole clip and the published switches, this transformer must be that one
(without text, whose projection is set to zero in theirs).
"""

from __future__ import annotations

import importlib

import pytest
import torch

from sana_wm_ros.world_model.camera import camera_tables
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.toy import drive, enliven
from sana_wm_ros.world_model.transformer import SanaTransformer

MODULE = "diffusers.models.transformers.transformer_sana_wm"
PUBLISHED = TransformerConfig(
    width=64, depth=4, heads=2, head_width=32, mlp_ratio=3.0, latent_channels=16, raw_per_latent=8,
    position_scale=1.0, window_frames=64, max_chunk_frames=64, prediction="flow", bounded_keys=False,
    denominator_floor=0.0, truncate_timesteps=True,
)  # fmt: skip


@torch.no_grad()
def test_it_is_the_published_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs_module = pytest.importorskip(
        MODULE, reason="needs diffusers >= 0.42.1, an oracle for this test only"
    )
    # NVlabs' own code does not rescale after UCPE; diffusers does.
    monkeypatch.setattr(theirs_module, "_downscale_to_reference_rms", lambda before, after, *rest: after)
    theirs = importlib.import_module(MODULE).SanaWMTransformer3DModel(
        in_channels=16, num_layers=4, hidden_size=64, num_attention_heads=2, linear_head_dim=32,
        caption_channels=32, chunk_plucker_channels=48,
    ).eval()  # fmt: skip
    enliven(theirs)
    for block in theirs.blocks:
        block.cross_attn.proj.weight.zero_()
        block.cross_attn.proj.bias.zero_()
    mine = SanaTransformer(PUBLISHED).eval()
    published = theirs.state_dict()
    renamed = {"t_embedder.mlp.0": "t_embedder.linear_1", "t_embedder.mlp.2": "t_embedder.linear_2"}
    weights = {}
    for name in mine.state_dict():
        layer, _, kind = name.rpartition(".")
        weights[name] = published[f"{renamed.get(layer, layer)}.{kind}"]
    mine.load_state_dict(weights)

    batch, frames = 2, 7
    x = torch.randn(batch, frames, 16, 4, 6, generator=torch.Generator().manual_seed(2))
    timestep = torch.tensor([0.0, 700, 700, 700, 300, 300, 900]).repeat(batch, 1)
    track = drive(batch, frames)
    intrinsics = track.intrinsics_B4[:, None].expand(batch, frames, 4)
    plucker = camera_tables(track, PUBLISHED).plucker_FBSP.permute(1, 3, 0, 2).unflatten(-1, (4, 6))
    expected = theirs(
        x.transpose(1, 2), timestep[:, None], torch.zeros(batch, 1, 9, 32), mask=torch.ones(batch, 9),
        camera_conditions=torch.cat([track.poses_BF44.flatten(2), intrinsics], -1), chunk_plucker=plucker,
    ).sample.transpose(1, 2)  # fmt: skip
    # A thousandth above the whole timestep, so that rounding cannot truncate it to the one below.
    got, _, _ = mine(x, (timestep + 1e-3) / 1000.0, track, None, (frames,))
    assert expected.std() > 0.5
    # Their softmax block runs in bfloat16; GDN blocks alone agree to 1e-6.
    assert (got - expected).abs().mean() < 1e-3 * expected.std()
