"""The planning protocol over published weights: contexts, forks and futures, and what they do not claim to know."""

from __future__ import annotations

import pytest
import torch
from published_fixtures import caption, tiny_transformer, tiny_video
from torch import Tensor

from sana_wm_ros.world_model.camera import interpolate
from sana_wm_ros.world_model.protocol import Intrinsics, WorldModel
from sana_wm_ros.world_model.published.conditions import camera_conditions
from sana_wm_ros.world_model.published.sampling import FEW_STEPS, stream_clip
from sana_wm_ros.world_model.published.world_model import PublishedContext, PublishedModel
from sana_wm_ros.world_model.state import WindowState
from sana_wm_ros.world_model.toy import camera_path, pictures

INTRINSICS = Intrinsics(fx=70.0, fy=72.0, cx=47.0, cy=33.0)


@pytest.fixture(scope="module")
def model() -> PublishedModel:
    transformer = tiny_transformer()
    return PublishedModel(transformer, tiny_video(), caption(transformer))


def seen(model: PublishedModel, frames: int) -> PublishedContext:
    return model.start(INTRINSICS).extend(pictures(frames), camera_path(frames))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def futures(candidates: int, frames: int, context: PublishedContext) -> Tensor:
    """Commanded ways from where the camera is, one per candidate."""
    start = context.stream.last_N44[0]
    ways = camera_path(frames + 1, seed=2, batch=candidates)
    return start @ torch.linalg.inv(ways[:, :1]) @ ways[:, 1:]


def test_it_is_a_world_model(model: PublishedModel) -> None:
    assert isinstance(model, WorldModel)
    assert model.spec.latent_period_s == 0.5
    assert model.start(INTRINSICS).latent_frames == 0
    assert [round(1000 * level) for level in model.levels(None)] == [*FEW_STEPS, 0]
    assert len(model.levels(1)) == 2 and len(model.levels(400)) < 401


@torch.no_grad()
def test_imagining_from_one_frame_is_the_published_stream(model: PublishedModel) -> None:
    context = seen(model, 1)
    poses = futures(1, 9, context)
    # Without a generator a frame's noise is that of its number.
    _, rollout = context.fork(1).imagine(poses)
    before = torch.cat([camera_path(1), poses[0, :-1]])
    raw = torch.cat([camera_path(1), interpolate(before, poses[0], 8).flatten(0, 1)])
    k = torch.tensor([INTRINSICS.fx, INTRINSICS.fy, INTRINSICS.cx, INTRINSICS.cy])
    camera = camera_conditions(raw, k, image=(64, 96), latent=(2, 3))
    clip = torch.cat(list(stream_clip(model.prompted, camera, first_CHW=context.last_latent_CHW)))
    assert rollout.latents_NFCHW.shape == (1, 9, 6, 2, 3)
    assert clip[1:].std() > 0.3
    torch.testing.assert_close(rollout.latents_NFCHW[0], clip[1:], atol=1e-4, rtol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("cuts", [[1, 8, 16, 8, 32], [17, 48], [33, 8, 24]], ids=str)
def test_how_a_past_arrives_does_not_matter(model: PublishedModel, cuts: list[int]) -> None:
    frames, poses = pictures(65), camera_path(65)
    whole = model.start(INTRINSICS).extend(frames, poses)
    context, start = model.start(INTRINSICS), 0
    for count in cuts:
        context = context.extend(frames[start : start + count], poses[start : start + count])
        start += count
    # 9 latent frames: chunks of 4 and 3 are in the state, two frames wait.
    assert context.latent_frames == whole.latent_frames == 9
    assert context.stream.written == 7
    torch.testing.assert_close(context.stream.pending_NPCHW, whole.stream.pending_NPCHW, atol=1e-4, rtol=1e-3)
    ahead = futures(1, 3, whole)
    mine, theirs = (c.fork(1).imagine(ahead)[1].latents_NFCHW for c in (context, whole))
    assert theirs.std() > 0.3
    torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_forked_is_as_seen_again_for_each_candidate(model: PublishedModel) -> None:
    context = seen(model, 41)
    poses = futures(3, 5, context)
    _, together = context.fork(3).imagine(poses, generator=seeded())
    for row in range(3):
        alone = seen(model, 41).fork(1).imagine(poses[row : row + 1], generator=seeded())[1]
        torch.testing.assert_close(alone.latents_NFCHW[0], together.latents_NFCHW[row], atol=1e-4, rtol=1e-3)
    assert (together.latents_NFCHW[0] - together.latents_NFCHW[1]).abs().mean() > 1e-2


@torch.no_grad()
def test_futures_cut_where_chunks_end_are_those_of_one_call(model: PublishedModel) -> None:
    context = seen(model, 17)  # three latent frames wait; the chunk ends with the fourth
    poses, generator = futures(2, 10, context), seeded()
    batch, parts = context.fork(2), []
    for start, stop in ((0, 1), (1, 7), (7, 10)):
        batch, part = batch.imagine(poses[:, start:stop], generator=generator)
        parts.append(part.latents_NFCHW)
    whole_batch, whole = context.fork(2).imagine(poses, generator=seeded())
    torch.testing.assert_close(torch.cat(parts, 1), whole.latents_NFCHW, atol=1e-4, rtol=1e-3)
    assert batch.stream.frames == whole_batch.stream.frames == 13


@torch.no_grad()
def test_a_future_may_end_and_go_on_anywhere(model: PublishedModel) -> None:
    context = seen(model, 25)
    batch, first = context.fork(2).imagine(futures(2, 2, context), generator=seeded())
    assert batch.stream.pending_NPCHW.shape[1] == 2
    _, second = batch.imagine(futures(2, 4, context), generator=seeded())
    assert first.latents_NFCHW.shape[1] == 2 and second.latents_NFCHW.shape[1] == 4
    assert second.latents_NFCHW.isfinite().all()


@torch.no_grad()
def test_losers_are_dropped_at_no_cost_to_the_others(model: PublishedModel) -> None:
    context = seen(model, 25)
    poses = futures(4, 6, context)
    batch, _ = context.fork(4).imagine(poses[:, :3], generator=seeded())
    kept = batch.select(torch.tensor([2, 0]))
    assert kept.size == 2
    mine = kept.imagine(poses[[2, 0], 3:], generator=seeded())[1].latents_NFCHW
    theirs = batch.imagine(poses[:, 3:], generator=seeded())[1].latents_NFCHW[[2, 0]]
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)
    with pytest.raises(ValueError, match="expected some of 0 to 3"):
        batch.select(torch.tensor([4]))


@torch.no_grad()
def test_the_state_is_as_large_after_a_long_past_and_contexts_never_change(model: PublishedModel) -> None:
    short, long = seen(model, 73), seen(model, 169)
    assert short.stream.states[0].bytes == long.stream.states[0].bytes
    assert short.encoder.bytes == long.encoder.bytes
    window = long.stream.states[0].blocks[3]
    assert isinstance(window, WindowState)
    assert window.frames == (0, 1, 2, 3, 19, 20, 21)
    before = short.stream.pending_NPCHW.clone()
    short.extend(pictures(24), camera_path(24))
    short.fork(2).imagine(futures(2, 4, short))
    assert torch.equal(short.stream.pending_NPCHW, before) and short.latent_frames == 10


@torch.no_grad()
def test_imagined_latents_become_pictures(model: PublishedModel) -> None:
    context = seen(model, 9)
    _, rollout = context.fork(1).imagine(futures(1, 3, context))
    shown = model.decode(rollout.latents_NFCHW[0])
    assert shown.shape == (24, 64, 96, 3) and shown.dtype == torch.uint8


@torch.no_grad()
def test_what_no_head_foretells_is_unknown_and_planning_says_so(model: PublishedModel) -> None:
    context = seen(model, 9)
    _, rollout = context.fork(2).imagine(futures(2, 3, context))
    assert rollout.collision_NF.shape == rollout.uncertainty_NF.shape == (2, 3)
    assert rollout.collision_NF.isnan().all() and rollout.uncertainty_NF.isnan().all()
    assert rollout.clearance_NFK.shape == rollout.place_NFE.shape == (2, 3, 0)
    assert rollout.latents_NFCHW.isfinite().all()
    assert model.spec.foretells == frozenset()
    with pytest.raises(ValueError, match="collision, clearance, uncertainty; this one foretells latents"):
        model.spec.require("collision", "clearance", "uncertainty")


def test_parts_that_do_not_fit_are_refused(model: PublishedModel) -> None:
    transformer = tiny_transformer(latent_height=4)
    with pytest.raises(ValueError, match=r"the transformer expects \(6, 4, 3\)"):
        PublishedModel(transformer, model.video, caption(transformer))
    transformer = tiny_transformer(causal_softmax=False)
    with pytest.raises(ValueError, match="streaming or chunk-causal form"):
        PublishedModel(transformer, model.video, caption(transformer))


def test_bad_calls_are_refused(model: PublishedModel) -> None:
    empty = model.start(INTRINSICS)
    with pytest.raises(ValueError, match="nothing was seen"):
        empty.fork(1)
    with pytest.raises(ValueError, match=r"1 \+ k \* 8"):
        empty.extend(pictures(8), camera_path(8))
    context = seen(model, 1)
    with pytest.raises(ValueError, match="at least 1"):
        context.fork(0)
    for bad, kind in (
        (torch.eye(4).expand(2, 3, 4, 4), ValueError),
        (torch.eye(4).expand(1, 0, 4, 4), ValueError),
        (torch.full((1, 2, 4, 4), torch.nan), ValueError),
        (torch.eye(4, dtype=torch.int32).expand(1, 2, 4, 4), TypeError),
    ):
        with pytest.raises(kind, match="pose"):
            context.fork(1).imagine(bad)
    with pytest.raises(ValueError, match="denoising steps"):
        context.fork(1).imagine(futures(1, 2, context), steps=0)
