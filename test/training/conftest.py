"""Small drives in a striped world, enough to train on for a few steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sana_wm_ros.training.episodes import FRAME_RATE_HZ, Episode, write_episode

T_BASE_CAMERA = np.array([[0, 0, 1, 0.1], [-1, 0, 0, 0], [0, -1, 0, 0.3], [0, 0, 0, 1]], dtype=np.float32)


def make_drive(seed: int, frames: int = 129, *, open_loop: bool = True) -> Episode:
    """A robot that turns inside a painted cylinder: what it sees follows from its yaw."""
    random = np.random.default_rng(seed)
    commands = np.zeros((frames, 3), dtype=np.float32)
    commands[:, 2] = np.repeat(random.uniform(-1, 1, frames // 16 + 1), 16)[:frames]
    yaw = np.concatenate([[0.0], np.cumsum(commands[:-1, 2]) / FRAME_RATE_HZ])
    poses = np.stack([np.zeros(frames), np.zeros(frames), yaw], axis=1).astype(np.float32)
    bearings = yaw[:, None] + np.linspace(np.pi / 4, -np.pi / 4, 96)[None]
    phase, paint = random.uniform(0, 6, 3), random.uniform(40, 110, 3)
    colours = 128 + paint * np.sin(bearings[..., None] * np.array([1, 2, 3]) + phase)
    rows = np.linspace(1.0, 0.6, 64)
    pictures = (colours[:, None] * rows[None, :, None, None]).astype(np.uint8)
    contact = np.zeros(frames, dtype=bool)
    contact[frames // 2 : frames // 2 + 8] = seed % 2 == 0
    return Episode(
        frames_THWC=pictures,
        poses_T3=poses,
        odom_T3=poses.copy(),
        commands_T3=commands,
        contact_T=contact,
        clearance_TK=(2 + np.sin(yaw[:, None] + np.arange(24) * np.pi / 12)).astype(np.float32),
        intrinsics_4=np.array([48, 48, 47.5, 31.5], dtype=np.float32),
        T_base_camera_44=T_BASE_CAMERA,
        seed=seed,
        family="cylinder",
        driver="turner",
        open_loop=open_loop,
    )


@pytest.fixture(scope="session")
def drives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with six short drives."""
    folder = tmp_path_factory.mktemp("drives")
    for seed in range(6):
        write_episode(folder / f"{seed:04d}.npz", make_drive(seed))
    return folder


@pytest.fixture(scope="session")
def drive_maker() -> Callable[..., Episode]:
    """``make_drive``."""
    return make_drive
