"""Record a drive as a training episode."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np

from sana_wm_ros.simulation.drive import DriveConfig, draw_scene, drive, open_simulator
from sana_wm_ros.training.episodes import FRAME_RATE_HZ, Episode

SIMULATOR_VERSION = 3
"""Raised whenever the same seed would give another drive."""
FRAMES_PER_LATENT = 4
AFTER_CONTACT_S = 2.0
"""An open-loop drive ends this long after it first hit something: pushing a wall teaches little more."""


def record_episode(seed: int, config: DriveConfig) -> Episode:
    """Drive the seed's scene and keep every frame, 4 k + 1 of them.

    The same seed and config give the same episode, bit by bit.
    """
    scene = draw_scene(seed, replace(config, lens=False))
    ticks, frames, clearance = [], [], []
    last = _whole(1 + int(config.seconds * FRAME_RATE_HZ))
    hit = False
    with open_simulator(scene, config) as simulator:
        for tick in islice(drive(scene, simulator, period_s=1.0 / FRAME_RATE_HZ), last):
            frames.append(simulator.look())
            clearance.append(simulator.clearance_K())
            ticks.append(tick)
            if tick.touched and scene.open_loop and not hit:
                hit = True
                last = min(last, _whole(len(ticks) + round(AFTER_CONTACT_S * FRAME_RATE_HZ)))
            if len(ticks) == last:
                break
    return Episode(
        frames_THWC=np.stack(frames),
        poses_T3=np.array([tick.pose_3 for tick in ticks], np.float32),
        odom_T3=np.array([tick.odom_3 for tick in ticks], np.float32),
        commands_T3=np.array([(tick.command[0], 0.0, tick.command[1]) for tick in ticks], np.float32),
        contact_T=np.array([tick.touched for tick in ticks], np.bool_),
        clearance_TK=np.stack(clearance),
        intrinsics_4=scene.camera.intrinsics_4,
        T_base_camera_44=scene.camera.T_base_camera_44.astype(np.float32),
        seed=seed,
        family=config.family,
        driver=scene.driver,
        open_loop=scene.open_loop,
        simulator=SIMULATOR_VERSION,
    )


def _whole(frames: int) -> int:
    """The nearest 4 k + 1 not above a number of frames."""
    return 1 + FRAMES_PER_LATENT * ((frames - 1) // FRAMES_PER_LATENT)
