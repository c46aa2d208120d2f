"""The streaming form: chunk after chunk from caches is the full sequence under the chunk-causal rules."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from published_fixtures import camera, caption, noise, tiny_transformer
from torch import Tensor

from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.config import SANA_WM_STREAMING
from sana_wm_ros.world_model.layers import short_conv
from sana_wm_ros.world_model.segment import make_segment
from sana_wm_ros.world_model.state import DeltaState, ModelState, WindowState
from sana_wm_ros.world_model.toy import TINY_SANA_WM, drive
from sana_wm_ros.world_model.transformer import SanaTransformer

CHUNKS = (4, 3, 3, 3, 3)
FRAMES = sum(CHUNKS)


@pytest.fixture(scope="module")
def model() -> SanaTransformer:
    return tiny_transformer()


def levels(frames: int = FRAMES) -> Tensor:
    """Another noise level in every frame, the first one clean."""
    values = torch.linspace(0.05, 0.95, FRAMES)[:frames]
    values[0] = 0.0
    return values[None]


def run(model: SanaTransformer, parts: list[tuple[int, ...]]) -> tuple[Tensor, ModelState]:
    """The frames in several segments, each from the state of the one before."""
    frames = sum(map(sum, parts))
    x, path, text, state, start, outs = noise(frames), camera(frames), caption(model), None, 0, []
    for chunks in parts:
        stop = start + sum(chunks)
        part = (x[:, start:stop], levels(frames)[:, start:stop], path.slice(start, stop))
        out, _, state = model(*part, state, chunks, text=text)
        outs.append(out)
        start = stop
    assert state is not None
    return torch.cat(outs, 1), state


def test_chunk_by_chunk_is_the_full_sequence(model: SanaTransformer) -> None:
    whole, whole_state = run(model, [CHUNKS])
    cut, state = run(model, [(length,) for length in CHUNKS])
    assert whole.std() > 0.3
    torch.testing.assert_close(cut, whole, atol=2e-5, rtol=1e-4)
    for mine, theirs in zip(state.blocks, whole_state.blocks, strict=True):
        for name, value in vars(mine).items():
            if isinstance(value, Tensor):
                torch.testing.assert_close(value, getattr(theirs, name), atol=2e-5, rtol=1e-4)


def test_softmax_reads_the_first_chunk_and_the_last_one(model: SanaTransformer) -> None:
    # Chunk c of (4, 3, 3, ...) reads chunks 1: {0}, 2: {0, 1}, 3: {0, 2}, 4: {0, 3}.
    wanted = {
        4: [0, 1, 2, 3], 7: [0, 1, 2, 3, 4, 5, 6], 10: [0, 1, 2, 3, 7, 8, 9], 13: [0, 1, 2, 3, 10, 11, 12]
    }  # fmt: skip
    for frames, kept in wanted.items():
        _, state = run(model, [CHUNKS[: 1 + (frames - 4) // 3]])
        window = state.blocks[3]
        assert isinstance(window, WindowState)
        assert list(window.frames) == kept


def test_the_state_is_as_large_after_five_chunks_as_after_three(model: SanaTransformer) -> None:
    assert run(model, [CHUNKS[:3]])[1].bytes == run(model, [CHUNKS])[1].bytes


def test_a_full_size_block_keeps_what_the_published_caches_hold() -> None:
    """Three frames of keys (11.8 MB in bfloat16), one frame before the temporal taps (3.9 MB), memories in float32."""
    with torch.device("meta"):
        config = dataclasses.replace(SANA_WM_STREAMING, depth=1)
        delta = SanaTransformer(config).to(torch.bfloat16).empty_state(1).blocks[0]
    assert isinstance(delta, DeltaState)
    tails = (delta.key_tail_EBSC, delta.mlp_tail_1BSC)
    assert [math.prod(tail.shape) * 2 for tail in tails] == [3 * 880 * 2240 * 2, 880 * 2240 * 2]
    assert delta.memory_BHRD.dtype == torch.float32
    assert delta.memory_BHRD.shape == (1, 40, 112, 112)


@pytest.mark.parametrize("carried", [True, False])
def test_the_camera_convolution_sees_the_last_chunk_only_if_it_is_carried(carried: bool) -> None:
    config = dataclasses.replace(TINY_SANA_WM, latent_height=1, latent_width=1)
    segment = make_segment(config, drive(1, 5), 0, (2, 3))
    x, weight = torch.zeros(5, 1, 1, 1), torch.tensor([[4.0, 3.0, 2.0, 1.0]])
    x[1] = 1.0  # the last frame of the first chunk
    got = short_conv(x, torch.zeros(3, 1, 1, 1) if carried else None, weight, segment)
    # Mirrored tap 2 before it, tap 1 at it, taps 2, 3, 4 after it, which lie in the next chunk.
    assert got.flatten().tolist() == [2.0, 1.0, *((2.0, 3.0, 4.0) if carried else (0.0, 0.0, 0.0))]


def test_without_the_causal_mask_softmax_sees_later_chunks() -> None:
    x, path = noise(7), camera(7)
    for causal in (True, False):
        model = tiny_transformer(causal_softmax=causal, depth=4, window_frames=64)
        out, _, state = model(x, levels(7), path, None, (4, 3), text=caption(model))
        later = x.clone()
        later[:, 6] += 1.0
        other, _, _ = model(later, levels(7), path, None, (4, 3), text=caption(model))
        reaches = bool((other[:, :4] - out[:, :4]).abs().max() > 1e-4)
        assert reaches != causal
        if not causal:
            with pytest.raises(ValueError, match="one piece"):
                model(x, levels(7), path, state, (4, 3), text=caption(model))


def test_forks_go_on_as_if_each_had_seen_the_past_itself(model: SanaTransformer) -> None:
    path, text = camera(FRAMES), caption(model)
    past, x = noise(7), noise(3, batch=3, seed=4)
    _, _, state = model(past, torch.zeros(1, 1), path.slice(0, 7), None, (4, 3), text=text)
    rows = path.slice(7, 10)
    rows = dataclasses.replace(
        rows,
        conditions_BF20=rows.conditions_BF20.expand(3, -1, -1),
        plucker_BPFHW=rows.plucker_BPFHW.expand(3, -1, -1, -1, -1),
    )
    forked, _, _ = model(x, x.new_full((1, 1), 0.9), rows, state.expand(3), (3,), text=text)
    for row in range(3):
        _, _, alone = model(past, torch.zeros(1, 1), path.slice(0, 7), None, (4, 3), text=text)
        out, _, _ = model(
            x[row : row + 1], x.new_full((1, 1), 0.9), path.slice(7, 10), alone, (3,), text=text
        )
        torch.testing.assert_close(forked[row], out[0], atol=1e-5, rtol=1e-4)


def test_bfloat16_stays_near_float32(model: SanaTransformer) -> None:
    """Measured here: 1.1 % of the spread in the mean, 8.6 % at most, no more in chunk five than in chunk two."""
    exact, _ = run(model, [(length,) for length in CHUNKS])
    half = tiny_transformer().to(torch.bfloat16)
    rounded, state = run(half, [(length,) for length in CHUNKS])
    error = (rounded - exact).abs()
    assert error.mean() < 0.02 * exact.std()
    assert error.max() < 0.2 * exact.std()
    assert error[:, 13:].mean() < 1.5 * error[:, 4:7].mean()
    assert isinstance(state.blocks[0], DeltaState) and isinstance(state.blocks[3], WindowState)
    assert state.blocks[0].memory_BHRD.dtype == torch.float32
    assert state.blocks[3].keys_BHWSD.dtype == torch.bfloat16


def test_a_caption_is_needed_exactly_where_the_preset_has_a_text_branch(model: SanaTransformer) -> None:
    with pytest.raises(ValueError, match=r"pass text=transformer\.read"):
        model(noise(4), levels(4), camera(4))
    plain = tiny_transformer(text_width=0)
    with pytest.raises(ValueError, match="no text branch"):
        plain.read(torch.zeros(1, 3, 10))
    with pytest.raises(ValueError, match="without a caption"):
        plain(noise(4), levels(4), camera(4), text=caption(model))


@pytest.mark.parametrize(
    ("shape", "mask", "words"),
    [
        ((1, 5, 9), None, r"expected \(batch, tokens, 10\)"),
        ((5, 10), None, r"expected \(batch, tokens, 10\)"),
        ((1, 0, 10), None, r"expected \(batch, tokens, 10\)"),
        ((1, 5, 10), (1, 4), r"expected \(1, 5\)"),
        ((1, 5, 10), (1, 5), "hides all"),
    ],
)
def test_a_bad_caption_is_refused(
    model: SanaTransformer, shape: tuple[int, ...], mask: tuple[int, ...] | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        model.read(torch.zeros(shape), None if mask is None else torch.zeros(mask))


def test_masked_caption_tokens_change_nothing(model: SanaTransformer) -> None:
    x, path, tokens = noise(4), camera(4), torch.randn(1, 5, 10, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 0, 0, 0]])
    first = model(x, levels(4), path, text=model.read(tokens, mask))[0]
    tokens[:, 2:] += 3.0
    assert torch.equal(model(x, levels(4), path, text=model.read(tokens, mask))[0], first)
    shorter = model(x, levels(4), path, text=model.read(tokens[:, :2]))[0]
    torch.testing.assert_close(shorter, first, atol=1e-5, rtol=1e-4)


def test_interpolated_cameras_serve_as_well(model: SanaTransformer) -> None:
    track = drive(1, 4)
    intrinsics = torch.tensor([[2.0, 2.0, 1.0, 0.5]])
    track = CameraTrack(poses_BF44=track.poses_BF44, before_B44=track.before_B44, intrinsics_B4=intrinsics)
    out, _, _ = model(noise(4), levels(4), track, text=caption(model))
    assert out.isfinite().all() and out.std() > 0.3


def test_every_parameter_learns() -> None:
    model = tiny_transformer().requires_grad_(True)
    out, features, _ = model(noise(7), levels(7), camera(7), None, (4, 3), text=caption(model))
    (out.square().mean() + features.square().mean()).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert idle == []
