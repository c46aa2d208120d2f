"""The LTX-2 autoencoder in a stream: the same as in one pass, at a size and in a memory that do not grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from published_fixtures import tiny_video
from torch import Tensor

from sana_wm_ros.world_model.checkpoint import BadCheckpoint
from sana_wm_ros.world_model.published.video import EMPTY, LTXVideo, load_video

HEIGHT, WIDTH = 64, 96


def tiny(**settings: Any) -> Any:
    return tiny_video(**settings).network


def pictures(frames: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (frames, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def video() -> LTXVideo:
    return LTXVideo(tiny(), HEIGHT, WIDTH)


def whole_encoding(video: LTXVideo, frames: Tensor) -> Tensor:
    """Diffusers' own pass over all frames, normalised as its pipeline does."""
    x = (frames.float() / 127.5 - 1.0).permute(3, 0, 1, 2)[None]
    z = video.network.encode(x).latent_dist.mode()
    mean, std = (s.view(1, -1, 1, 1, 1) for s in (video.network.latents_mean, video.network.latents_std))
    return ((z - mean) / std)[0].transpose(0, 1)


@torch.no_grad()
@pytest.mark.parametrize("cuts", [[41], [1, 8, 8, 8, 16], [9, 32], [25, 8, 8]], ids=str)
def test_a_stream_is_encoded_as_the_whole_is(video: LTXVideo, cuts: list[int]) -> None:
    frames = pictures(41)
    expected = whole_encoding(video, frames)
    assert expected.shape == (6, 6, 2, 3)
    state, latents, start = EMPTY, [], 0
    for count in cuts:
        part, state = video.encode(frames[start : start + count], state)
        latents.append(part)
        start += count
    assert expected.std() > 0.1
    torch.testing.assert_close(torch.cat(latents), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_state_does_not_grow_and_is_never_written_to(video: LTXVideo) -> None:
    frames = pictures(33)
    _, first = video.encode(frames[:1])
    kept = {name: tail.clone() for name, tail in first.tails.items()}
    _, early = video.encode(frames[1:9], first)
    _, late = video.encode(frames[1:33], first)
    assert first.bytes == early.bytes == late.bytes > 0
    assert all(torch.equal(first.tails[name], tail) for name, tail in kept.items())
    # Another future from the same state: forks do not disturb each other.
    again, _ = video.encode(frames[1:9], first)
    assert torch.equal(again, video.encode(frames[1:9], first)[0])


@torch.no_grad()
def test_a_causal_decoder_streams_as_the_whole_is_decoded() -> None:
    video = LTXVideo(tiny(decoder_causal=True), HEIGHT, WIDTH)
    latents = torch.randn(11, 6, 2, 3, generator=torch.Generator().manual_seed(2))
    whole = video.network.decode(video._raw(latents)).sample
    pieces = list(video.decoded(latents))
    assert [len(piece) for piece in pieces] == [25, 32, 24]
    expected = ((whole[0] + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 3, 0)
    assert expected.std() > 5.0
    difference = (torch.cat(pieces).float() - expected).abs()
    # Rounding to whole numbers may fall either way.
    assert difference.max() <= 1.0 and difference.mean() < 1e-3


@torch.no_grad()
def test_a_decoder_that_looks_ahead_is_tiled_by_diffusers() -> None:
    network = tiny(decoder_causal=False)
    video = LTXVideo(network, HEIGHT, WIDTH)
    latents = torch.randn(5, 6, 2, 3, generator=torch.Generator().manual_seed(2))
    (pictures_whole,) = video.decoded(latents)
    assert pictures_whole.shape == (33, HEIGHT, WIDTH, 3)
    network.enable_tiling(
        tile_sample_min_height=HEIGHT, tile_sample_min_width=WIDTH, tile_sample_min_num_frames=16,
        tile_sample_stride_num_frames=8,
    )  # fmt: skip
    network.use_framewise_decoding = True
    (tiled,) = video.decoded(latents)
    assert tiled.shape == pictures_whole.shape and not torch.equal(tiled, pictures_whole)


@torch.no_grad()
def test_latents_from_anywhere_decode_to_whole_groups_of_pictures(video: LTXVideo) -> None:
    latents = torch.randn(3, 6, 2, 3, generator=torch.Generator().manual_seed(2))
    shown = video.decode(latents)
    assert shown.shape == (24, HEIGHT, WIDTH, 3) and shown.dtype == torch.uint8
    stills = torch.cat([latents[:1], latents])
    assert torch.equal(shown, torch.cat(list(video.decoded(stills)))[1:])


def test_sizes_are_those_of_the_layers(video: LTXVideo) -> None:
    assert video.frames_per_latent == 8
    assert video.latent_shape == (6, 2, 3)
    with pytest.raises(ValueError, match="image_width is 100; expected a positive multiple of 32"):
        LTXVideo(tiny(), HEIGHT, 100)
    with pytest.raises(ValueError, match="looks ahead"):
        LTXVideo(tiny(encoder_causal=False), HEIGHT, WIDTH)


def test_bad_frames_are_refused(video: LTXVideo) -> None:
    _, state = video.encode(pictures(1))
    for frames, given, words in (
        (pictures(2), EMPTY, r"T = 1 \+ k \* 8"),
        (pictures(9), state, r"T = k \* 8"),
        (pictures(0), state, r"T = k \* 8"),
        (pictures(9)[:, :32], EMPTY, r"expected \(T, \(64, 96, 3\)\)"),
    ):
        with pytest.raises(ValueError, match=words):
            video.encode(frames, given)
    with pytest.raises(TypeError, match="uint8"):
        video.encode(pictures(1).float())
    with pytest.raises(ValueError, match="expected"):
        video.decode(torch.zeros(2, 6, 3, 2))


def test_a_folder_loads_strictly(tmp_path: Path, video: LTXVideo) -> None:
    network = tiny()
    network.save_pretrained(tmp_path / "vae")
    loaded = load_video(tmp_path / "vae", HEIGHT, WIDTH, dtype=torch.float32)
    assert torch.equal(loaded.encode(pictures(1))[0], video.encode(pictures(1))[0])
    config = json.loads((tmp_path / "vae" / "config.json").read_text())
    config["latent_channels"] = 7
    (tmp_path / "vae" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadCheckpoint, match="LTX-2 video autoencoder|do not fit"):
        load_video(tmp_path / "vae", HEIGHT, WIDTH)
    with pytest.raises(BadCheckpoint, match=r"no config\.json"):
        load_video(tmp_path)
