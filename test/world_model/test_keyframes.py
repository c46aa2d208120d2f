"""Keyframe memory: what is kept, what is looked up, and that imagining neither copies nor changes it."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import CameraTrack, relative_to
from sana_wm_ros.world_model.config import BadConfig, TransformerConfig
from sana_wm_ros.world_model.keyframes import EMPTY, Keyframes, chosen, offered, recall, view_overlap
from sana_wm_ros.world_model.layers import ATTENTION_ORDER, placed, rms_normalised
from sana_wm_ros.world_model.model import NavigationContext, NavigationModel
from sana_wm_ros.world_model.protocol import Rollout
from sana_wm_ros.world_model.segment import Segment, make_segment
from sana_wm_ros.world_model.state import ModelState, WindowState
from sana_wm_ros.world_model.toy import (
    INTRINSICS,
    TINY,
    camera_path,
    drive,
    enliven,
    latents,
    pictures,
    tiny_navigation_model,
)
from sana_wm_ros.world_model.transformer import SanaTransformer
from sana_wm_ros.world_model.window_attention import WindowAttention

CONFIG = dataclasses.replace(TINY, window_frames=3, keyframes=6, keyframe_reads=2)
CHUNKS = (1, 3, 2, 1, 3, 3, 2, 2, 1, 3, 2)
FRAMES, OBSERVED = sum(CHUNKS), 15
LATENT_INTRINSICS = drive(1, 1).intrinsics_B4


def pose(x_m: float, z_m: float, yaw_rad: float = 0.0) -> Tensor:
    """A level camera at x to the right and z ahead, turned to the right by ``yaw_rad``."""
    out = torch.eye(4)
    out[0, 0] = out[2, 2] = math.cos(yaw_rad)
    out[0, 2], out[2, 0] = math.sin(yaw_rad), -math.sin(yaw_rad)
    out[0, 3], out[2, 3] = x_m, z_m
    return out


def track_of(poses: list[Tensor]) -> CameraTrack:
    path = torch.stack(poses)[None]
    return CameraTrack(poses_BF44=path, before_B44=path[:, 0], intrinsics_B4=LATENT_INTRINSICS)


def seen_latents(frames: int, batch: int = 1) -> Tensor:
    """Latents of frames that a camera saw, as ``recall`` takes them; without a guide their values do not matter."""
    return torch.zeros(batch, frames, CONFIG.tokens, CONFIG.latent_channels)


def with_keyframes(seed: int = 0, **settings: object) -> SanaTransformer:
    torch.manual_seed(0)
    model = SanaTransformer(dataclasses.replace(CONFIG, **settings))  # type: ignore[arg-type]
    enliven(model, seed)
    return model.eval()


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "guided"])
def model(request: pytest.FixtureRequest) -> SanaTransformer:
    return with_keyframes(keyframe_guide=request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "guided"])
def navigator(request: pytest.FixtureRequest) -> NavigationModel:
    return tiny_navigation_model(window_frames=3, keyframes=6, keyframe_reads=2, keyframe_guide=request.param)


@pytest.fixture(scope="module")
def context(navigator: NavigationModel) -> NavigationContext:
    return navigator.start(INTRINSICS).extend(pictures(49), camera_path(49))


@pytest.fixture(scope="module")
def future() -> Tensor:
    """Three candidates over the ground that was seen, 12 latent frames."""
    return (
        camera_path(49)[-1]
        @ torch.linalg.inv(drive(3, 13, 7).poses_BF44.double()[:, :1])
        @ (drive(3, 13, 7).poses_BF44.double()[:, 1:])
    )


def bank(state: ModelState) -> list[Tensor]:
    banks = [block.bank_BK2HSD for block in state.blocks if isinstance(block, WindowState)]
    return [tensor for tensor in banks if tensor is not None]


# ---- what is kept


def kept(config: TransformerConfig, poses: list[Tensor]) -> list[int]:
    """Numbers of the frames that a drive leaves in the bank."""
    chunks = (1,) * len(poses)
    places = Keyframes.none(config, 1, torch.device("cpu"))
    _, after = recall(config, places, track_of(poses), 0, chunks, seen_latents(len(poses)))
    return after.numbers_BK[0].tolist()


def test_a_bank_with_room_keeps_every_seen_frame_but_the_sink() -> None:
    assert kept(CONFIG, [pose(0, t) for t in range(5)]) == [EMPTY, EMPTY, 1, 2, 3, 4]


def test_standing_still_does_not_push_out_places() -> None:
    """Places 1 m apart fill the bank; of 30 equal frames at the end at most one is kept."""
    numbers = kept(CONFIG, [pose(0, t) for t in range(7)] + [pose(0, 6.0)] * 30)
    assert numbers[:5] == [1, 2, 3, 4, 5]


def test_a_slow_drive_leaves_a_trail_of_evenly_spaced_frames() -> None:
    """0.1 m per frame over 6 m and 6 slots: no gap is longer than 2.4 of its sixth parts."""
    numbers = kept(CONFIG, [pose(0, 0.1 * t) for t in range(61)])
    along = [0.1 * n for n in numbers]
    gaps = [b - a for a, b in pairwise(along)]
    assert len(numbers) == 6 and along[0] < 1.0 and along[-1] > 4.0
    assert max(gaps) <= 2.4


def test_looking_around_counts_like_moving() -> None:
    """A full turn on the spot in 24 frames: the six that are kept look all around."""
    numbers = kept(CONFIG, [pose(0, 0, math.tau * t / 24) for t in range(25)])
    headings = sorted((n % 24) / 24 * 360 for n in numbers)
    gaps = [(b - a) % 360 for a, b in zip(headings, [*headings[1:], headings[0]], strict=True)]
    assert max(gaps) <= 120


def test_a_later_visit_takes_the_place_of_the_earlier_one() -> None:
    way = [pose(0, t) for t in range(7)]
    numbers = kept(CONFIG, way + [pose(0, 6)] * 10 + way[::-1])
    assert all(n > 15 or n == 6 for n in numbers[2:]), numbers


def test_the_closest_two_lose_the_newer_within_a_visit_and_the_older_between_visits() -> None:
    places = torch.tensor([[[0.0], [5.0], [9.0], [5.1]]])
    slots = torch.tensor([[0, 1, 2]])
    soon = torch.tensor([[1, 2, 3, 4]])
    late = torch.tensor([[1, 2, 3, 40]])
    assert offered(slots, 3, soon, places, 6).tolist() == [[0, 1, 2]]
    assert offered(slots, 3, late, places, 6).tolist() == [[0, 2, 3]]


# ---- what is looked up


def overlap_of(view: Tensor, keyframes: list[Tensor]) -> list[float]:
    found = view_overlap(TINY, view[None, None, None], torch.stack(keyframes)[None, None], LATENT_INTRINSICS)
    return found[0, 0].mean(-1).tolist()


def test_a_view_overlaps_itself_wholly_and_the_one_behind_not_at_all() -> None:
    same, behind = overlap_of(pose(1, 2, 0.3), [pose(1, 2, 0.3), pose(1, 2, 0.3 + math.pi)])
    assert same == pytest.approx(1.0, abs=1e-5) and behind == 0.0


def test_overlap_falls_with_turning_with_distance_and_for_the_other_side() -> None:
    here, turned, more, near, far, other_side = overlap_of(
        pose(0, 0),
        [pose(0, 0), pose(0, 0, 0.4), pose(0, 0, 0.9), pose(0, -1), pose(0, -4), pose(0, 3, math.pi)],
    )
    assert here > turned > more > 0.0 and here > near > far > 0.0 and other_side < 0.05


def test_the_looked_up_complete_each_other() -> None:
    """Two nearly equal keyframes show the left half, one the right half: one of each is taken."""
    left = torch.cat([torch.ones(5), torch.zeros(5)])
    overlap = torch.stack([left, 0.95 * left, 0.5 * (1 - left), torch.zeros(10)])[None, None]
    slots, valid = chosen(overlap, 3)
    assert slots[0, 0].tolist()[:2] == [0, 2]
    assert valid[0, 0].tolist() == [True, True, True] and slots[0, 0, 2] == 1
    slots, valid = chosen(overlap, 4)
    assert valid[0, 0].tolist() == [True, True, True, False]


def test_frames_inside_the_window_and_empty_slots_are_not_looked_up() -> None:
    """Standing still everything overlaps; of seven seen frames the window shows 4, 5, 6 and the sink 0."""
    poses = [pose(0, 0)] * 9
    places = Keyframes.none(CONFIG, 1, torch.device("cpu"))
    found, _ = recall(CONFIG, places, track_of(poses), 0, (1,) * 7 + (2,), seen_latents(7))
    entries = [
        sorted(found.reads_BCR[0, c][found.valid_BCR[0, c]].tolist()) for c in range(found.valid_BCR.shape[1])
    ]
    # Entry 6 is the segment's frame 0. At chunk c the window begins at frame c - 3.
    assert entries[:5] == [[], [], [], [], []]
    assert entries[5] == [7] and entries[6] == [7, 8] and entries[7] == [7, 8]


def test_a_chunk_looks_up_what_it_is_about_to_see(model: SanaTransformer) -> None:
    """After a drive east and back past a junction, each future finds the frames that looked its way."""
    seen = [pose(0, 0, yaw) for yaw in (0.0, 0.0, 1.57, 3.14, 4.71)] + [pose(20, 20)] * 6
    for yaw, frame in ((0.0, 1), (1.57, 2), (3.14, 3), (4.71, 4)):
        track = track_of([*seen, *[pose(0, 0, yaw)] * 2])
        places = Keyframes.none(CONFIG, 1, torch.device("cpu"))
        found, _ = recall(CONFIG, places, track, 0, (1,) * 11 + (2,), seen_latents(11))
        assert found.reads_BCR[0, -1, 0] == CONFIG.keyframes + frame
        assert found.valid_BCR[0, -1, 0]


# ---- what the blocks do with it


@torch.no_grad()
def test_a_softmax_block_reads_window_sink_and_keyframes_just_before_the_window() -> None:
    """Against attention written out: per chunk all keys are placed anew, keyframes at their one time."""
    torch.manual_seed(0)
    block = WindowAttention(CONFIG)
    enliven(block)
    track = drive(2, FRAMES)
    places = Keyframes.none(CONFIG, 2, torch.device("cpu"))
    found, _ = recall(CONFIG, places, track, 0, CHUNKS, seen_latents(OBSERVED, 2))
    segment = make_segment(CONFIG, track, 0, CHUNKS, found)
    x = torch.randn(FRAMES, 2, CONFIG.tokens, CONFIG.width, generator=torch.Generator().manual_seed(1))
    state = block.empty(2, torch.zeros(1, 2, CONFIG.tokens, CONFIG.width))
    out, _ = block(x, segment, state)

    q, k, v, gate = block.project(x)
    q_weight, k_weight = block.norm_weights()
    heads = [
        block.split_heads(rms_normalised(y.unflatten(-1, (2, CONFIG.width)), w, relu=False).flatten(-2))
        for y, w in ((q, q_weight), (k, k_weight))
    ]
    q, k, v = heads[0], heads[1], block.split_heads(v)

    @cache
    def alone(b: int, frame: int, time: int) -> Segment:
        one = CameraTrack(
            poses_BF44=track.poses_BF44[b : b + 1, frame : frame + 1],
            before_B44=track.poses_BF44[b : b + 1, frame],
            intrinsics_B4=track.intrinsics_B4[b : b + 1],
        )
        return make_segment(CONFIG, one, time, (1,))

    def at(rows: Tensor, frames: list[int], times: list[int], b: int, query: bool, main: bool) -> Tensor:
        """(2H, frames * S, D) of row b: each frame's heads with its own camera, at the time given."""
        parts = []
        for frame, time in zip(frames, times, strict=True):
            there = alone(b, frame, time)
            matrix = there.query_NEE if query else there.key_NEE
            turned = placed(rows[frame : frame + 1, b : b + 1], matrix, there, ATTENTION_ORDER, main)
            parts.append(turned[0, :, 0])
        return torch.cat(parts, 1)

    expected = torch.empty(FRAMES, 2, CONFIG.tokens, 2 * CONFIG.heads, CONFIG.head_width)
    looked_up = 0
    for b in range(2):
        start = 0
        for c, length in enumerate(CHUNKS):
            own = list(range(start, start + length))
            near = [n for n in range(start) if n < CONFIG.sink_frames or n >= start - CONFIG.window_frames]
            entries = found.reads_BCR[b, c][found.valid_BCR[b, c]].tolist()
            far = [entry - CONFIG.keyframes for entry in entries]
            assert not set(far) & {*near, *own} and all(n < OBSERVED for n in far)
            looked_up += len(far)
            frames = [*near, *own, *far]
            times = [*near, *own, *[start - CONFIG.window_frames - 1] * len(far)]
            keys = at(k, frames, times, b, False, True)
            values = at(v, frames, times, b, False, False)
            scores = at(q, own, own, b, True, True) @ keys.transpose(-1, -2) / CONFIG.head_width**0.5
            read = scores.softmax(-1) @ values
            expected[start : start + length, b] = read.unflatten(1, (length, -1)).permute(1, 2, 0, 3)
            start += length
    assert looked_up > 10
    torch.testing.assert_close(out, block.finish(expected, None, gate, segment), atol=2e-5, rtol=1e-4)


def noise_level() -> Tensor:
    sigma = torch.zeros(2, FRAMES)
    sigma[:, OBSERVED:] = 1.0
    return sigma


def in_parts(model: SanaTransformer, parts: list[tuple[int, ...]]) -> tuple[Tensor, ModelState]:
    x, track, state, start, outs = latents(2, FRAMES), drive(2, FRAMES), None, 0, []
    for chunks in parts:
        stop = start + sum(chunks)
        seen = max(0, min(stop, OBSERVED) - start)
        out, _, state = model(
            x[:, start:stop], noise_level()[:, start:stop], track.slice(start, stop), state, chunks, seen
        )
        outs.append(out)
        start = stop
    assert state is not None
    return torch.cat(outs, 1), state


@torch.no_grad()
@pytest.mark.parametrize(
    "parts",
    [[(n,) for n in CHUNKS], [CHUNKS[:7], CHUNKS[7:]], [CHUNKS[:2], CHUNKS[2:9], CHUNKS[9:]]],
    ids=["chunk by chunk", "context, then future", "a segment over the context's end"],
)
def test_streaming_reads_the_keyframes_that_one_training_pass_reads(
    model: SanaTransformer, parts: list[tuple[int, ...]]
) -> None:
    assert sum(CHUNKS[:7]) == OBSERVED
    whole, whole_state = in_parts(model, [CHUNKS])
    cut, cut_state = in_parts(model, parts)
    torch.testing.assert_close(cut, whole, atol=2e-5, rtol=1e-4)
    assert cut_state.keyframes is not None and whole_state.keyframes is not None
    assert torch.equal(cut_state.keyframes.numbers_BK, whole_state.keyframes.numbers_BK)
    for mine, theirs in zip(bank(cut_state), bank(whole_state), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-5, rtol=1e-4)
    # It would be easy to agree on a memory that nothing reads.
    plain = with_keyframes(keyframes=0)
    without, _ = in_parts(plain, [CHUNKS])
    assert (whole - without)[:, OBSERVED:].abs().max() > 1e-3


def test_training_reaches_the_frames_that_are_looked_up(model: SanaTransformer) -> None:
    """The gradient of a late frame with respect to the context: larger at what was looked up."""
    block = next(b.attn for b in model.blocks if isinstance(b.attn, WindowAttention))
    track = track_of([pose(0, t) for t in range(12)] + [pose(0, 1)])
    places = Keyframes.none(CONFIG, 1, torch.device("cpu"))
    found, _ = recall(CONFIG, places, track, 0, (1,) * 13, seen_latents(12))
    segment = make_segment(CONFIG, track, 0, (1,) * 13, found)
    x = torch.randn(13, 1, CONFIG.tokens, CONFIG.width, requires_grad=True)
    out, _ = block(x, segment, block.empty(1, torch.zeros(1, 1, CONFIG.tokens, CONFIG.width)))
    out[-1].square().sum().backward()
    assert x.grad is not None
    reached = x.grad.abs().amax((1, 2, 3)) > 0
    read = found.reads_BCR[0, -1][found.valid_BCR[0, -1]] - CONFIG.keyframes
    assert 1 in read
    assert set(reached.nonzero()[:, 0].tolist()) == {0, 9, 10, 11, 12, *read.tolist()}


@torch.no_grad()
def test_a_chunk_sees_nothing_of_a_keyframe_that_comes_after_it(model: SanaTransformer) -> None:
    x, track = latents(2, FRAMES), drive(2, FRAMES)
    out, _, _ = model(x, noise_level(), track, None, CHUNKS, OBSERVED)
    x = x.clone()
    x[:, 10:OBSERVED] += 1.0
    other, _, _ = model(x, noise_level(), track, None, CHUNKS, OBSERVED)
    assert torch.equal(other[:, :10], out[:, :10])


def test_a_keyframe_changes_the_view_that_looks_there_and_no_other(
    navigator: NavigationModel, context: NavigationContext
) -> None:
    """Two candidates far away but for one keyframe each: the other one's content means nothing to them."""
    places = context.state.keyframes
    assert places is not None and context.anchor_44 is not None
    slot = 2
    there = context.anchor_44 @ places.poses_BK44[0, slot].double()
    away = there.clone()
    away[:3, 3] += 500.0
    poses = torch.stack([there, away])[:, None].repeat(1, 4, 1, 1)
    _, before = context.fork(2).imagine(poses)

    def scrambled(state: ModelState) -> ModelState:
        blocks = []
        for block in state.blocks:
            if isinstance(block, WindowState) and block.bank_BK2HSD is not None:
                changed = block.bank_BK2HSD.clone()
                changed[:, slot] = torch.randn_like(changed[:, slot])
                block = dataclasses.replace(block, bank_BK2HSD=changed)
            blocks.append(block)
        return dataclasses.replace(state, blocks=tuple(blocks))

    other_context = dataclasses.replace(context, state=scrambled(context.state))
    _, after = other_context.fork(2).imagine(poses)
    change = (after.latents_NFCHW - before.latents_NFCHW).abs().flatten(2).amax(2)
    assert change[0].min() > 1e-3
    assert change[1].max() == 0.0


# ---- forks and imagination


def test_forks_and_their_survivors_share_the_bank(context: NavigationContext, future: Tensor) -> None:
    batch, _ = context.fork(3).imagine(future)
    kept = batch.select(torch.tensor([2, 0]))
    assert len(bank(context.state)) == 1
    for mine, theirs, source in zip(bank(batch.state), bank(kept.state), bank(context.state), strict=True):
        assert mine.data_ptr() == theirs.data_ptr() == source.data_ptr()
        assert mine.stride(0) == theirs.stride(0) == 0 and len(theirs) == 2


def test_imagining_leaves_the_bank_as_it_was(context: NavigationContext, future: Tensor) -> None:
    before = [tensor.clone() for tensor in bank(context.state)]
    assert context.state.keyframes is not None
    numbers = context.state.keyframes.numbers_BK.clone()
    for steps in (1, 2):
        batch, _ = context.fork(3).imagine(future, steps=steps)
        assert batch.state.keyframes is not None
        assert torch.equal(batch.state.keyframes.numbers_BK, numbers.expand(3, -1))
        for mine, theirs in zip(bank(batch.state), before, strict=True):
            assert torch.equal(mine[1], theirs[0])


@pytest.mark.parametrize("steps", [1, 2])
def test_two_calls_equal_one_and_survivors_go_on_as_before(
    context: NavigationContext, future: Tensor, steps: int
) -> None:
    _, whole = context.fork(3).imagine(future, steps=steps)
    batch, first = context.fork(3).imagine(future[:, :4], steps=steps)
    index = torch.tensor([2, 0])
    _, second = batch.select(index).imagine(future[index, 4:], steps=steps)
    for name, value in vars(Rollout.cat([first.select(index), second])).items():
        torch.testing.assert_close(value, getattr(whole, name)[index], atol=3e-5, rtol=1e-4)


def test_a_context_in_parts_remembers_what_one_call_remembers(
    navigator: NavigationModel, context: NavigationContext, future: Tensor
) -> None:
    frames, poses, parts = pictures(49), camera_path(49), navigator.start(INTRINSICS)
    for start, stop in ((0, 1), (1, 17), (17, 25), (25, 49)):
        parts = parts.extend(frames[start:stop], poses[start:stop])
    assert parts.state.keyframes is not None and context.state.keyframes is not None
    assert torch.equal(parts.state.keyframes.numbers_BK, context.state.keyframes.numbers_BK)
    _, mine = parts.fork(3).imagine(future)
    _, theirs = context.fork(3).imagine(future)
    torch.testing.assert_close(mine.latents_NFCHW, theirs.latents_NFCHW, atol=3e-5, rtol=1e-4)


def test_the_state_is_of_one_size_from_the_first_frame_that_fills_the_window(
    navigator: NavigationModel,
) -> None:
    context, sizes = navigator.start(INTRINSICS).extend(pictures(1), camera_path(1)), []
    for seed in range(4):
        context = context.extend(pictures(16), camera_path(16, seed))
        sizes.append(context.state.bytes)
    assert len(set(sizes)) == 1


def test_keyframes_keep_their_poses_relative_to_the_anchor(context: NavigationContext) -> None:
    places = context.state.keyframes
    assert places is not None and context.anchor_44 is not None
    at = places.numbers_BK[0] * 4
    expected = relative_to(context.anchor_44, camera_path(49)[at])
    torch.testing.assert_close(places.poses_BK44[0], expected)


# ---- switched off


@torch.no_grad()
def test_without_keyframes_the_model_is_plain_bit_for_bit(tiny: SanaTransformer) -> None:
    """Also a bank that nothing overlaps changes nothing but rounding."""
    x, track = latents(1, 12), drive(1, 12)
    plain, _, state = tiny(x, torch.zeros(1, 1), track, None)
    told, _, _ = tiny(x, torch.zeros(1, 1), track, None, None, 12)
    assert torch.equal(told, plain)
    assert state.keyframes is None and bank(state) == []
    scattered = CameraTrack(
        poses_BF44=torch.stack([pose(100.0 * t, 0) for t in range(12)])[None],
        before_B44=pose(0, 0)[None],
        intrinsics_B4=track.intrinsics_B4,
    )
    remembering = SanaTransformer(dataclasses.replace(TINY, keyframes=6, keyframe_reads=2)).eval()
    remembering.load_state_dict(tiny.state_dict())
    without, _, _ = tiny(x, torch.zeros(1, 1), scattered, None)
    unread, _, _ = remembering(x, torch.zeros(1, 1), scattered, None, None, 12)
    torch.testing.assert_close(unread, without, atol=1e-5, rtol=1e-4)


def test_a_bank_smaller_than_what_is_read_is_refused() -> None:
    with pytest.raises(BadConfig, match="keyframes is 3; expected 0 or at least keyframe_reads"):
        dataclasses.replace(TINY, keyframes=3, keyframe_reads=4)
