"""The gated delta rule with all frames' matrices made at once and one short loop over frames.

The transitions A_t = g_t (I - K B K^T) and writes U_t = V B K^T of all frames are batched products; only
M_t = M_{t-1} A_t + U_t runs frame by frame, and its gradient is a loop of the same form.
Dimension letters: F latent frames, B batch, H heads, S tokens per frame, D key width, R value width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class _Scan(torch.autograd.Function):
    """M_t = M_{t-1} A_t + U_t over the first axis, all M_t returned."""

    @staticmethod
    def forward(ctx: Any, A_FXDD: Tensor, U_FXRD: Tensor, start_XRD: Tensor) -> Tensor:
        states = torch.empty_like(U_FXRD)
        last = start_XRD
        for t in range(len(A_FXDD)):
            last = torch.baddbmm(U_FXRD[t], last, A_FXDD[t], out=states[t])
        ctx.save_for_backward(A_FXDD, start_XRD, states)
        return states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        A_FXDD, start_XRD, states = ctx.saved_tensors
        # Autograd may hand over a transposed view, for which batched products take a slow path.
        grad = grads[0].contiguous()
        turned = A_FXDD.transpose(-1, -2).contiguous()
        total = torch.empty_like(states)
        total[-1] = grad[-1]
        for t in range(len(A_FXDD) - 2, -1, -1):
            torch.baddbmm(grad[t], total[t + 1], turned[t + 1], out=total[t])
        before = torch.cat([start_XRD[None], states[:-1]])
        grad_A = before.transpose(-1, -2) @ total
        return grad_A, total, total[0] @ turned[0]


def _ahead(A: Tensor, U: Tensor, chunk_lengths: tuple[int, ...]) -> Tensor | None:
    """What each frame may read of the later frames of its chunk; None where no chunk has any."""
    longest = max(chunk_lengths)
    if longest == 1:
        return None
    mask = torch.ones(len(A), device=A.device)
    mask[torch.tensor(chunk_lengths).cumsum(0) - 1] = 0.0
    inside = mask[:-1, None, None, None]
    if longest <= 4:
        # As many parallel steps as the longest chunk needs: the first has nothing to carry yet.
        ahead = inside * U[1:]
        for _ in range(longest - 2):
            carried = torch.cat([ahead[1:], torch.zeros_like(ahead[:1])])
            ahead = inside * (U[1:] + carried @ A[1:])
    else:
        zero = torch.zeros_like(U[0])
        ahead = _Scan.apply((inside * A[1:]).flip(0), (inside * U[1:]).flip(0), zero).flip(0)
    return torch.cat([ahead, torch.zeros_like(U[:1])])


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
    """The same as ``naive.delta_memory``, fast on CPUs, with gradients; fp32 throughout."""
    F, B, H, S, D = q_FBHSD.shape
    X = B * H
    with torch.autocast(q_FBHSD.device.type, enabled=False):
        q, k = q_FBHSD.float().reshape(F * X, S, D), k_FBHSD.float().reshape(F * X, S, D)
        beta = beta_FBHS.float()
        if bounded:
            squares = torch.linalg.vector_norm(k, dim=-1).square().view(F, B, H, S)
            beta = beta / (beta * squares).sum(-1, keepdim=True).clamp(min=1.0)
        decay = decay_FBH.float().reshape(F * X, 1, 1)
        beta = beta.reshape(F * X, S, 1)
        kept = torch.eye(D, device=k.device) * decay
        A = torch.baddbmm(kept, (k * (beta * decay)).transpose(-1, -2), k, alpha=-1.0)
        if v_FBHSR is None:
            U = beta.transpose(-1, -2) @ k
        else:
            U = (v_FBHSR.float().reshape(F * X, S, -1) * beta).transpose(-1, -2) @ k
        R = U.shape[1]
        A, U = A.view(F, X, D, D), U.view(F, X, R, D)
        states = _Scan.apply(A, U, state_BHRD.float().reshape(X, R, D))
        ahead = _ahead(A, U, chunk_lengths)
        seen = states if ahead is None else states + ahead
        out = torch.bmm(q, seen.view(F * X, R, D).transpose(-1, -2))
    return out.view(F, B, H, S, R), states[-1].view(B, H, R, D)
