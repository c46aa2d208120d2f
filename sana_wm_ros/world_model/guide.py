"""What an imagined frame may look like: the keyframes that show most of it, moved to the frame's own rays.

A seen view that is looked up by pose beats a young memory at a revisit, so the transformer gets it as an input and
learns what to change. Depth is unknown: each keyframe's latents are moved as if all lay at a few depths.
Dimension letters: B batch, F latent frames, K keyframes, R looked up per frame, D depths, S tokens, C channels,
H and W latent rows and columns, X inputs per token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sana_wm_ros.world_model.config import TransformerConfig

READS, DEPTHS_M = 2, (1.5, 4.0)
# Shares of the picture's size over which what lies outside of it fades.
FADE = 0.25
# Less depth (m) before a keyframe's camera than this is behind it.
NEAREST_M = 0.05


def guide_width(config: TransformerConfig) -> int:
    """Inputs per token: every keyframe at every depth, its latents and how well it shows the place."""
    return READS * len(DEPTHS_M) * (config.latent_channels + 1)


def moved(
    config: TransformerConfig,
    views_BF44: Tensor,
    keyframes_BFR44: Tensor,
    latents_BFRSC: Tensor,
    valid_BFR: Tensor,
    intrinsics_B4: Tensor,
) -> Tensor:
    """Latents of keyframes as the frames would see them, (F, B, S, X); zeros where none shows a place.

    Poses are camera-to-world in metres, intrinsics in latent pixels.
    """
    H, W = config.latent_height, config.latent_width
    B, F, R = valid_BFR.shape
    points_BDS3 = _points(intrinsics_B4.float(), H, W)
    # Sums of products, not matrix products: those round differently for different numbers of rows.
    from_view = (views_BF44[:, :, None, None, :3, :3] * points_BDS3[:, None, :, :, None]).sum(-1)
    apart = (views_BF44[:, :, None, :3, 3] - keyframes_BFR44[..., :3, 3])[:, :, :, None, None]
    way_BFRDS3 = from_view[:, :, None] + apart
    seen = (keyframes_BFR44[:, :, :, None, None, :3, :3] * way_BFRDS3[..., None]).sum(-2)
    ahead = seen[..., 2].clamp(min=NEAREST_M)
    fx, fy, cx, cy = (value[:, None, None, None, None] for value in intrinsics_B4.float().unbind(-1))
    u, v = seen[..., 0] / ahead * fx + cx, seen[..., 1] / ahead * fy + cy

    near = points_BDS3.norm(dim=-1)[:, None, None]
    far = seen.norm(dim=-1).clamp(min=NEAREST_M)
    shown = within(u, W, FADE) * within(v, H, FADE) * torch.minimum(near, far) / torch.maximum(near, far)
    shown = shown * (seen[..., 2] > NEAREST_M) * valid_BFR[..., None, None]

    grid = torch.stack([_normal(u, W), _normal(v, H)], -1).flatten(0, 2)
    maps = latents_BFRSC.float().flatten(0, 2).transpose(1, 2).unflatten(2, (H, W))
    sampled = torch.nn.functional.grid_sample(maps, grid, padding_mode="border", align_corners=True)
    sampled = sampled.unflatten(0, (B, F, R)).permute(0, 1, 5, 2, 4, 3)  # to (B, F, S, R, D, C)
    weight = shown.permute(0, 1, 4, 2, 3)[..., None]
    return torch.cat([sampled * weight, weight], -1).flatten(3).transpose(0, 1)


def within(pixel: Tensor, size: int, fade: float) -> Tensor:
    """1 inside the picture, fading to 0 outside over a share of its size; pixel centres are whole numbers."""
    outside = (pixel - 0.5 * (size - 1)).abs() - 0.5 * size
    return (1.0 - outside / (fade * size)).clamp(0.0, 1.0)


def _points(intrinsics_B4: Tensor, height: int, width: int) -> Tensor:
    """Places on the rays of all tokens at all depths in the camera frame, (B, D, S, 3)."""
    rows = torch.arange(height, device=intrinsics_B4.device, dtype=torch.float32)
    columns = torch.arange(width, device=intrinsics_B4.device, dtype=torch.float32)
    v, u = torch.meshgrid(rows, columns, indexing="ij")
    fx, fy, cx, cy = intrinsics_B4[:, :, None].unbind(1)
    x, y = (u.flatten() - cx) / fx, (v.flatten() - cy) / fy
    depth_D11 = torch.tensor(DEPTHS_M, device=x.device)[:, None, None]
    return torch.stack([x, y, torch.ones_like(x)], -1)[:, None] * depth_D11


def _normal(pixel: Tensor, size: int) -> Tensor:
    """Pixels as ``grid_sample`` counts: -1 and 1 are the outermost pixel centres."""
    return 2.0 * pixel / max(1, size - 1) - 1.0
