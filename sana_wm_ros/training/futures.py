"""A recorded drive as a live robot would meet it: what was seen, and the poses that commands ask for next.

Dimension letters: T raw frames, F latent frames.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.geometry.se2 import integrate
from sana_wm_ros.training.episodes import FRAME_RATE_HZ, Episode
from sana_wm_ros.world_model.model import NavigationContext, NavigationModel
from sana_wm_ros.world_model.protocol import Intrinsics


def observe(
    model: NavigationModel, episode: Episode, seen: int, before: NavigationContext | None = None
) -> NavigationContext:
    """The context after ``seen`` latent frames of a drive, with true poses; goes on from ``before``."""
    per_latent = model.spec.frames_per_latent
    if before is None:
        fx, fy, cx, cy = map(float, episode.intrinsics_4)
        before = model.start(Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy))
    start = 1 + (before.latent_frames - 1) * per_latent if before.latent_frames else 0
    stop = 1 + (seen - 1) * per_latent
    poses = camera_poses(episode.poses_T3[start:stop], episode.T_base_camera_44)
    return before.extend(torch.from_numpy(episode.frames_THWC[start:stop]), torch.from_numpy(poses))


def commanded(
    episode: Episode, commands_T3: NDArray[np.floating], seen: int, frames: int, per_latent: int
) -> tuple[Tensor, NDArray[np.float64]]:
    """Camera poses (F, 4, 4) and base poses (F, 3) that commands ask for after ``seen`` latent frames.

    The last command is held when there are too few.
    """
    now = (seen - 1) * per_latent
    asked = np.asarray(commands_T3, dtype=np.float64)[: frames * per_latent]
    asked = np.concatenate([asked, np.repeat(asked[-1:], frames * per_latent - len(asked), axis=0)])
    base = integrate(episode.poses_T3[now], asked, 1 / FRAME_RATE_HZ)[per_latent - 1 :: per_latent]
    return torch.from_numpy(camera_poses(base, episode.T_base_camera_44)), base
