"""Clips for the world model: what was seen with true poses, then the commands' own way with what came of it.

Dimension letters: B clips, F latent frames, C latent channels, K sectors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sana_wm_ros.training.latents import STILL_EVERY, LatentDrive

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """B clips of F latent frames; the first ``context_B`` frames of a clip were seen.

    poses_BF44: camera-to-world, measured for seen frames, asked for by the commands after that (float64).
    contact_BF: 0 or 1. clearance_BFK: metres. true_poses_BF3: where the base was. open_loop_B: 1 where the
    driver never reacted. intrinsics_B4: in image pixels.
    """

    latents_BFCHW: Tensor
    poses_BF44: Tensor
    context_B: Tensor
    contact_BF: Tensor
    clearance_BFK: Tensor
    true_poses_BF3: Tensor
    open_loop_B: Tensor
    intrinsics_B4: Tensor


def integrate_commands(start_3: FloatArray, commands_T3: FloatArray, period_s: float) -> FloatArray:
    """Poses that body twists (vx, vy, yaw rate) lead to, each held for ``period_s`` and integrated exactly.

    Returns (T + 1, 3) with the start first. A constant twist moves along a circle: with s = sin(a)/a and
    c = (1 - cos(a))/a for the turn a = wz dt, the step in the body frame is dt (s vx - c vy, c vx + s vy).
    """
    poses = np.empty((len(commands_T3) + 1, 3))
    poses[0] = start_3
    turns = commands_T3[:, 2] * period_s
    poses[1:, 2] = start_3[2] + np.cumsum(turns)
    small = np.abs(turns) < 1e-6
    safe = np.where(small, 1.0, turns)
    s = np.where(small, 1.0, np.sin(safe) / safe)
    c = np.where(small, turns / 2, (1 - np.cos(safe)) / safe)
    ahead = period_s * (s * commands_T3[:, 0] - c * commands_T3[:, 1])
    left = period_s * (c * commands_T3[:, 0] + s * commands_T3[:, 1])
    yaw = poses[:-1, 2]
    poses[1:, 0] = start_3[0] + np.cumsum(np.cos(yaw) * ahead - np.sin(yaw) * left)
    poses[1:, 1] = start_3[1] + np.cumsum(np.sin(yaw) * ahead + np.cos(yaw) * left)
    return poses


def camera_poses(base_F3: FloatArray, T_base_camera_44: NDArray[np.float32]) -> FloatArray:
    """Base poses (x, y, yaw) to camera-to-world matrices (F, 4, 4)."""
    base = np.zeros((len(base_F3), 4, 4))
    cos, sin = np.cos(base_F3[:, 2]), np.sin(base_F3[:, 2])
    base[:, 0, 0], base[:, 0, 1], base[:, 1, 0], base[:, 1, 1] = cos, -sin, sin, cos
    base[:, 2, 2] = base[:, 3, 3] = 1.0
    base[:, :2, 3] = base_F3[:, :2]
    return base @ T_base_camera_44.astype(np.float64)


def conditioned_poses(drive: LatentDrive, start: int, length: int, context: int, *, per_latent: int) -> FloatArray:
    """Base poses (length, 3) of a clip: true for the first ``context`` frames, then where the commands lead from there."""
    ends = (start + np.arange(length)) * per_latent
    poses = drive.poses_T3[ends].astype(np.float64)
    now, last = ends[context - 1], ends[-1]
    asked = integrate_commands(poses[context - 1], drive.commands_T3[now:last].astype(np.float64), 0.5 / per_latent)
    poses[context:] = asked[per_latent::per_latent]
    return poses


class ClipSampler:
    """Draws clips; every batch follows from the seed and its number alone.

    Drives where something is to be learnt (contact without reaction; looking away and coming back) are drawn more
    often: their weight is multiplied by ``contact_factor`` and ``return_factor``.
    """

    def __init__(
        self,
        drives: list[LatentDrive],
        *,
        per_latent: int,
        seed: int,
        contact_factor: float = 2.0,
        return_factor: float = 2.0,
    ) -> None:
        if not drives:
            raise ValueError("no drives to draw clips from; record some first")
        self.drives = drives
        self.per_latent = per_latent
        self.seed = seed
        weights = np.ones(len(drives))
        for index, drive in enumerate(drives):
            if drive.open_loop and drive.contact_F.any():
                weights[index] *= contact_factor
            if any(word in drive.driver for word in ("look", "return", "revisit", "loop_back")):
                weights[index] *= return_factor
        self.weights = weights / weights.sum()

    def contact_rate(self) -> float:
        """The weighted share of latent frames in contact among open-loop drives (for balancing the loss)."""
        rates = np.array([drive.contact_F.mean() if drive.open_loop else np.nan for drive in self.drives])
        known = ~np.isnan(rates)
        return float(np.average(rates[known], weights=self.weights[known])) if known.any() else 0.0

    def batch(self, step: int, size: int, length: int) -> ClipBatch:
        """The clips of a step; drives shorter than ``length`` are not drawn."""
        random = np.random.default_rng((self.seed, 2, step))
        fits = np.array([len(drive) >= length for drive in self.drives])
        if not fits.any():
            longest = max(map(len, self.drives))
            raise ValueError(f"no drive has {length} latent frames; the longest has {longest}")
        weights = self.weights * fits
        chosen = random.choice(len(self.drives), size=size, p=weights / weights.sum())
        clips = []
        for index in chosen:
            drive = self.drives[index]
            start = STILL_EVERY * int(random.integers((len(drive) - length) // STILL_EVERY + 1))
            context = int(random.integers(1, max(2, int(0.6 * length))))
            clips.append(make_clip(drive, start, length, context, per_latent=self.per_latent))
        return stack_clips(clips)


def make_clip(drive: LatentDrive, start: int, length: int, context: int, *, per_latent: int) -> ClipBatch:
    """One clip as a batch of one; it begins with the still of its first frame, as a stream would."""
    if start % STILL_EVERY or start + length > len(drive) or not 1 <= context <= length:
        raise ValueError(f"no clip of {length} frames at {start} with {context} seen in a drive of {len(drive)}")
    latents = drive.latents_FCHW[start : start + length].astype(np.float32)
    latents[0] = drive.stills_GCHW[start // STILL_EVERY]
    base = conditioned_poses(drive, start, length, context, per_latent=per_latent)
    ends = (start + np.arange(length)) * per_latent
    return ClipBatch(
        latents_BFCHW=torch.from_numpy(latents)[None],
        poses_BF44=torch.from_numpy(camera_poses(base, drive.T_base_camera_44))[None],
        context_B=torch.tensor([context]),
        contact_BF=torch.from_numpy(drive.contact_F[start : start + length].astype(np.float32))[None],
        clearance_BFK=torch.from_numpy(drive.clearance_FK[start : start + length].astype(np.float32))[None],
        true_poses_BF3=torch.from_numpy(drive.poses_T3[ends].astype(np.float32))[None],
        open_loop_B=torch.tensor([float(drive.open_loop)]),
        intrinsics_B4=torch.from_numpy(drive.intrinsics_4.astype(np.float32))[None],
    )


def stack_clips(clips: list[ClipBatch]) -> ClipBatch:
    """Clips of one length to one batch."""
    return ClipBatch(**{name: torch.cat([getattr(clip, name) for clip in clips]) for name in vars(clips[0])})
