"""Samplers of the published weights: noise levels, first frame, guidance, and streams that equal re-encoding."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from published_fixtures import camera, caption, noise, tiny_transformer
from torch import Tensor

from sana_wm_ros.world_model.published.sampling import (
    FEW_STEPS,
    Prompted,
    chunks_between,
    flow_levels,
    sample_clip,
    step_levels,
    stream_clip,
)
from sana_wm_ros.world_model.transformer import SanaTransformer


@pytest.fixture(scope="module")
def streaming() -> Prompted:
    model = tiny_transformer()
    return Prompted(transformer=model, text=caption(model))


@pytest.fixture(scope="module")
def bidirectional() -> SanaTransformer:
    return tiny_transformer(
        window_frames=64, sink_frames=0, chunk_frames=64, max_chunk_frames=64, causal_softmax=False,
        softmax_scale="padded_camera", default_steps=3, flow_shift=9.8,
    )  # fmt: skip


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("shift", "first", "last"),
    [
        (9.8, [1.0, 0.99826, 0.99647, 0.99462], [0.30718, 0.21058, 0.0877, 0.0]),
        (8.0, [1.0, 0.99787, 0.99567, 0.9934], [0.25762, 0.16881, 0.06021, 0.0]),
    ],
)
def test_levels_are_those_of_the_published_scheduler(
    shift: float, first: list[float], last: list[float]
) -> None:
    levels = flow_levels(60, shift)
    assert len(levels) == 61
    assert levels[:4] == pytest.approx(first, abs=1e-5)
    assert levels[-4:] == pytest.approx(last, abs=1e-5)


def test_few_steps_reach_the_network_as_whole_timesteps() -> None:
    levels = step_levels(FEW_STEPS)
    assert levels == [1.0, 0.96, 0.889, 0.727, 0.0]
    seen = (torch.tensor(levels) * 1000 + 2e-4).trunc()
    assert seen.tolist() == [1000, 960, 889, 727, 0]


@pytest.mark.parametrize("timesteps", [(), (1001, 5), (500, 500), (500, 700), (500, 0)])
def test_timesteps_that_do_not_fall_are_refused(timesteps: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="falling"):
        step_levels(timesteps)


def test_a_stream_is_cut_where_the_published_clips_were() -> None:
    assert chunks_between(0, 121, 3) == (4,) + (3,) * 39
    # From anywhere, the cuts are the same ones.
    for start in range(12):
        ends = [start + sum(chunks_between(start, 14, 3)[: i + 1]) for i in range(9)]
        assert set(ends) <= {4, 7, 10, 13, 14} and ends[-1] == 14
    assert chunks_between(0, 1, 3) == (1,)
    assert chunks_between(5, 5, 3) == ()


def test_a_clip_keeps_its_first_frame_and_one_seed_gives_one_clip(bidirectional: SanaTransformer) -> None:
    prompted = Prompted(transformer=bidirectional, text=caption(bidirectional))
    first = noise(1, seed=9)[0, 0]
    clips = [sample_clip(prompted, camera(5), first_CHW=first, generator=seeded(s)) for s in (3, 3, 4)]
    assert clips[0].shape == (5, 6, 2, 3)
    assert torch.equal(clips[0][0], first)
    assert torch.equal(clips[0], clips[1])
    assert (clips[0] - clips[2])[1:].abs().mean() > 0.1
    other = sample_clip(prompted, camera(5), first_CHW=first + 1.0, generator=seeded())
    assert (clips[0] - other)[4].abs().max() > 1e-3


def test_euler_steps_follow_the_flow(bidirectional: SanaTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the flow is noise - clean for one clean clip, every number of steps arrives at that clip."""
    clean = noise(4, seed=8)
    prompted = Prompted(transformer=bidirectional, text=caption(bidirectional))

    def straight(x: Tensor, sigma: Tensor, *rest: object, text: object) -> tuple[Tensor, None, None]:
        return (x - clean) / sigma[..., None, None, None].clamp(min=1e-6), None, None

    monkeypatch.setattr(bidirectional, "forward", straight)
    for steps in (1, 2, 7):
        clip = sample_clip(prompted, camera(4), steps=steps, generator=seeded())
        torch.testing.assert_close(clip, clean[0], atol=1e-4, rtol=1e-4)


def test_guidance_pushes_away_from_the_negative_caption(bidirectional: SanaTransformer) -> None:
    text, negative = caption(bidirectional), caption(bidirectional, seed=5)
    inputs = (noise(4), torch.full((1, 4), 0.8), camera(4))
    plain = [
        Prompted(transformer=bidirectional, text=t)(*inputs, (bidirectional.empty_state(1),), (4,))[0]
        for t in (text, negative)
    ]
    guided = Prompted(transformer=bidirectional, text=text, negative=negative, guidance=5.0)
    flow, states = guided(*inputs, guided.empty(1), (4,))
    assert len(states) == 2
    torch.testing.assert_close(flow, plain[1] + 5.0 * (plain[0] - plain[1]))
    unguided = Prompted(transformer=bidirectional, text=text, negative=negative, guidance=1.0)
    assert torch.equal(unguided(*inputs, unguided.empty(1), (4,))[0], plain[0])


def test_a_stream_equals_encoding_the_whole_clean_past_again(streaming: Prompted) -> None:
    """The slow twin: every pass sees all finished frames, clean, and the noisy chunk, without any state."""
    model, path, frames = streaming.transformer, camera(13), 13
    generator = seeded()
    drawn = torch.stack([torch.randn(6, 2, 3, generator=generator) for _ in range(frames)])[None]
    done, levels = noise(1, seed=9), step_levels(FEW_STEPS)
    first = done[0, 0]
    for length in (4, 3, 3, 3):
        start = 0 if length == 4 else done.shape[1]
        given = done.shape[1] - start
        x = drawn[:, start + given : start + length]
        chunks = chunks_between(0, start + length, 3)
        for sigma, lower in pairwise(levels):
            level = torch.cat([torch.zeros(1, done.shape[1]), torch.full((1, length - given), sigma)], 1)
            flow, _, _ = model(
                torch.cat([done, x], 1),
                level,
                path.slice(0, start + length),
                None,
                chunks,
                text=streaming.text,
            )
            x = x - (sigma - lower) * flow[:, done.shape[1] :]
        done = torch.cat([done, x], 1)
    stream = torch.cat(list(stream_clip(streaming, path, first_CHW=first, generator=seeded())))
    assert stream.std() > 0.3
    torch.testing.assert_close(stream, done[0], atol=1e-4, rtol=1e-3)


def test_a_longer_stream_begins_with_the_shorter_one(streaming: Prompted) -> None:
    long = list(stream_clip(streaming, camera(13), generator=seeded()))
    short = list(stream_clip(streaming, camera(13).slice(0, 7), generator=seeded()))
    assert [len(chunk) for chunk in long] == [4, 3, 3, 3]
    for mine, theirs in zip(short, long, strict=False):
        assert torch.equal(mine, theirs)


def test_a_guided_stream_differs_and_a_first_latent_must_fit(streaming: Prompted) -> None:
    model = streaming.transformer
    guided = Prompted(transformer=model, text=streaming.text, negative=caption(model, seed=5), guidance=3.0)
    clips = [torch.cat(list(stream_clip(p, camera(7), generator=seeded()))) for p in (streaming, guided)]
    assert (clips[0] - clips[1])[4:].abs().mean() > 1e-3
    for bad in (torch.zeros(6, 3, 2), torch.full((6, 2, 3), torch.nan)):
        with pytest.raises(ValueError, match=r"expected \(6, 2, 3\)"):
            next(stream_clip(streaming, camera(7), first_CHW=bad))
