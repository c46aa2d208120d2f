"""The same in plain real tensor expressions: what compilers and exporters (ONNX, AOTInductor) can follow.

No complex numbers, no writes into views, no gradients of our own. Slower than ``chunk`` when run as it is.
Dimension letters: F latent frames, B batch, H heads per branch, S tokens per frame, D key width, R value width,
C = H D channels.
"""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import Tensor

from sana_wm_ros.world_model.kernels.tables import Tables


def delta_memory(
    q_FBHSD: Tensor,
    k_FBHSD: Tensor,
    v_FBHSR: Tensor | None,
    beta_FBHS: Tensor,
    decay_FBH: Tensor,
    state_BHRD: Tensor,
    chunk_lengths: tuple[int, ...],
    bounded: bool,
) -> tuple[Tensor, Tensor]:
    """The same as ``naive.delta_memory``, its loops unrolled over the segment's frames."""
    q, k = q_FBHSD.float(), k_FBHSD.float()
    v = torch.ones_like(k[..., :1]) if v_FBHSR is None else v_FBHSR.float()
    beta, decay = beta_FBHS.float()[..., None], decay_FBH.float()[..., None, None]
    if bounded:
        trace = (beta * k.square()).sum((-2, -1), keepdim=True)
        beta = beta / trace.clamp(min=1.0)
    weighted = k * beta
    identity = torch.eye(k.shape[-1], device=k.device)
    A = decay * (identity - weighted.transpose(-1, -2) @ k)
    U = v.transpose(-1, -2) @ weighted
    states, past = [], state_BHRD.float()
    for t in range(len(q)):
        past = past @ A[t] + U[t]
        states.append(past)
    seen = list(states)
    ends = set(accumulate(chunk_lengths))
    future = None
    for t in range(len(q) - 2, -1, -1):
        if t + 1 in ends:
            future = None
        else:
            future = U[t + 1] if future is None else future @ A[t + 1] + U[t + 1]
            seen[t] = states[t] + future
    return q @ torch.stack(seen).transpose(-1, -2), past


def _rotated(x: Tensor, factors: Tensor, back: bool) -> Tensor:
    """Pairs of the last axis times complex factors (..., pairs, 2), or their conjugates."""
    real, imaginary = x[..., 0::2], x[..., 1::2]
    cosine, sine = factors[..., 0], -factors[..., 1] if back else factors[..., 1]
    turned = torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], -1)
    return turned.flatten(-2)


def _turned_camera(x_FBSHD: Tensor, tables: Tables, back: bool) -> Tensor:
    """UCPE of camera heads, or its transpose."""
    F, B, S, H, D = x_FBSHD.shape
    matrix = tables.matrix.view(F, B, S, 4, 4)
    if back:
        matrix = matrix.transpose(-1, -2)
    first = x_FBSHD[..., : D // 2]
    if back and tables.place is not None:
        first = first @ tables.place.transpose(-1, -2)
    first = (first.reshape(F, B, S, H * D // 8, 4) @ matrix).reshape(F, B, S, H, D // 2)
    if not back and tables.place is not None:
        first = first @ tables.place
    factors = tables.camera_rope.view(F, 1, S, 1, -1, 2)
    rotated = _rotated(x_FBSHD[..., D // 2 :], factors, back)
    return torch.cat([first, rotated], -1)


def prepare(
    x_FBSC: Tensor, weight_2C: Tensor | None, tables: Tables, heads: int, *, order: tuple[int, ...],
    relu: bool = False, turn_main: bool = True, plain: int = 0, eps: float = 1e-5,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """One of queries, keys and values to heads at their place, as ``triton_prepare.prepare``; fp32."""
    F, B, S, channels = x_FBSC.shape
    x = x_FBSC.float()
    if weight_2C is not None:
        parts = x.unflatten(-1, (2, channels // 2))
        parts = parts * (parts.square().mean(-1, keepdim=True) + eps).rsqrt() * weight_2C
        x = (parts.relu() if relu else parts).flatten(-2)
    x = x.unflatten(-1, (2 * heads, -1))
    main = x[..., :heads, :]
    if turn_main:
        main = _rotated(main, tables.rope.view(F, 1, S, 1, -1, 2), back=False)
    out = torch.cat([main, _turned_camera(x[..., heads:, :], tables, back=False)], 3)
    return out.permute(order), x[..., : plain * heads, :].transpose(2, 3) if plain else None


def unplace(x_FBSHD: Tensor, factor_FBHS: Tensor | None, tables: Tables) -> tuple[Tensor, Tensor]:
    """Attention's output as main and camera channels (F, B, S, C) each, as ``triton_prepare.unplace``."""
    heads = x_FBSHD.shape[3] // 2
    main = x_FBSHD[..., :heads, :]
    if factor_FBHS is not None:
        main = main * factor_FBHS.transpose(2, 3)[..., None]
    camera = _turned_camera(x_FBSHD[..., heads:, :], tables, back=True)
    return main.flatten(-2), camera.flatten(-2)
