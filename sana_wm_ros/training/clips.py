"""Clips for the world model: what was seen with true poses, then the commands' own way with what came of it.

Dimension letters: B clips, F latent frames, C latent channels, K sectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.geometry.se2 import integrate
from sana_wm_ros.training.latents import STILL_EVERY, LatentDrive

FloatArray = NDArray[np.float64]
LATENT_PERIOD_S = 0.5
STUCK_FRAMES = 6
"""How long contact is taught after the end of a drive that ended in it."""


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """B clips of F latent frames; the first ``context_B`` frames of a clip were seen.

    poses_BF44: camera-to-world, measured for seen frames, asked for by the commands after that (float64).
    contact_BF: 0 or 1. clearance_BFK: metres, NaN where unknown. true_poses_BF3: where the base was.
    open_loop_B: 1 where the driver never reacted. intrinsics_B4: in image pixels. valid_BF: 0 after the end
    of the drive, where only contact (if known_contact_BF) means anything: a recording that ends in contact
    goes on in contact. anchor_B44: the pose that the model's poses are relative to, camera-to-world.
    """

    latents_BFCHW: Tensor
    poses_BF44: Tensor
    context_B: Tensor
    contact_BF: Tensor
    clearance_BFK: Tensor
    true_poses_BF3: Tensor
    open_loop_B: Tensor
    intrinsics_B4: Tensor
    valid_BF: Tensor
    known_contact_BF: Tensor
    anchor_B44: Tensor

    def select(self, rows: Tensor) -> ClipBatch:
        """Some of the clips, in the order given."""
        return ClipBatch(**{name: value[rows] for name, value in vars(self).items()})

    def to(self, device: torch.device) -> ClipBatch:
        """The clips on a device; poses stay in float64, which every kind but MPS has."""
        return ClipBatch(**{name: value.to(device) for name, value in vars(self).items()})

    @property
    def future_BF(self) -> Tensor:
        """1 for the frames after the context."""
        frames = torch.arange(self.latents_BFCHW.shape[1], device=self.context_B.device)
        return (frames[None] >= self.context_B[:, None]).float()


def conditioned_poses(
    drive: LatentDrive, start: int, length: int, context: int, *, per_latent: int
) -> FloatArray:
    """Base poses (length, 3): true for the first ``context`` frames, then where the commands lead from there.

    After the end of the drive its last command is held.
    """
    ends = (start + np.arange(length)) * per_latent
    recorded = len(drive.poses_T3) - 1
    poses = drive.poses_T3[np.minimum(ends, recorded)].astype(np.float64)
    steps = np.minimum(np.arange(ends[context - 1], ends[-1]), max(0, recorded - 1))
    commands = drive.commands_T3[steps].astype(np.float64)
    asked = integrate(poses[context - 1], commands, LATENT_PERIOD_S / per_latent)
    poses[context:] = asked[per_latent - 1 :: per_latent]
    return poses


class ClipSampler:
    """Draws clips; every batch follows from the seed and its number alone.

    Drives where something is to be learnt (contact without reaction; looking away and coming back) are
    drawn more often: their weight is multiplied by ``contact_factor`` and ``return_factor``.
    anchor_m: half of the clips have their anchor up to so many metres from their first frame.
    """

    def __init__(
        self,
        drives: list[LatentDrive],
        *,
        per_latent: int,
        seed: int,
        contact_factor: float = 2.0,
        return_factor: float = 2.0,
        anchor_m: float = 0.0,
    ) -> None:
        drives = [drive for drive in drives if len(drive) >= 2 * STILL_EVERY]
        if not drives:
            raise ValueError(
                f"no drive of at least {2 * STILL_EVERY} latent frames to draw clips from; record some"
            )
        self.drives = drives
        self._longest = max(map(len, drives))
        self.per_latent = per_latent
        self.seed, self.anchor_m = seed, anchor_m
        weights = np.ones(len(drives))
        for index, drive in enumerate(drives):
            if drive.open_loop and drive.contact_F.any():
                weights[index] *= contact_factor
            if any(word in drive.driver for word in ("look", "return", "revisit", "loop_back")):
                weights[index] *= return_factor
        self.weights = weights / weights.sum()

    def batch(self, step: int, size: int, length: int) -> ClipBatch:
        """The clips of a step; all have seen as much when their future begins, 1 to 0.6 ``length`` frames."""
        random = np.random.default_rng((self.seed, 2, step))
        context = int(random.integers(1, max(2, int(0.6 * length))))
        long_enough = np.array([len(drive) >= min(context + 4, self._longest) for drive in self.drives])
        weights = self.weights * long_enough
        clips = []
        for index in random.choice(len(self.drives), size=size, p=weights / weights.sum()):
            drive = self.drives[index]
            room = len(drive) - length
            if drive.contact_F[
                -1
            ]:  # the clip may reach over the end, so that contact is not always its last frame
                room = max(room, len(drive) - context - 4)
            start = STILL_EVERY * int(random.integers(max(0, room) // STILL_EVERY + 1))
            seen = min(context, len(drive) - start - 1)
            clips.append(make_clip(drive, start, length, seen, per_latent=self.per_latent))
        batch = stack_clips(clips)
        return replace(batch, anchor_B44=self._anchors(batch.anchor_B44, random))

    def _anchors(self, first_B44: Tensor, random: np.random.Generator) -> Tensor:
        """The first poses; half of them moved within ``anchor_m``, as when a robot has left its anchor behind."""
        count = len(first_B44)
        way, far = 2 * np.pi * random.random(count), np.sqrt(random.random(count))
        far = self.anchor_m * far * (random.random(count) < 0.5)
        anchors = first_B44.clone()
        anchors[:, :2, 3] += torch.from_numpy(np.stack([far * np.cos(way), far * np.sin(way)], 1))
        return anchors


def make_clip(drive: LatentDrive, start: int, length: int, context: int, *, per_latent: int) -> ClipBatch:
    """One clip as a batch of one; it begins with the still of its first frame, as a stream would.

    A clip may reach over the end of its drive: the last frame is repeated and marked as not valid.
    """
    count = len(drive)
    if start % STILL_EVERY or not 0 <= start < count or not 1 <= context <= min(length, count - start):
        raise ValueError(f"no clip of {length} frames at {start} with {context} seen in a drive of {count}")
    beyond = start + np.arange(length) - (count - 1)
    rows = start + np.arange(length) - np.maximum(beyond, 0)
    latents = drive.latents_FCHW[rows].astype(np.float32)
    latents[0] = drive.stills_GCHW[start // STILL_EVERY]
    base = conditioned_poses(drive, start, length, context, per_latent=per_latent)
    poses = torch.from_numpy(camera_poses(base, drive.T_base_camera_44))[None]
    valid = beyond <= 0
    known = valid | (drive.contact_F[-1] & drive.open_loop & (beyond <= STUCK_FRAMES))
    return ClipBatch(
        latents_BFCHW=torch.from_numpy(latents)[None],
        poses_BF44=poses,
        anchor_B44=poses[:, 0],
        context_B=torch.tensor([context]),
        contact_BF=torch.from_numpy(drive.contact_F[rows].astype(np.float32))[None],
        clearance_BFK=torch.from_numpy(drive.clearance_FK[rows].astype(np.float32))[None],
        true_poses_BF3=torch.from_numpy(drive.poses_T3[rows * per_latent].astype(np.float32))[None],
        open_loop_B=torch.tensor([float(drive.open_loop)]),
        intrinsics_B4=torch.from_numpy(drive.intrinsics_4.astype(np.float32))[None],
        valid_BF=torch.from_numpy(valid.astype(np.float32))[None],
        known_contact_BF=torch.from_numpy(known.astype(np.float32))[None],
    )


def stack_clips(clips: list[ClipBatch]) -> ClipBatch:
    """Clips of one length to one batch."""
    return ClipBatch(**{name: torch.cat([getattr(clip, name) for clip in clips]) for name in vars(clips[0])})
