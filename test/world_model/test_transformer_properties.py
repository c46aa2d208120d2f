"""Whatever a preset chooses, and wherever a clip is cut: one pass, many passes and forks agree."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.text import ReadText
from sana_wm_ros.world_model.toy import drive, enliven
from sana_wm_ros.world_model.transformer import SanaTransformer


@st.composite
def presets(draw: st.DrawFn) -> TransformerConfig:
    """Small presets over sizes and over every switch that leaves a state to carry on."""
    heads, head_width = draw(st.integers(1, 3)), draw(st.sampled_from([8, 16, 24, 40]))
    bounded = draw(st.booleans())
    return TransformerConfig(
        width=heads * head_width, heads=heads, head_width=head_width,
        depth=draw(st.integers(1, 3)), softmax_every=draw(st.integers(2, 3)),
        latent_channels=draw(st.integers(1, 4)), latent_height=draw(st.integers(1, 3)),
        latent_width=draw(st.integers(1, 3)), window_frames=draw(st.integers(1, 6)),
        sink_frames=draw(st.integers(0, 4)), conv_width=draw(st.integers(1, 4)),
        raw_per_latent=draw(st.integers(1, 3)), mlp_ratio=draw(st.sampled_from([1.0, 3.0])),
        bounded_keys=bounded, denominator_floor=0.1 if bounded else 0.0,
        prediction=draw(st.sampled_from(["x0", "flow"])), truncate_timesteps=draw(st.booleans()),
        text_width=draw(st.sampled_from([0, 6])), renorm=draw(st.booleans()),
        softmax_scale=draw(st.sampled_from(["head", "padded_camera", "padded"])),
        carried_camera_conv=draw(st.booleans()),
    )  # fmt: skip


def track_of(config: TransformerConfig, batch: int, frames: int) -> CameraTrack:
    track = drive(batch, frames)
    intrinsics = torch.tensor([1.3, 1.1, 0.7, 0.4]).expand(batch, 4)
    return CameraTrack(poses_BF44=track.poses_BF44, before_B44=track.before_B44, intrinsics_B4=intrinsics)


def read(model: SanaTransformer) -> ReadText | None:
    width = model.config.text_width
    tokens = torch.randn(1, 4, max(width, 1), generator=torch.Generator().manual_seed(3))
    return model.read(tokens, torch.tensor([[1, 1, 0, 1]])) if width else None


@torch.no_grad()
@given(
    config=presets(),
    chunks=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    batch=st.integers(1, 3),
    data=st.data(),
)
@settings(max_examples=16, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_cuts_and_forks_change_nothing(
    config: TransformerConfig, chunks: list[int], batch: int, data: st.DataObject
) -> None:
    torch.manual_seed(0)
    model = SanaTransformer(config).eval()
    enliven(model)
    frames, lengths, text = sum(chunks), tuple(chunks), read(model)
    size = (config.latent_channels, config.latent_height, config.latent_width)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, frames, *size, generator=generator)
    sigma = torch.rand(batch, frames, generator=generator)
    track = track_of(config, batch, frames)
    whole, _, whole_state = model(x, sigma, track, None, lengths, text=text)
    assert whole.isfinite().all()

    cut = data.draw(st.integers(1, len(chunks) - 1), label="cut")
    at = sum(chunks[:cut])
    first, _, state = model(x[:, :at], sigma[:, :at], track.slice(0, at), None, lengths[:cut], text=text)
    rest, _, left = model(x[:, at:], sigma[:, at:], track.slice(at, frames), state, lengths[cut:], text=text)
    scale = float(whole.std()) + 1.0
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, atol=5e-5 * scale, rtol=1e-3)
    assert left.bytes == whole_state.bytes

    # A fork of row 0 is row 0, whoever sits beside it.
    alone = CameraTrack(
        poses_BF44=track.poses_BF44[:1],
        before_B44=track.before_B44[:1],
        intrinsics_B4=track.intrinsics_B4[:1],
    )
    _, _, past = model(x[:1, :at], sigma[:1, :at], alone.slice(0, at), None, lengths[:cut], text=text)
    forked, _, _ = model(
        x[:1, at:].expand(2, -1, -1, -1, -1), sigma[:1, at:].expand(2, -1),
        CameraTrack(
            poses_BF44=alone.poses_BF44[:, at:].expand(2, -1, -1, -1),
            before_B44=alone.poses_BF44[:, at - 1].expand(2, -1, -1),
            intrinsics_B4=alone.intrinsics_B4.expand(2, -1),
        ),
        past.expand(2), lengths[cut:], text=text,
    )  # fmt: skip
    torch.testing.assert_close(forked[0], rest[0], atol=5e-5 * scale, rtol=1e-3)
    torch.testing.assert_close(forked[1], forked[0], atol=5e-5 * scale, rtol=1e-3)
