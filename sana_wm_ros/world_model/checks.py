"""Checks of what callers hand to the model: a bad value is refused here, by name, before it spreads."""

from __future__ import annotations

import torch
from torch import Tensor

from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec


def checked_frames(frames_THWC: Tensor, spec: ModelSpec, first: bool) -> Tensor:
    """uint8 RGB frames at the model's size, a whole number of latent frames of them."""
    size = (spec.image_height, spec.image_width, 3)
    if not isinstance(frames_THWC, Tensor) or frames_THWC.dtype != torch.uint8:
        kind = getattr(frames_THWC, "dtype", type(frames_THWC).__name__)
        raise TypeError(f"frames are {kind}; expected a torch.uint8 tensor of RGB")
    if frames_THWC.ndim != 4 or tuple(frames_THWC.shape[1:]) != size:
        raise ValueError(
            f"frames have shape {tuple(frames_THWC.shape)}; "
            f"expected (T, {size[0]}, {size[1]}, 3): resize them first"
        )
    count, group = len(frames_THWC), spec.frames_per_latent
    if first and count % group != 1 % group:
        raise ValueError(f"{count} frames begin a context; expected 1 + k * {group} (the first one alone)")
    if not first and (count % group or count == 0):
        raise ValueError(
            f"{count} frames extend a context; expected k * {group}: keep the rest for the next call"
        )
    return frames_THWC


def checked_poses(poses: Tensor, shape: tuple[int | None, ...]) -> Tensor:
    """Finite rigid camera-to-world transforms, in float64."""
    if not isinstance(poses, Tensor) or not poses.is_floating_point():
        raise TypeError(f"poses are {getattr(poses, 'dtype', type(poses).__name__)}; expected a float tensor")
    wanted = (*shape, 4, 4)
    fits = poses.ndim == len(wanted) and all(w in (None, s) for s, w in zip(poses.shape, wanted, strict=True))
    if not fits or 0 in poses.shape:
        readable = ", ".join("any" if w is None else str(w) for w in wanted)
        raise ValueError(f"poses have shape {tuple(poses.shape)}; expected ({readable}), none of them 0")
    poses = poses.double()
    if not poses.isfinite().all():
        at = (~poses.isfinite()).flatten(-2).any(-1).nonzero()[0].tolist()
        raise ValueError(f"pose {at} is not finite; leave out frames without a pose")
    turn = poses[..., :3, :3]
    off = (turn @ turn.transpose(-1, -2) - torch.eye(3, dtype=turn.dtype, device=turn.device)).abs().amax()
    bottom = poses[..., 3, :] - torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=turn.dtype, device=turn.device)
    if off > 1e-3 or bottom.abs().amax() > 1e-6 or (torch.linalg.det(turn) < 0).any():
        raise ValueError("poses are not rigid camera-to-world transforms [R t; 0 1] with R a rotation")
    return poses


def checked_intrinsics(intrinsics: Intrinsics, spec: ModelSpec) -> Intrinsics:
    """Finite pinhole intrinsics that may belong to an image of the model's size."""
    for name in ("fx", "fy", "cx", "cy"):
        value = getattr(intrinsics, name)
        if not (isinstance(value, int | float) and abs(value) < 1e6):  # also refuses NaN
            raise ValueError(f"{name} is {value!r}; expected finite pixels of the model's image")
    for name, size in (("fx", spec.image_width), ("fy", spec.image_height)):
        if not 0.05 * size <= getattr(intrinsics, name) <= 50 * size:
            raise ValueError(
                f"{name} is {getattr(intrinsics, name):g}; expected {0.05 * size:g} to {50 * size:g} pixels: "
                f"intrinsics must be those of the {spec.image_width} x {spec.image_height} image"
            )
    return intrinsics


def checked_choice(index_N: Tensor, size: int) -> Tensor:
    """Numbers of candidates to keep out of ``size``, from numbers or from a mask."""
    if not isinstance(index_N, Tensor) or index_N.ndim != 1 or index_N.is_floating_point():
        raise TypeError("select takes a one-dimensional tensor of candidate numbers (or a mask)")
    if index_N.dtype == torch.bool:
        index_N = index_N.nonzero()[:, 0]
    if len(index_N) == 0 or int(index_N.min()) < 0 or int(index_N.max()) >= size:
        raise ValueError(f"candidates {index_N.tolist()}; expected some of 0 to {size - 1}")
    return index_N
