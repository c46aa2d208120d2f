"""Recordings become episodes whose commands lead along their poses; what nothing can be learnt from is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.geometry.se2 import integrate
from sana_wm_ros.training.episodes import BadEpisode, Episode
from sana_wm_ros.training.finetune import FineTuning, fine_tune
from sana_wm_ros.training.recordings import (
    Recording,
    UnusableRecording,
    beginning,
    mirrored,
    to_episode,
    training_frames,
)
from sana_wm_ros.world_model.presets import untrained
from sana_wm_ros.world_model.protocol import Intrinsics

MOUNT = np.array([[0, 0, 1, 0.1], [-1, 0, 0, 0.05], [0, -1, 0, 0.3], [0, 0, 0, 1]])


@pytest.fixture
def recording() -> Recording:
    """25 s of an arc through noise."""
    random = np.random.default_rng(0)
    count = 201
    base = integrate(np.array([1.0, 2.0, 0.5]), np.tile([0.4, 0.0, 0.3], (count - 1, 1)), 1 / 8)
    base = np.concatenate([[[1.0, 2.0, 0.5]], base])
    return Recording(
        name="hall",
        frames_THWC=random.integers(0, 255, (count, 64, 96, 3), dtype=np.uint8),
        poses_T44=camera_poses(base, MOUNT),
        intrinsics=Intrinsics(fx=60.0, fy=61.0, cx=40.0, cy=31.5),
        T_base_camera_44=MOUNT,
        sectors=24,
    )


def test_the_commands_of_a_recording_lead_along_its_measured_poses(recording: Recording) -> None:
    episode = to_episode(recording)
    np.testing.assert_allclose(episode.commands_T3[:-1], np.tile([0.4, 0.0, 0.3], (200, 1)), atol=1e-5)
    led = integrate(episode.poses_T3[0].astype(float), episode.commands_T3[:-1].astype(float), 1 / 8)
    np.testing.assert_allclose(led[:, :2], episode.poses_T3[1:, :2], atol=1e-3)
    assert np.isnan(episode.clearance_TK).all()
    assert not episode.open_loop  # so its contacts, unknown anyway, never teach


def test_what_nothing_can_be_learnt_from_is_refused_with_the_reason(recording: Recording) -> None:
    short = replace(recording, frames_THWC=recording.frames_THWC[:100], poses_T44=recording.poses_T44[:100])
    with pytest.raises(UnusableRecording, match=r"hall: the longest stretch .* is 12.4 s, at least 20 s"):
        to_episode(short)
    parked = replace(recording, poses_T44=np.tile(recording.poses_T44[:1], (201, 1, 1)))
    with pytest.raises(UnusableRecording, match="drove 0.00 m and turned 0 degrees"):
        to_episode(parked)
    covered = replace(recording, frames_THWC=np.full_like(recording.frames_THWC, 20))
    with pytest.raises(UnusableRecording, match="is the camera covered"):
        to_episode(covered)


def test_a_mirror_shows_the_same_drive_the_other_way_round(drive_maker: Callable[..., Episode]) -> None:
    drive = drive_maker(1, frames=65)
    other = mirrored(drive)
    # the sim's ranges turn with the robot: what was at +15 degrees is at -15 in the mirror
    np.testing.assert_array_equal(other.clearance_TK[:, 1], drive.clearance_TK[:, 23])
    np.testing.assert_array_equal(other.frames_THWC[:, :, 0], drive.frames_THWC[:, :, 95])
    assert other.intrinsics_4[2] == 95 - drive.intrinsics_4[2]
    # a point straight ahead and to the left of the camera lies as far to the right of the mirrored one
    point = np.array([-0.5, 0.2, 2.0, 1.0])
    seen = camera_poses(drive.poses_T3[20:21], drive.T_base_camera_44)[0] @ point
    across = camera_poses(other.poses_T3[20:21], other.T_base_camera_44)[0] @ (point * [-1, 1, 1, 1])
    np.testing.assert_allclose(across, seen * [1, -1, 1, 1], atol=1e-5)
    again = mirrored(other)
    for name in ("frames_THWC", "poses_T3", "commands_T3", "clearance_TK", "T_base_camera_44"):
        np.testing.assert_allclose(getattr(again, name), getattr(drive, name), atol=1e-6)


def test_a_quarter_but_at_least_eight_seconds_is_held_out(drive_maker: Callable[..., Episode]) -> None:
    assert training_frames(drive_maker(0, frames=401), 4) == 297  # 400 - 100.25, down to 4 k + 1
    assert training_frames(drive_maker(0, frames=161), 4) == 97  # 160 - 64
    assert len(beginning(drive_maker(0, frames=161), 97)) == 97


def test_a_drive_that_does_not_come_back_from_disk_ends_the_training(
    recording: Recording, tmp_path: Path
) -> None:
    good = to_episode(recording)
    bad = replace(good, intrinsics_4=np.full(4, np.nan, np.float32))
    with pytest.raises(
        BadEpisode, match=r"drive_000[23]\.npz: intrinsics_4 holds values that are not finite"
    ):
        fine_tune(untrained("nano"), [good, bad], tmp_path, FineTuning(minutes=0.01))
