"""The camera as the published weights were trained with it: ``camera_conditions`` and ``chunk_plucker``.

Unlike the navigation presets, which interpolate, these hold the rays of every raw frame.
Dimension letters: B batch, T raw frames, F latent frames, R raw frames per latent frame, H and W latent rows and
columns, P = 6 R ray channels. Poses are camera-to-world, axes x right, y down, z forward, in metres.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import (
    CameraTables,
    cross,
    pixel_rays,
    ray_frames,
    relative_to,
    rigid_inverse,
)
from sana_wm_ros.world_model.config import TransformerConfig


@dataclass(frozen=True, kw_only=True)
class CameraConditions:
    """Inputs of the published transformer for a clip or a part of one; a ``camera.Camera``.

    conditions_BF20: c2w (16, row by row, relative to the clip's first frame), then fx, fy, cx, cy in latent pixels.
    plucker_BPFHW: direction and moment (centre x direction) of every raw frame's rays, six channels a frame.
    """

    conditions_BF20: Tensor
    plucker_BPFHW: Tensor

    def __post_init__(self) -> None:
        (B, F, channels), plucker = self.conditions_BF20.shape, self.plucker_BPFHW.shape
        if channels != 20 or plucker[0] != B or plucker[2] != F or plucker[1] % 6:
            raise ValueError(
                f"conditions of shape {(B, F, channels)} and rays of shape {tuple(plucker)}; "
                "expected (B, F, 20) and (B, 6 R, F, rows, columns)"
            )

    @property
    def frames(self) -> int:
        """Latent frames."""
        return self.conditions_BF20.shape[1]

    def slice(self, start: int, stop: int) -> CameraConditions:
        """Frames ``start`` to ``stop``."""
        return replace(
            self,
            conditions_BF20=self.conditions_BF20[:, start:stop],
            plucker_BPFHW=self.plucker_BPFHW[:, :, start:stop],
        )

    def tables(self, config: TransformerConfig) -> CameraTables:
        """Per-token inputs of the blocks, in float32 (published pipelines make P in bfloat16)."""
        B, P, F, H, W = self.plucker_BPFHW.shape
        wanted = (6 * config.raw_per_latent, config.latent_height, config.latent_width)
        if wanted != (P, H, W):
            raise ValueError(f"rays have {(P, H, W)} channels, rows, columns; the preset expects {wanted}")
        if config.translation != "homogeneous":
            raise ValueError(
                f"published camera inputs have homogeneous translation, not {config.translation}"
            )
        poses_BF44 = self.conditions_BF20[..., :16].float().unflatten(-1, (4, 4))
        intrinsics_BF4 = self.conditions_BF20[..., 16:].float()
        rays = pixel_rays(intrinsics_BF4.flatten(0, 1), H, W)
        to_ray = torch.zeros(*rays.shape[:2], 4, 4, device=rays.device)
        to_ray[..., :3, :3] = ray_frames(rays)
        to_ray[..., 3, 3] = 1.0
        to_ray_FBS44 = to_ray.unflatten(0, (B, F)).transpose(0, 1)
        poses_FB144 = poses_BF44.transpose(0, 1)[:, :, None].clone()
        poses_FB144[..., :3, 3] *= config.position_scale
        return CameraTables(
            ray_FBS44=to_ray_FBS44 @ rigid_inverse(poses_FB144),
            ray_inverse_FBS44=poses_FB144 @ to_ray_FBS44.transpose(-1, -2),
            plucker_FBSP=self.plucker_BPFHW.float().flatten(3).permute(2, 0, 3, 1),
        )


def as_intrinsics(intrinsics: Tensor, frames: int) -> Tensor:
    """Pinhole intrinsics given as (4,), (T, 4), (3, 3) or (T, 3, 3), to (T, 4): fx, fy, cx, cy."""
    k = intrinsics.double()
    if k.shape[-2:] == (3, 3):
        k = torch.stack([k[..., 0, 0], k[..., 1, 1], k[..., 0, 2], k[..., 1, 2]], -1)
    k = k.expand(frames, 4) if k.shape == (4,) else k
    if k.shape != (frames, 4):
        raise ValueError(
            f"intrinsics have shape {tuple(intrinsics.shape)}; "
            f"expected (4,), ({frames}, 4), (3, 3) or ({frames}, 3, 3)"
        )
    if not k.isfinite().all() or not (k[:, :2] > 0).all():
        raise ValueError("intrinsics must be finite, with focal lengths above 0")
    return k


def camera_conditions(
    poses_T44: Tensor,
    intrinsics: Tensor,
    *,
    image: tuple[int, int],
    latent: tuple[int, int],
    raw_per_latent: int = 8,
) -> CameraConditions:
    """A camera path at the raw frame rate to the transformer's inputs, one row.

    poses_T44: T = 1 + k R of them. intrinsics: as ``as_intrinsics`` takes them, in pixels of the image that the
    video autoencoder sees; ``image`` and ``latent`` are (height, width). Latent frame i has the rays of raw frames
    R i - R + 1 to R i; frame 0 those of the first R (the last one repeated where there are fewer).
    """
    count, R = len(poses_T44), raw_per_latent
    if poses_T44.shape != (count, 4, 4) or count % R != 1 % R:
        raise ValueError(f"poses have shape {tuple(poses_T44.shape)}; expected (1 + k * {R}, 4, 4)")
    if not poses_T44.isfinite().all():
        raise ValueError("poses must be finite")
    poses = relative_to(poses_T44[0], poses_T44)
    scale = torch.tensor([latent[1] / image[1], latent[0] / image[0]], dtype=torch.float64).repeat(2)
    pixels_T4 = (as_intrinsics(intrinsics, count) * scale.to(intrinsics.device)).float()
    return packed(poses[None], pixels_T4[None], latent, first=True, raw_per_latent=R)


def packed(
    poses_BT44: Tensor, intrinsics_BT4: Tensor, latent: tuple[int, int], *, first: bool, raw_per_latent: int
) -> CameraConditions:
    """Raw frames of a stretch to the transformer's inputs.

    Poses are relative to the clip's first frame, intrinsics in latent pixels. With ``first`` the stretch begins
    with the clip's first frame alone (T = 1 + k R); without it holds whole groups (T = k R).
    """
    (B, T), R = poses_BT44.shape[:2], raw_per_latent
    ends = torch.arange(0 if first else R - 1, T, R, device=poses_BT44.device)
    conditions = torch.cat([poses_BT44[:, ends].flatten(2), intrinsics_BT4[:, ends]], -1)
    rows = (ends - (R - 1)).clamp(min=0)[:, None] + torch.arange(R, device=poses_BT44.device)
    rays = _rays(poses_BT44.flatten(0, 1), intrinsics_BT4.flatten(0, 1), latent).unflatten(0, (B, T))
    return CameraConditions(
        conditions_BF20=conditions,
        plucker_BPFHW=rays[:, rows.clamp(max=T - 1)].flatten(2, 3).transpose(1, 2),
    )


def _rays(poses_N44: Tensor, intrinsics_N4: Tensor, latent: tuple[int, int]) -> Tensor:
    """Plücker rays (N, 6, H, W) of the latent pixels."""
    directions = torch.einsum("nij,nsj->nsi", poses_N44[:, :3, :3], pixel_rays(intrinsics_N4, *latent))
    centres = poses_N44[:, None, :3, 3].expand_as(directions)
    return torch.cat([directions, cross(centres, directions)], -1).transpose(1, 2).unflatten(-1, latent)
