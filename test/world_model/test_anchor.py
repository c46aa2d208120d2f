"""Moving the anchor: what a state remembers moves with it, for hours, and the numbers stay small."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model.anchor import LOUDEST, anchored_pieces, moved
from sana_wm_ros.world_model.camera import CameraTrack, relative_to
from sana_wm_ros.world_model.config import BadConfig
from sana_wm_ros.world_model.delta_attention import DeltaAttention
from sana_wm_ros.world_model.state import DeltaState, ModelState, WindowState
from sana_wm_ros.world_model.toy import INTRINSICS, TINY, camera_path, drive, enliven, latents
from sana_wm_ros.world_model.toy import tiny_navigation_model as navigator
from sana_wm_ros.world_model.transformer import SanaTransformer

BY_3 = torch.tensor([3.0, -0.5, 8.0])
KEYFRAMES = {"keyframes": 6, "keyframe_reads": 2, "window_frames": 3}
MEMORIES = {"plain": {}, "keyframes": KEYFRAMES, "guided": {**KEYFRAMES, "keyframe_guide": True}}


def lively(**settings: object) -> SanaTransformer:
    torch.manual_seed(0)
    model = SanaTransformer(dataclasses.replace(TINY, **settings))  # type: ignore[arg-type]
    enliven(model)
    return model.eval()


def seen_from(track: CameraTrack, by_3: Tensor) -> CameraTrack:
    """The track relative to an anchor that lies ``by_3`` further along its axes."""
    poses, before = track.poses_BF44.clone(), track.before_B44.clone()
    poses[..., :3, 3] -= by_3
    before[..., :3, 3] -= by_3
    return dataclasses.replace(track, poses_BF44=poses, before_B44=before)


def without_writes_or_rays(model: SanaTransformer) -> SanaTransformer:
    """Only reads of what is remembered are left of the way places enter."""
    model = copy.deepcopy(model)
    model.plucker_embedder.proj.weight.data.zero_()
    for block in model.blocks:
        if isinstance(block.attn, DeltaAttention):
            block.attn.beta_proj.weight.data.zero_()
            block.attn.beta_proj.bias.data.fill_(-100.0)
    return model


@torch.no_grad()
def go_on(
    model: SanaTransformer, state: ModelState, track: CameraTrack, frames: int = 6
) -> tuple[Tensor, ModelState]:
    blind = torch.ones(1, 1)
    out, _, state = model(latents(2, frames, seed=5), blind, track, state, (2,) * (frames // 2))
    return out, state


@torch.no_grad()
@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES.keys())
@pytest.mark.parametrize("translation", ["homogeneous", "rotary"])
def test_a_moved_state_reads_what_it_read_before(translation: str, memory: dict[str, int]) -> None:
    """Window, keyframes and delta memory, to rounding; a state that is not moved reads something else."""
    model = lively(translation=translation, **memory)
    track = drive(2, 26)
    _, _, state = model(latents(2, 20), torch.zeros(1, 1), track.slice(0, 20), None, None, 20)
    reader = without_writes_or_rays(model)
    future = track.slice(20, 26)
    before, _ = go_on(reader, state, future)
    after, _ = go_on(reader, moved(model.config, state, BY_3), seen_from(future, BY_3))
    left_behind, _ = go_on(reader, state, seen_from(future, BY_3))
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    assert (left_behind - before).abs().mean() > 100 * (after - before).abs().mean()


@torch.no_grad()
def test_with_rotary_translation_a_moved_state_goes_on_as_if_nothing_had_happened() -> None:
    """With all writes and rays, and as its own state after them."""
    model = lively(translation="rotary", **MEMORIES["keyframes"])
    track = drive(2, 44)
    _, _, state = model(latents(2, 20), torch.zeros(1, 1), track.slice(0, 20), None, None, 20)
    future = track.slice(20, 44)
    before, unmoved = go_on(model, state, future, 24)
    after, late = go_on(model, moved(model.config, state, BY_3), seen_from(future, BY_3), 24)
    torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    for mine, theirs in zip(late.blocks, moved(model.config, unmoved, BY_3).blocks, strict=True):
        for name, value in vars(mine).items():
            if isinstance(value, Tensor):
                torch.testing.assert_close(value, getattr(theirs, name), atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_with_homogeneous_translation_later_corrections_differ_and_more_for_longer_moves() -> None:
    model = lively()
    model.plucker_embedder.proj.weight.data.zero_()
    track = drive(2, 32)
    _, _, state = model(latents(2, 20), torch.zeros(1, 1), track.slice(0, 20), None, None, 20)
    future = track.slice(20, 32)
    before, _ = go_on(model, state, future, 12)
    differences = []
    for by_m in (0.1, 1.0, 10.0):
        by_3 = torch.tensor([0.0, 0.0, by_m])
        after, _ = go_on(model, moved(model.config, state, by_3), seen_from(future, by_3), 12)
        differences.append(float((after - before).abs().mean()))
    assert 0 < differences[0] < 0.02 < differences[2] and differences[0] < differences[1] < differences[2]


@torch.no_grad()
def test_moving_there_and_back_gives_the_state_back() -> None:
    model = lively(**MEMORIES["keyframes"])
    _, _, state = model(latents(1, 12), torch.zeros(1, 1), drive(1, 12), None, None, 12)
    back = moved(model.config, moved(model.config, state, BY_3), -BY_3)
    for mine, theirs in zip(back.blocks, state.blocks, strict=True):
        for name, value in vars(mine).items():
            if isinstance(value, Tensor):
                torch.testing.assert_close(value, getattr(theirs, name), atol=1e-4, rtol=1e-4)
    assert back.keyframes is not None and state.keyframes is not None
    torch.testing.assert_close(back.keyframes.poses_BK44, state.keyframes.poses_BK44)


@torch.no_grad()
def test_the_origin_of_time_means_nothing() -> None:
    """So it need not move: a drive that is numbered from a day later on gives the same."""
    model = lively(sink_frames=0)
    x, track = latents(1, 12), drive(1, 12)
    early, _, _ = model(x, torch.zeros(1, 1), track, model.empty_state(1))
    started = dataclasses.replace(model.empty_state(1), next_frame=2 * 86_400)
    late, _, _ = model(x, torch.zeros(1, 1), track, started)
    torch.testing.assert_close(late, early, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_with_rotary_translation_the_world_s_origin_means_nothing() -> None:
    model = lively(translation="rotary")
    x, track = latents(2, 12), drive(2, 12)
    here, _, _ = model(x, torch.zeros(1, 1), track, None)
    there, _, _ = model(x, torch.zeros(1, 1), seen_from(track, 10 * BY_3), None)
    torch.testing.assert_close(there, here, atol=1e-4, rtol=1e-4)
    elsewhere, _, _ = model(x, torch.zeros(1, 1), drive(2, 12, seed=9), None)
    assert (elsewhere - here).abs().mean() > 0.05  # poses do matter


# ---- inside extend


def straight(frames: int, step_m: float) -> Tensor:
    """Poses of a camera that drives straight ahead, far from the world's origin."""
    poses = camera_path(1).repeat(frames, 1, 1)
    poses[:, :3, 3] += poses[:, :3, 2] * step_m * torch.arange(frames, dtype=torch.float64)[:, None]
    return poses


def test_the_anchor_moves_before_the_chunk_that_begins_out_of_reach() -> None:
    poses = straight(9, 1.0)
    pieces = anchored_pieces((1, 2, 2, 2, 2), poses, poses[0], poses[0], reach_m=3.5, most=24)
    assert [piece.chunk_lengths for piece in pieces] == [(1, 2, 2), (2, 2)]
    assert pieces[0].by_3 is None and torch.equal(pieces[0].anchor_44, poses[0])
    assert pieces[1].by_3 is not None
    torch.testing.assert_close(pieces[1].by_3.norm(), torch.tensor(4.0))
    assert torch.equal(pieces[1].anchor_44[:3, 3], poses[4, :3, 3])
    assert torch.equal(pieces[1].anchor_44[:3, :3], poses[0, :3, :3])


def test_pieces_are_at_most_as_long_as_asked_unless_a_chunk_is_longer() -> None:
    poses = straight(14, 0.0)
    pieces = anchored_pieces((1, 2, 2, 2, 7), poses, poses[0], poses[0], reach_m=1.0, most=4)
    assert [piece.chunk_lengths for piece in pieces] == [(1, 2), (2, 2), (7,)]


@pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES.keys())
def test_a_context_that_re_anchors_comes_out_the_same_in_one_call_or_many(memory: dict[str, int]) -> None:
    model = navigator(reach_m=2.0, **memory)
    x, poses = latents(1, 25)[0], straight(25, 0.6)
    whole = model.start(INTRINSICS).extend_latents(x, poses)
    parts = model.start(INTRINSICS)
    for start, stop in ((0, 1), (1, 3), (3, 9), (9, 25)):
        parts = parts.extend_latents(x[start:stop], poses[start:stop])
    assert whole.anchor_44 is not None and parts.anchor_44 is not None
    assert torch.equal(whole.anchor_44, parts.anchor_44)
    assert (whole.anchor_44[:3, 3] - poses[-1, :3, 3]).norm() < 2.0 + 3 * 0.6
    _, mine = parts.fork(2).imagine(straight(10, 0.3).expand(2, -1, -1, -1))
    _, theirs = whole.fork(2).imagine(straight(10, 0.3).expand(2, -1, -1, -1))
    torch.testing.assert_close(mine.latents_NFCHW, theirs.latents_NFCHW, atol=1e-4, rtol=1e-3)


def test_a_frame_that_was_only_imagined_is_remembered_but_never_kept_as_a_keyframe() -> None:
    model = navigator(**MEMORIES["keyframes"])
    x, poses = latents(1, 7)[0], straight(7, 0.6)
    seen = model.start(INTRINSICS).extend_latents(x[:5], poses[:5])
    dreamed = seen.extend_latents(x[5:], poses[5:], seen=False)
    looked = seen.extend_latents(x[5:], poses[5:])
    assert dreamed.latent_frames == looked.latent_frames == 7
    banks = [context.state.keyframes for context in (seen, dreamed, looked)]
    assert all(bank is not None for bank in banks)
    numbers = [set(bank.numbers_BK.flatten().tolist()) for bank in banks if bank is not None]
    assert numbers[1] == numbers[0] and numbers[2] - numbers[0]
    # Remembered all the same: what is imagined from it is not what was imagined before it.
    ahead = straight(4, 0.3)[None]
    before, after = (context.fork(1).imagine(ahead)[1].latents_NFCHW for context in (seen, dreamed))
    assert not torch.allclose(before, after)


def test_with_rotary_translation_re_anchoring_changes_nothing_that_is_imagined() -> None:
    """Against the same weights that never move their anchor, after seven moves."""
    x, poses = latents(1, 41)[0], straight(41, 0.5)
    rollouts = []
    for reach_m in (2.5, 1e6):
        model = navigator(translation="rotary", reach_m=reach_m, **MEMORIES["keyframes"])
        context = model.start(INTRINSICS).extend_latents(x, poses)
        rollouts.append(context.fork(1).imagine(poses[-1] @ drive(1, 12).poses_BF44.double())[1])
    torch.testing.assert_close(rollouts[0].latents_NFCHW, rollouts[1].latents_NFCHW, atol=1e-4, rtol=1e-3)


def largest(state: ModelState) -> tuple[float, float]:
    """The largest number in memories, windows and tails; and in the keyframes, per metre of their distance."""
    most = banked = 0.0
    for block in state.blocks:
        assert isinstance(block, DeltaState | WindowState)
        for name, value in vars(block).items():
            if name == "bank_BK2HSD" and isinstance(value, Tensor) and state.keyframes is not None:
                away = 1.0 + state.keyframes.poses_BK44[..., :3, 3].norm(dim=-1)
                banked = float((value.abs().flatten(2).amax(-1) / away).max())
            elif isinstance(value, Tensor):
                most = max(most, float(value.abs().max()))
    return most, banked


@pytest.mark.parametrize(("translation", "frames"), [("homogeneous", 7200), ("rotary", 2400)])
def test_an_hour_of_driving_leaves_a_state_of_the_same_size_with_bounded_numbers(
    translation: str, frames: int
) -> None:
    """2 km straight on at 0.56 m/s: 7200 latent frames, a hundred moves of the anchor. Rotary needs no hour."""
    model = navigator(translation=translation, **MEMORIES["keyframes"])
    poses = straight(frames, 0.28)
    x = latents(1, 240)[0]
    context, sizes, numbers, anchors = model.start(INTRINSICS), [], [], set()
    for start in range(0, frames, 240):
        context = context.extend_latents(x, poses[start : start + 240])
        assert context.anchor_44 is not None
        anchors.add(float(context.anchor_44[:3, 3].norm()))
        sizes.append(context.state.bytes)
        numbers.append(largest(context.state))
        assert float(relative_to(context.anchor_44, poses[start + 239])[:3, 3].norm()) < 21.0
    assert context.latent_frames == frames and len(anchors) == frames // 240
    assert len(set(sizes)) == 1
    memories, banks = zip(*numbers, strict=True)
    assert max(memories) < (2 * LOUDEST if translation == "homogeneous" else 1.5 * max(memories[:5]))
    assert max(banks) < 2 * max(banks[:2])
    _, rollout = context.fork(2).imagine(poses[-1].repeat(2, 8, 1, 1))
    assert all(value.isfinite().all() for value in vars(rollout).values())


def test_a_memory_that_moves_made_too_loud_is_turned_down_and_none_is_ever_turned_up() -> None:
    model = lively()
    quiet = model.empty_state(1)
    heads = 2 * TINY.heads
    for size, expected in ((1.0, None), (1e5, 1e5)):
        memory = torch.randn(1, heads, TINY.head_width, TINY.head_width) * size
        blocks = (dataclasses.replace(quiet.blocks[0], memory_BHRD=memory), *quiet.blocks[1:])  # type: ignore[arg-type]
        after = moved(TINY, dataclasses.replace(quiet, blocks=blocks), 40 * BY_3).blocks[0]
        assert isinstance(after, DeltaState)
        norms, before = (torch.linalg.matrix_norm(m)[0] for m in (after.memory_BHRD, memory))
        camera = slice(TINY.heads, None)
        torch.testing.assert_close(norms[: TINY.heads], before[: TINY.heads])
        limit = torch.full((TINY.heads,), LOUDEST) if expected is None else before[camera]
        torch.testing.assert_close(norms[camera], limit)


@pytest.mark.parametrize("wrong", [{"reach_m": 0.0}, {"reach_m": float("nan")}, {"translation": "euclid"}])
def test_impossible_settings_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(BadConfig, match=next(iter(wrong))):
        dataclasses.replace(TINY, **wrong)  # type: ignore[arg-type]
