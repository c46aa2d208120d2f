"""The truth about the frame-wise gated delta rule: a recurrence over frames that anybody can read.

Dimension letters: F latent frames, B batch, H heads, S tokens per frame, D key width, R value width.
"""

from __future__ import annotations

import torch
from torch import Tensor


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
    """Write every frame's keys and values into a memory, read it with the frame's queries.

    With K (D x S) and V (R x S) of frame t, B = diag(beta), g the decay, M (R x D):

        M_t = g M_{t-1} (I - K B K^T) + V B K^T           forward, carried over chunks
        R_t = g_{t+1} R_{t+1} (I - K B K^T) + V B K^T     of frame t+1, zero at the chunk's last frame
        out_t = (M_t + R_t) q_t

    Without values every value is a single 1. ``bounded`` divides beta by max(1, trace K B K^T), so that
    I - K B K^T is a contraction.
    Returns (out_FBHSR, state after the last frame). fp32. Source: arXiv 2605.15178, frame-wise GDN.
    """
    v = k_FBHSD.new_ones(*k_FBHSD.shape[:-1], 1) if v_FBHSR is None else v_FBHSR
    with torch.autocast(q_FBHSD.device.type, enabled=False):
        return _recurrence(
            q_FBHSD.float(), k_FBHSD.float(), v.float(), beta_FBHS.float(), decay_FBH.float(),
            state_BHRD.float(), chunk_lengths, bounded,
        )  # fmt: skip


def _recurrence(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor, state: Tensor,
    chunk_lengths: tuple[int, ...], bounded: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The formulas, in the order of ``delta_memory``'s documentation."""
    frames, width = q.shape[0], q.shape[-1]
    if bounded:
        trace = (beta * k.square().sum(-1)).sum(-1, keepdim=True)
        beta = beta / trace.clamp(min=1.0)
    identity = torch.eye(width, device=q.device)

    def advance(memory: Tensor, t: int) -> Tensor:
        weighted = k[t] * beta[t, ..., None]
        forget = identity - weighted.transpose(-1, -2) @ k[t]
        return decay[t, ..., None, None] * (memory @ forget) + v[t].transpose(-1, -2) @ weighted

    past, states = state, []
    for t in range(frames):
        past = advance(past, t)
        states.append(past)
    ends = torch.tensor(chunk_lengths).cumsum(0).tolist()
    future = torch.zeros_like(past)
    ahead = [future] * frames
    for t in range(frames - 2, -1, -1):
        future = torch.zeros_like(past) if t + 1 in ends else advance(future, t + 1)
        ahead[t] = future
    out = [q[t] @ (states[t] + ahead[t]).transpose(-1, -2) for t in range(frames)]
    return torch.stack(out), past
