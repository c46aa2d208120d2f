"""Camera poses as the transformer sees them: rays, ray frames and the path inside each latent frame.

Only latent-rate poses are used, for past and imagined frames alike: the raw-rate path inside a latent
frame is interpolated from its two ends, so that training, observing and imagining share one code path.
Dimension letters: B batch, F latent frames, S tokens (row-major), R raw frames per latent frame.
Poses are camera-to-world, optical axes, already relative to the anchor and in model units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from sana_wm_ros.world_model.config import TransformerConfig


class Camera(Protocol):
    """What tells the transformer where the camera is in each latent frame of a segment."""

    @property
    def frames(self) -> int:
        """Latent frames."""
        ...

    def slice(self, start: int, stop: int) -> Camera:
        """Frames ``start`` to ``stop``."""
        ...

    def tables(self, config: TransformerConfig) -> CameraTables:
        """Per-token inputs of the blocks."""
        ...


@dataclass(frozen=True, kw_only=True)
class CameraTrack:
    """A camera's way through a segment, on the latent clock.

    poses_BF44: relative to the anchor, in metres. before_B44: the pose one latent frame before the
    first (the first itself where there is none). intrinsics_B4: fx, fy, cx, cy in latent pixels.
    """

    poses_BF44: Tensor
    before_B44: Tensor
    intrinsics_B4: Tensor

    @property
    def frames(self) -> int:
        """Latent frames."""
        return self.poses_BF44.shape[1]

    def tables(self, config: TransformerConfig) -> CameraTables:
        """Per-token inputs of the blocks."""
        return camera_tables(self, config)

    def slice(self, start: int, stop: int) -> CameraTrack:
        """Frames ``start`` to ``stop`` of the track."""
        before = self.before_B44 if start == 0 else self.poses_BF44[:, start - 1]
        return CameraTrack(
            poses_BF44=self.poses_BF44[:, start:stop], before_B44=before, intrinsics_B4=self.intrinsics_B4
        )


@dataclass(frozen=True, kw_only=True)
class CameraTables:
    """Per-token inputs made once per segment for all blocks, time first.

    ray_FBS44: P, world to ray frame. ray_inverse_FBS44: its inverse. plucker_FBSP: rays, P = 6 R.
    place_FB3: where the camera is, in metres, with rotary translation; else P says it.
    """

    ray_FBS44: Tensor
    ray_inverse_FBS44: Tensor
    plucker_FBSP: Tensor
    place_FB3: Tensor | None = None


def latent_intrinsics(
    fx: float, fy: float, cx: float, cy: float, *, image: tuple[int, int], latent: tuple[int, int]
) -> Tensor:
    """Intrinsics in image pixels to latent pixels (shape 4); sizes are (height, width)."""
    across, down = latent[1] / image[1], latent[0] / image[0]
    return torch.tensor([fx * across, fy * down, cx * across, cy * down], dtype=torch.float32)


def rigid_inverse(pose_44: Tensor) -> Tensor:
    """Inverse of rigid transforms (..., 4, 4)."""
    turned = pose_44[..., :3, :3].transpose(-1, -2)
    moved = -(turned @ pose_44[..., :3, 3:])
    bottom = pose_44[..., 3:, :]
    return torch.cat([torch.cat([turned, moved], -1), bottom], -2)


def relative_to(anchor_44: Tensor, pose_44: Tensor) -> Tensor:
    """Poses in the anchor's frame, computed in float64 because ``odom`` may be far from its origin."""
    return (rigid_inverse(anchor_44.double()) @ pose_44.double()).float()


def interpolate(start_44: Tensor, end_44: Tensor, count: int) -> Tensor:
    """The poses at fractions 1/count ... 1 on the way between poses: (..., count, 4, 4).

    Straight line for the position, constant turn about one axis for the rotation; the last is the end.
    """
    turn = start_44[..., :3, :3].transpose(-1, -2) @ end_44[..., :3, :3]
    sine_axis = 0.5 * torch.stack(
        [
            turn[..., 2, 1] - turn[..., 1, 2],
            turn[..., 0, 2] - turn[..., 2, 0],
            turn[..., 1, 0] - turn[..., 0, 1],
        ],
        -1,
    )
    sine = sine_axis.norm(dim=-1, keepdim=True)
    cosine = 0.5 * (turn.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True) - 1.0)
    x, y, z = (sine_axis / sine.clamp(min=1e-9)).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3)).unsqueeze(-3)
    fractions = torch.arange(1, count + 1, device=start_44.device, dtype=start_44.dtype) / count
    angle = (torch.atan2(sine, cosine) * fractions)[..., None, None]
    identity = torch.eye(3, device=start_44.device, dtype=start_44.dtype)
    step = identity + angle.sin() * cross + (1.0 - angle.cos()) * (cross @ cross)
    rotation = start_44[..., None, :3, :3] @ step
    first, last = start_44[..., None, :3, 3], end_44[..., None, :3, 3]
    position = first + (last - first) * fractions[:, None]
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], device=rotation.device, dtype=rotation.dtype)
    bottom = bottom.expand(*rotation.shape[:-2], 1, 4)
    way = torch.cat([torch.cat([rotation, position[..., None]], -1), bottom], -2)
    return torch.cat([way[..., :-1, :, :], end_44.unsqueeze(-3)], -3)


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross product over the last axis, broadcasting (``torch.linalg.cross`` is slower on CPUs)."""
    ax, ay, az = a.unbind(-1)
    bx, by, bz = b.unbind(-1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], -1)


def pixel_rays(intrinsics_B4: Tensor, height: int, width: int) -> Tensor:
    """Unit directions of the latent pixels in the camera frame, (B, S, 3); integer pixel centres."""
    rows = torch.arange(height, device=intrinsics_B4.device, dtype=intrinsics_B4.dtype)
    columns = torch.arange(width, device=intrinsics_B4.device, dtype=intrinsics_B4.dtype)
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    fx, fy, cx, cy = intrinsics_B4[:, :, None].unbind(1)
    x, y = (u.flatten() - cx) / fx, (v.flatten() - cy) / fy
    return torch.nn.functional.normalize(torch.stack([x, y, torch.ones_like(x)], -1), dim=-1)


def ray_frames(rays_BS3: Tensor) -> Tensor:
    """Rotations camera -> ray frame (B, S, 3, 3): z along the ray, x level with the camera's x."""
    z = rays_BS3
    down = torch.zeros_like(z)
    down[..., 1] = 1.0
    x = torch.nn.functional.normalize(cross(down, z), dim=-1)
    y = torch.nn.functional.normalize(cross(z, x), dim=-1)
    return torch.stack([x, y, z], -2)


def camera_tables(track: CameraTrack, config: TransformerConfig) -> CameraTables:
    """Everything the blocks need to know of the camera, from a track of F frames.

    P of a token is the product of a constant of its pixel (camera -> ray) and of its frame (world ->
    camera), which is what UCPE's construction comes to for a pinhole camera. With rotary translation the
    matrices only turn, and rays start where their latent frame began: nothing here knows the anchor's place.
    """
    rotary = config.translation == "rotary"
    scaled = track.poses_BF44.float().clone()
    scaled[..., :3, 3] *= config.position_scale
    before = track.before_B44.float().clone()
    before[..., :3, 3] *= config.position_scale

    rays_BS3 = pixel_rays(track.intrinsics_B4.float(), config.latent_height, config.latent_width)
    turn_BS33 = ray_frames(rays_BS3)
    to_ray_BS44 = torch.zeros(*turn_BS33.shape[:2], 4, 4, device=scaled.device)
    to_ray_BS44[..., :3, :3] = turn_BS33
    to_ray_BS44[..., 3, 3] = 1.0
    poses_FB44 = scaled.transpose(0, 1)
    if rotary:
        poses_FB44 = poses_FB44.clone()
        poses_FB44[..., :3, 3] = 0.0
    ray = to_ray_BS44 @ rigid_inverse(poses_FB44)[:, :, None]
    inverse = poses_FB44[:, :, None] @ to_ray_BS44.transpose(-1, -2)

    starts = torch.cat([before[:, None], scaled[:, :-1]], 1)
    if rotary:
        scaled = scaled.clone()
        scaled[..., :3, 3] -= starts[..., :3, 3]
        starts[..., :3, 3] = 0.0
    way_BFR44 = interpolate(starts, scaled, config.raw_per_latent)
    direction = torch.einsum("bfrij,bsj->fbsri", way_BFR44[..., :3, :3], rays_BS3)
    centre = way_BFR44[..., :3, 3].transpose(0, 1)[:, :, None].expand_as(direction)
    plucker = torch.cat([direction, cross(centre, direction)], -1).flatten(-2)
    place = track.poses_BF44[..., :3, 3].transpose(0, 1) if rotary else None
    return CameraTables(ray_FBS44=ray, ray_inverse_FBS44=inverse, plucker_FBSP=plucker, place_FB3=place)
