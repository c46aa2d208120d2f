"""Whatever the sizes, chunks and cuts: frames that come in parts give what one pass over all of them gives."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from sana_wm_ros.world_model.camera import CameraTrack, relative_to
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.state import ModelState
from sana_wm_ros.world_model.toy import INTRINSICS, TINY, camera_path, drive, enliven, latents
from sana_wm_ros.world_model.toy import tiny_navigation_model as navigator
from sana_wm_ros.world_model.transformer import SanaTransformer

SETTINGS = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)


@st.composite
def presets(draw: st.DrawFn) -> TransformerConfig:
    """Small transformers of many shapes."""
    heads, head_width = draw(st.integers(1, 3)), draw(st.sampled_from([8, 16, 24]))
    reads = draw(st.integers(1, 2))
    return TransformerConfig(
        width=heads * head_width, heads=heads, head_width=head_width, depth=draw(st.integers(1, 3)),
        softmax_every=draw(st.integers(1, 3)), latent_channels=3, latent_height=draw(st.integers(1, 3)),
        latent_width=draw(st.integers(2, 4)), raw_per_latent=draw(st.integers(1, 4)),
        window_frames=draw(st.integers(1, 5)), sink_frames=draw(st.integers(0, 2)),
        conv_width=draw(st.integers(1, 4)), keyframes=draw(st.sampled_from([0, 2, 5])), keyframe_reads=reads,
        translation=draw(st.sampled_from(["homogeneous", "rotary"])), bounded_keys=draw(st.booleans()),
        position_scale=0.15, timestep_width=16,
    )  # fmt: skip


def assert_same_state(mine: ModelState, theirs: ModelState) -> None:
    assert mine.next_frame == theirs.next_frame
    if mine.keyframes is not None and theirs.keyframes is not None:
        assert torch.equal(mine.keyframes.numbers_BK, theirs.keyframes.numbers_BK)
    for block, other in zip(mine.blocks, theirs.blocks, strict=True):
        for name, value in vars(block).items():
            if isinstance(value, Tensor):
                torch.testing.assert_close(value, getattr(other, name), atol=1e-4, rtol=1e-3)
            else:
                assert value == getattr(other, name)


@torch.no_grad()
@SETTINGS
@given(
    config=presets(),
    chunks=st.lists(st.integers(1, 3), min_size=3, max_size=8).map(tuple),
    seen=st.integers(0, 8),
    cuts=st.sets(st.integers(1, 7), max_size=4),
    batch=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_parts_cut_between_chunks_equal_the_whole(
    config: TransformerConfig, chunks: tuple[int, ...], seen: int, cuts: set[int], batch: int, seed: int
) -> None:
    torch.manual_seed(seed)
    model = SanaTransformer(config).eval()
    enliven(model, seed)
    frames, observed = sum(chunks), sum(chunks[:seen])
    shape = (batch, frames, config.latent_channels, config.latent_height, config.latent_width)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    sigma = torch.zeros(batch, frames)
    sigma[:, observed:] = torch.linspace(0.2, 1.0, frames - observed)
    track = drive(batch, frames, seed)
    whole, _, whole_state = model(x, sigma, track, None, chunks, observed)

    state, start, outs = None, 0, []
    edges = [0, *sorted(cut for cut in cuts if cut < len(chunks)), len(chunks)]
    for first, last in pairwise(edges):
        stop = start + sum(chunks[first:last])
        part = track.slice(start, stop)
        known = max(0, min(stop, observed) - start)
        out, _, state = model(x[:, start:stop], sigma[:, start:stop], part, state, chunks[first:last], known)
        outs.append(out)
        start = stop
    torch.testing.assert_close(torch.cat(outs, 1), whole, atol=1e-4, rtol=1e-3)
    assert state is not None
    assert_same_state(state, whole_state)


@torch.no_grad()
@SETTINGS
@given(
    parts=st.lists(st.integers(1, 5), min_size=1, max_size=6),
    chunk=st.integers(1, 3),
    keyframes=st.sampled_from([0, 4]),
    seed=st.integers(0, 1000),
)
def test_a_context_may_end_at_any_latent_frame(
    parts: list[int], chunk: int, keyframes: int, seed: int
) -> None:
    """It equals one pass over all frames in the chunks that its ends made, and imagination goes on from it."""
    model = navigator(chunk_frames=chunk, keyframes=keyframes, keyframe_reads=2, window_frames=3)
    frames = sum(parts)
    x, poses = latents(1, frames, seed), camera_path(frames, seed)
    context, start, lengths = model.start(INTRINSICS), 0, []
    for count in parts:
        context = context.extend_latents(x[0, start : start + count], poses[start : start + count])
        first = int(start == 0)
        lengths += [1] * first + list(model.transformer.chunk_lengths(count - first))
        start += count
    assert context.latent_frames == frames and context.anchor_44 is not None
    relative = relative_to(poses[0], poses)[None]
    track = CameraTrack(
        poses_BF44=relative, before_B44=relative[:, 0], intrinsics_B4=context.intrinsics_4[None]
    )
    _, _, state = model.transformer(x, torch.zeros(1, 1), track, None, tuple(lengths), frames)
    assert_same_state(context.state, state)
    future = (poses[-1] @ drive(2, 5, seed).poses_BF44.double()).contiguous()
    _, mine = context.fork(2).imagine(future)
    _, theirs = dataclasses.replace(context, state=state).fork(2).imagine(future)
    torch.testing.assert_close(mine.latents_NFCHW, theirs.latents_NFCHW, atol=1e-4, rtol=1e-3)
    assert TINY.max_chunk_frames >= chunk
