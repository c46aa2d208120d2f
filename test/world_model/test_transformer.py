"""The transformer's promises about time: causality, and that cuts between chunks change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.state import ModelState
from sana_wm_ros.world_model.toy import TINY, drive, latents
from sana_wm_ros.world_model.transformer import SanaTransformer

CHUNKS = (1, 3, 2, 1, 3, 3, 2, 2, 1, 3)
FRAMES = sum(CHUNKS)


def sigma(batch: int) -> Tensor:
    """Seven clean frames, then noise."""
    values = torch.zeros(batch, FRAMES)
    values[:, 7:] = 1.0
    return values


def run_in_parts(
    model: SanaTransformer, x: Tensor, track: CameraTrack, parts: list[tuple[int, ...]]
) -> tuple[Tensor, Tensor, ModelState]:
    """The frames in several segments, each from the state of the one before."""
    state, start, outs, features = None, 0, [], []
    for chunks in parts:
        stop = start + sum(chunks)
        out, feature, state = model(
            x[:, start:stop], sigma(len(x))[:, start:stop], track.slice(start, stop), state, chunks
        )
        outs.append(out)
        features.append(feature)
        start = stop
    assert state is not None
    return torch.cat(outs, 1), torch.cat(features, 1), state


PARTS = {
    "chunk by chunk": [(n,) for n in CHUNKS],
    "two segments": [CHUNKS[:3], CHUNKS[3:]],
    "uneven segments": [CHUNKS[:1], CHUNKS[1:7], CHUNKS[7:8], CHUNKS[8:]],
}


@torch.no_grad()
@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS.keys())
def test_cuts_between_chunks_change_nothing(tiny: SanaTransformer, parts: list[tuple[int, ...]]) -> None:
    x, track = latents(2, FRAMES), drive(2, FRAMES)
    whole, whole_features, whole_state = run_in_parts(tiny, x, track, [CHUNKS])
    cut, cut_features, cut_state = run_in_parts(tiny, x, track, parts)
    assert whole.std() > 0.3
    torch.testing.assert_close(cut, whole, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(cut_features, whole_features, atol=2e-5, rtol=1e-4)
    assert cut_state.next_frame == whole_state.next_frame == FRAMES
    for mine, theirs in zip(cut_state.blocks, whole_state.blocks, strict=True):
        assert vars(mine).keys() == vars(theirs).keys()
        for name, value in vars(mine).items():
            if isinstance(value, Tensor):
                torch.testing.assert_close(value, getattr(theirs, name), atol=2e-5, rtol=1e-4)
            else:
                assert value == getattr(theirs, name)


@torch.no_grad()
@pytest.mark.parametrize("changed", ["latents", "poses", "noise level"])
def test_the_future_changes_nothing_before_its_chunk(tiny: SanaTransformer, changed: str) -> None:
    x, track, level = latents(1, FRAMES), drive(1, FRAMES), sigma(1)
    out, features, _ = tiny(x, level, track, None, CHUNKS)
    at = 11  # inside the chunk of frames 10, 11 and 12
    if changed == "latents":
        x = x.clone()
        x[:, at:] += 1.0
    elif changed == "poses":
        poses = track.poses_BF44.clone()
        poses[:, at:] = drive(1, FRAMES, seed=5).poses_BF44[:, at:]
        track = CameraTrack(poses_BF44=poses, before_B44=track.before_B44, intrinsics_B4=track.intrinsics_B4)
    else:
        level = level.clone()
        level[:, at:] = 0.4
    other, other_features, _ = tiny(x, level, track, None, CHUNKS)
    torch.testing.assert_close(other[:, :10], out[:, :10], atol=1e-6, rtol=0)
    torch.testing.assert_close(other_features[:, :10], features[:, :10], atol=1e-6, rtol=0)
    # Frame 10 shares the changed frame's chunk and must see it; later frames must, too.
    for frame in (10, 11, FRAMES - 1):
        assert (other[:, frame] - out[:, frame]).abs().max() > 1e-3


@torch.no_grad()
def test_every_frame_depends_on_frames_far_before_the_window(tiny: SanaTransformer) -> None:
    x, track = latents(1, FRAMES), drive(1, FRAMES)
    out, _, _ = tiny(x, sigma(1), track, None, CHUNKS)
    x = x.clone()
    x[:, 2] += 1.0
    other, _, _ = tiny(x, sigma(1), track, None, CHUNKS)
    assert TINY.window_frames < 12
    assert (other[:, 17] - out[:, 17]).abs().max() > 1e-4


@torch.no_grad()
def test_candidates_do_not_see_each_other(tiny: SanaTransformer) -> None:
    x, track = latents(3, FRAMES), drive(3, FRAMES)
    together, _, _ = tiny(x, sigma(3), track, None, CHUNKS)
    alone = CameraTrack(
        poses_BF44=track.poses_BF44[1:2],
        before_B44=track.before_B44[1:2],
        intrinsics_B4=track.intrinsics_B4[1:2],
    )
    single, _, _ = tiny(x[1:2], sigma(1), alone, None, CHUNKS)
    torch.testing.assert_close(single[0], together[1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_one_noise_level_for_all_equals_the_same_level_per_frame(tiny: SanaTransformer) -> None:
    x, track = latents(2, 4), drive(2, 4)
    per_frame, _, _ = tiny(x, torch.full((2, 4), 0.7), track, None, (2, 2))
    shared, _, _ = tiny(x, torch.full((1, 1), 0.7), track, None, (2, 2))
    torch.testing.assert_close(shared, per_frame, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_state_size_stays_once_the_window_is_full(tiny: SanaTransformer) -> None:
    _, _, early = tiny(latents(1, 8), torch.zeros(1, 1), drive(1, 8), None)
    _, _, late = tiny(latents(1, 40), torch.zeros(1, 1), drive(1, 40), None)
    assert early.bytes == late.bytes


@torch.no_grad()
def test_turning_the_world_changes_nothing(tiny: SanaTransformer) -> None:
    """The camera branch sees relative rotations only; rays of the Plücker input turn, so they are cut off."""
    x, track = latents(1, 6), drive(1, 6)
    embed = tiny.plucker_embedder.proj.weight
    kept = embed.data.clone()
    try:
        embed.data.zero_()
        out, _, _ = tiny(x, torch.zeros(1, 1), track, None, (3, 3))
        turn = torch.eye(4)
        turn[:3, :3] = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
        turned = CameraTrack(
            poses_BF44=turn @ track.poses_BF44,
            before_B44=turn @ track.before_B44,
            intrinsics_B4=track.intrinsics_B4,
        )
        other, _, _ = tiny(x, torch.zeros(1, 1), turned, None, (3, 3))
    finally:
        embed.data.copy_(kept)
    torch.testing.assert_close(other, out, atol=2e-5, rtol=1e-4)


def test_every_parameter_learns(tiny: SanaTransformer) -> None:
    out, features, _ = tiny(latents(1, 7), torch.zeros(1, 1), drive(1, 7), None, (1, 3, 3))
    (out.square().mean() + features.square().mean()).backward()
    idle = [n for n, p in tiny.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    tiny.zero_grad(set_to_none=True)
    assert idle == []


@torch.no_grad()
@pytest.mark.parametrize("main_branch", [True, False])
def test_without_its_main_branch_nothing_is_read_from_it(main_branch: bool) -> None:
    torch.manual_seed(0)
    model = SanaTransformer(replace(TINY, main_branch=main_branch))
    x, track = latents(1, FRAMES), drive(1, FRAMES)
    before, _, _ = run_in_parts(model, x, track, [CHUNKS])
    for block in model.blocks:
        block.attn.qkv.weight.mul_(-1.7)
    after, _, _ = run_in_parts(model, x, track, [CHUNKS])
    assert before.std() > 0.1
    assert torch.equal(before, after) == (not main_branch)
