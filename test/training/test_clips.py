"""A clip shows what was seen with true poses, then what came of the commands with the poses they ask for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sana_wm_ros.training.clips import ClipSampler, conditioned_poses, make_clip
from sana_wm_ros.training.episodes import read_episode
from sana_wm_ros.training.latents import LatentDrive, encode_drive, load_drives
from sana_wm_ros.training.objective import camera_track
from sana_wm_ros.training.places import place_errors, place_target, travel_distance
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig

SMALL = AutoencoderConfig(latent_channels=4, widths=(8, 8, 8))


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    torch.manual_seed(0)
    model = Autoencoder(SMALL)
    torch.nn.init.normal_(model.linear_down.weight, std=0.02)
    return model


@pytest.fixture(scope="module")
def drive(autoencoder: Autoencoder, drives: Path) -> LatentDrive:
    return encode_drive(autoencoder, read_episode(drives / "0000.npz"), "0000")


def test_seen_frames_have_true_poses_and_later_ones_ignore_what_happened(drive: LatentDrive) -> None:
    stuck = drive.poses_T3.copy()
    stuck[40:] = stuck[40]  # the robot hits something at raw frame 40; its commands don't know
    halted = replace(drive, poses_T3=stuck)
    poses = conditioned_poses(halted, 4, 20, 5, per_latent=4)
    np.testing.assert_allclose(poses[:5], stuck[16:33:4])
    free = conditioned_poses(drive, 4, 20, 5, per_latent=4)
    np.testing.assert_allclose(poses, free)
    # nothing in the way: asked for is driven (yaw may be wrapped)
    np.testing.assert_allclose(np.sin(free[:, 2]), np.sin(drive.poses_T3[16:96:4, 2]), atol=1e-4)
    np.testing.assert_allclose(free[:, :2], drive.poses_T3[16:96:4, :2], atol=1e-4)


def test_a_clip_begins_with_the_still_that_a_stream_would_see(autoencoder: Autoencoder, drives: Path) -> None:
    episode = read_episode(drives / "0001.npz")
    drive = encode_drive(autoencoder, episode, "0001")
    clip = make_clip(drive, 8, 6, 2, per_latent=4)
    stream = autoencoder.encode(torch.from_numpy(episode.frames_THWC[32 : 32 + 21]), first=True)
    torch.testing.assert_close(clip.latents_BFCHW[0], stream, atol=2e-2, rtol=1e-2)  # the cache is float16


def test_contact_of_a_latent_frame_is_contact_in_any_of_its_raw_frames(
    autoencoder: Autoencoder, drives: Path
) -> None:
    contact = np.zeros(129, dtype=bool)
    contact[[5, 16]] = True  # raw 5..8 make latent frame 2, raw 13..16 frame 4
    drive = encode_drive(autoencoder, replace(read_episode(drives / "0001.npz"), contact_T=contact), "x")
    assert np.flatnonzero(drive.contact_F).tolist() == [2, 4]


def test_a_drive_that_ends_in_contact_goes_on_in_contact(drive: LatentDrive) -> None:
    ended = replace(drive, contact_F=np.arange(len(drive)) >= len(drive) - 2)
    clip = make_clip(ended, 24, 20, 4, per_latent=4)  # 33 frames: nine are there
    assert clip.valid_BF[0].tolist() == [1.0] * 9 + [0.0] * 11
    assert clip.contact_BF[0].tolist() == [0.0] * 7 + [1.0] * 13
    assert clip.known_contact_BF[0].tolist() == [1.0] * (9 + 6) + [0.0] * 5
    reacting = make_clip(replace(ended, open_loop=False), 24, 20, 4, per_latent=4)
    assert reacting.known_contact_BF[0].sum() == 9


def test_batches_follow_from_their_number_alone(drive: LatentDrive) -> None:
    sampler = ClipSampler([drive, replace(drive, driver="look_away")], per_latent=4, seed=3)
    one, again, other = (sampler.batch(step, 4, 12) for step in (7, 7, 8))
    assert torch.equal(one.latents_BFCHW, again.latents_BFCHW)
    assert not torch.equal(one.latents_BFCHW, other.latents_BFCHW)
    assert sampler.weights[1] == pytest.approx(2 * sampler.weights[0])
    assert (one.context_B >= 1).all()
    assert (one.future_BF.sum(1) == 12 - one.context_B).all()


def test_the_cache_gives_back_what_was_encoded(
    autoencoder: Autoencoder, drives: Path, tmp_path: Path
) -> None:
    first = load_drives(autoencoder, [drives], tmp_path)
    again = load_drives(autoencoder, [drives], tmp_path)
    assert len(first) == len(again) == 6
    for a, b in zip(first, again, strict=True):
        assert np.array_equal(a.latents_FCHW, b.latents_FCHW)
        assert (a.name, a.driver, a.open_loop) == (b.name, b.driver, b.open_loop)
    other = Autoencoder(SMALL)
    load_drives(other, [drives], tmp_path, limit=1)
    assert len(list(tmp_path.iterdir())) == 2  # another autoencoder, another folder


def test_driving_back_makes_places_near_and_a_wall_keeps_them_far() -> None:
    # out 3 m and back along the same line: the last frame is at the first one's place
    out = np.stack([np.arange(7) * 0.5, np.zeros(7), np.zeros(7)], axis=1)
    there_and_back = np.concatenate([out, out[-2::-1]])
    distance = travel_distance(there_and_back)
    assert distance[0, 6] == pytest.approx(3.0)
    assert distance[0, 12] == pytest.approx(0.0)
    # around the end of a wall: two poses a metre apart are four metres of driving away from each other
    around = np.array([[0, 0, 0], [1.5, 0, 0], [1.5, 1, 0], [0, 1, 0]], dtype=float)
    assert travel_distance(around)[0, 3] == pytest.approx(4.0)


def test_the_place_loss_is_zero_for_embeddings_that_tell_the_distance() -> None:
    distance = torch.tensor([[0.0, 3.0], [3.0, 0.0]])
    cosine = math.exp(-1.0)  # 3 m is one scale
    embedding = torch.tensor([[1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]])
    error, weight = place_errors(embedding[None], distance[None], torch.tensor([[1.0, 0.5]]))
    assert float(error.max()) == pytest.approx(0.0, abs=1e-10)
    assert weight.tolist() == [[[1.0, 0.5], [0.5, 0.25]]]
    assert float(place_target(torch.tensor(0.0))) == 0.0


def test_half_of_the_clips_have_left_their_anchor_behind(drive: LatentDrive) -> None:
    near, far = (ClipSampler([drive], per_latent=4, seed=3, anchor_m=m).batch(7, 64, 8) for m in (0.0, 10.0))
    assert torch.equal(near.anchor_B44, near.poses_BF44[:, 0])
    assert torch.equal(near.poses_BF44, far.poses_BF44)
    moved = far.anchor_B44 - far.poses_BF44[:, 0]
    assert torch.equal(moved[:, :3, :3], torch.zeros(64, 3, 3, dtype=torch.float64))  # it keeps its axes
    away = moved[:, :3, 3].norm(dim=1)
    assert 16 < int((away > 0).sum()) < 48
    assert 8.0 < float(away.max()) <= 10.0
    assert torch.equal(moved[:, 2, 3], torch.zeros(64, dtype=torch.float64))  # and its height
    track = camera_track(far, (64, 96))
    expected = torch.linalg.inv(far.anchor_B44[5]) @ far.poses_BF44[5, 3]
    torch.testing.assert_close(track.poses_BF44[5, 3], expected.float(), atol=1e-5, rtol=1e-5)
