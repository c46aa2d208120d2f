"""The gated delta rule as Triton kernels: frames' writes side by side, a short scan, reads side by side.

Per frame and head ``_write`` makes P = K B K^T and U = V B K^T in one pass over the frame's tokens; ``_scan``
runs X_t = W_t + g_t (X - X P_t) over frames with the state in fp32 registers, a block of value rows per program;
``_read`` multiplies by the queries. P is symmetric, so the scan's gradient is the same scan the other way.
Matrix products take operands of the inputs' own type (bf16 on tensor cores) and add up in fp32.

Letters: X = F B H frames and heads, S tokens per frame, D key width, R value width.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# What ``_scan`` does at a frame: add then keep, keep then add, or keep with the write and then move.
INCLUSIVE, EXCLUSIVE, ADJOINT = 0, 1, 2


@triton.jit
def _write(
    k_ptr, v_ptr, beta_ptr, P_ptr, U_ptr, kept_ptr, S, D: tl.constexpr, R: tl.constexpr,
    BOUNDED: tl.constexpr, ONES: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_S: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """P = c K B K^T and U = c V B K^T of one frame and head, c = 1 / max(1, trace K B K^T) if BOUNDED."""
    x = tl.program_id(0).to(tl.int64)
    d, r = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_R)
    P = tl.zeros((BLOCK_D, BLOCK_D), tl.float32)
    U = tl.zeros((BLOCK_R, BLOCK_D), tl.float32)
    trace = tl.zeros((BLOCK_S,), tl.float32)
    for start in range(0, S, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        row = x * S + s[:, None]
        inside = (s < S)[:, None]
        k = tl.load(k_ptr + row * D + d[None, :], mask=inside & (d < D)[None, :], other=0.0)
        beta = tl.load(beta_ptr + x * S + s, mask=s < S, other=0.0)[:, None]
        wide = k.to(tl.float32)
        # The root of beta on both sides: P stays symmetric and positive whatever is rounded.
        root = (wide * tl.sqrt(beta)).to(k.dtype)
        P = tl.dot(tl.trans(root), root, P, input_precision=PRECISION)
        if BOUNDED:
            trace += tl.sum(root.to(tl.float32) * root.to(tl.float32), 1)
        if ONES:
            U += tl.where((r == 0)[:, None], tl.sum(wide * beta, 0)[None, :], 0.0)
        else:
            v = tl.load(v_ptr + row * R + r[None, :], mask=inside & (r < R)[None, :], other=0.0)
            U = tl.dot(tl.trans(v), (wide * beta).to(v.dtype), U, input_precision=PRECISION)
    if BOUNDED:
        kept = 1.0 / tl.maximum(tl.sum(trace, 0), 1.0)
        P *= kept
        U *= kept
        tl.store(kept_ptr + x, kept)
    corner = (d < D)[:, None] & (d < D)[None, :]
    tl.store(P_ptr + (x * D + d[:, None]) * D + d[None, :], P.to(P_ptr.dtype.element_ty), mask=corner)
    corner = (r < R)[:, None] & (d < D)[None, :]
    tl.store(U_ptr + (x * R + r[:, None]) * D + d[None, :], U, mask=corner)


@triton.jit
def _scan(
    P_ptr, W_ptr, decay_ptr, start_ptr, out_ptr, end_ptr, bounds_ptr, BH, D: tl.constexpr, R: tl.constexpr,
    KIND: tl.constexpr, REVERSE: tl.constexpr, STARTED: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """X_t = W_t + g_t (X - X P_t) over the frames of one stretch, for one head and BLOCK_R rows of X."""
    head = tl.program_id(0).to(tl.int64)
    stretch = tl.program_id(2)
    first, last = tl.load(bounds_ptr + stretch), tl.load(bounds_ptr + stretch + 1)
    d = tl.arange(0, BLOCK_D)
    r = tl.program_id(1) * BLOCK_R + tl.arange(0, BLOCK_R)
    square = d[:, None] * D + d[None, :]
    in_square = (d < D)[:, None] & (d < D)[None, :]
    block = r[:, None] * D + d[None, :]
    in_block = (r < R)[:, None] & (d < D)[None, :]
    X = tl.zeros((BLOCK_R, BLOCK_D), tl.float32)
    if STARTED:
        X += tl.load(start_ptr + head * R * D + block, mask=in_block, other=0.0)
    for i in range(0, last - first):
        t = first + i
        if REVERSE:
            t = last - 1 - i
        x = t.to(tl.int64) * BH + head
        P = tl.load(P_ptr + x * D * D + square, mask=in_square, other=0.0)
        W = tl.load(W_ptr + x * R * D + block, mask=in_block, other=0.0)
        g = tl.load(decay_ptr + x)
        if KIND == 2:
            X += W
            tl.store(out_ptr + x * R * D + block, X, mask=in_block)
            X = g * (X - tl.dot(X.to(P.dtype), P, input_precision=PRECISION))
        else:
            if KIND == 1:
                tl.store(out_ptr + x * R * D + block, X, mask=in_block)
            X = W + g * (X - tl.dot(X.to(P.dtype), P, input_precision=PRECISION))
            if KIND == 0:
                tl.store(out_ptr + x * R * D + block, X, mask=in_block)
    if STARTED:
        tl.store(end_ptr + head * R * D + block, X, mask=in_block)


@triton.jit
def _read(
    a_ptr, past_ptr, ahead_ptr, out_ptr, S, M: tl.constexpr, N: tl.constexpr,
    STRIDE_M: tl.constexpr, STRIDE_N: tl.constexpr,
    AHEAD: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_S: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """out_sn = sum_m a_sm (past + ahead)_mn of one frame and head."""
    x = tl.program_id(0).to(tl.int64)
    s = tl.program_id(1) * BLOCK_S + tl.arange(0, BLOCK_S)
    m, n = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    row = x * S + s[:, None]
    inside = (s < S)[:, None]
    a = tl.load(a_ptr + row * M + m[None, :], mask=inside & (m < M)[None, :], other=0.0)
    at = x * M * N + m[:, None] * STRIDE_M + n[None, :] * STRIDE_N
    corner = (m < M)[:, None] & (n < N)[None, :]
    seen = tl.load(past_ptr + at, mask=corner, other=0.0)
    if AHEAD:
        seen += tl.load(ahead_ptr + at, mask=corner, other=0.0)
    out = tl.dot(a, seen.to(a.dtype), input_precision=PRECISION)
    tl.store(out_ptr + row * N + n[None, :], out.to(out_ptr.dtype.element_ty), mask=inside & (n < N)[None, :])


@triton.jit
def _outer(
    a_ptr, b_ptr, out_ptr, S, M: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_S: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """out_mn = sum_s a_sm b_sn of one frame and head: what all tokens ask of one memory."""
    x = tl.program_id(0).to(tl.int64)
    m, n = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    out = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(0, S, BLOCK_S):
        s = start + tl.arange(0, BLOCK_S)
        row = x * S + s[:, None]
        inside = (s < S)[:, None]
        a = tl.load(a_ptr + row * M + m[None, :], mask=inside & (m < M)[None, :], other=0.0)
        b = tl.load(b_ptr + row * N + n[None, :], mask=inside & (n < N)[None, :], other=0.0)
        out = tl.dot(tl.trans(a), b.to(a.dtype), out, input_precision=PRECISION)
    corner = (m < M)[:, None] & (n < N)[None, :]
    tl.store(out_ptr + x * M * N + m[:, None] * N + n[None, :], out, mask=corner)


@triton.jit
def _transition_grad(
    before_ptr, total_ptr, ahead_ptr, early_ptr, P_ptr, U_ptr, decay_ptr, kept_ptr,
    dP_ptr, decay_grad_ptr, trace_grad_ptr, D: tl.constexpr, R: tl.constexpr,
    AHEAD: tl.constexpr, BOUNDED: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """Gradients of one frame's P (plus its transpose), of its decay and of the trace that bounded it.

    before and ahead are the states that moved through the frame, total and early the gradients of what came out.
    """
    x = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, BLOCK_D)
    in_square = (d < D)[:, None] & (d < D)[None, :]
    square = x * D * D + d[:, None] * D + d[None, :]
    P = tl.load(P_ptr + square, mask=in_square, other=0.0)
    moved = tl.zeros((BLOCK_D, BLOCK_D), tl.float32)
    written = tl.zeros((BLOCK_D,), tl.float32)
    for start in range(0, R, BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        in_block = (r < R)[:, None] & (d < D)[None, :]
        block = x * R * D + r[:, None] * D + d[None, :]
        before = tl.load(before_ptr + block, mask=in_block, other=0.0).to(P.dtype)
        total = tl.load(total_ptr + block, mask=in_block, other=0.0)
        moved = tl.dot(tl.trans(before), total.to(P.dtype), moved, input_precision=PRECISION)
        if AHEAD:
            ahead = tl.load(ahead_ptr + block, mask=in_block, other=0.0).to(P.dtype)
            early = tl.load(early_ptr + block, mask=in_block, other=0.0)
            moved = tl.dot(tl.trans(ahead), early.to(P.dtype), moved, input_precision=PRECISION)
            total += early
        if BOUNDED:
            U = tl.load(U_ptr + block, mask=in_block, other=0.0)
            written += tl.sum(total * U, 0)
    on_diagonal = tl.where(d[:, None] == d[None, :], moved, 0.0)
    wide = P.to(tl.float32)
    tl.store(decay_grad_ptr + x, tl.sum(tl.sum(on_diagonal - moved * wide, 1), 0))
    dP = -tl.load(decay_ptr + x) * moved
    if BOUNDED:
        kept = tl.load(kept_ptr + x)
        inner = tl.sum(tl.sum(dP * wide, 1) + written, 0)
        tl.store(trace_grad_ptr + x, tl.where(kept < 1.0, -inner * kept, 0.0))
    both = dP + tl.trans(dP)
    tl.store(dP_ptr + square, both, mask=in_square)


@triton.jit
def _write_grad(
    k_ptr, v_ptr, beta_ptr, dP_ptr, total_ptr, early_ptr, kept_ptr, trace_grad_ptr,
    dk_ptr, dv_ptr, dbeta_ptr, S, D: tl.constexpr, R: tl.constexpr,
    AHEAD: tl.constexpr, BOUNDED: tl.constexpr, ONES: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_S: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """Gradients of BLOCK_S tokens' keys, values and betas from those of their frame's P and U."""
    x = tl.program_id(0).to(tl.int64)
    s = tl.program_id(1) * BLOCK_S + tl.arange(0, BLOCK_S)
    d, r = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_R)
    row = x * S + s[:, None]
    in_k = (s < S)[:, None] & (d < D)[None, :]
    in_v = (s < S)[:, None] & (r < R)[None, :]
    in_square = (d < D)[:, None] & (d < D)[None, :]
    in_block = (r < R)[:, None] & (d < D)[None, :]
    block = x * R * D + r[:, None] * D + d[None, :]
    k = tl.load(k_ptr + row * D + d[None, :], mask=in_k, other=0.0)
    beta = tl.load(beta_ptr + x * S + s, mask=s < S, other=0.0)
    if ONES:
        v = tl.where(in_v, 1.0, 0.0).to(k.dtype)
    else:
        v = tl.load(v_ptr + row * R + r[None, :], mask=in_v, other=0.0)
    dP = tl.load(dP_ptr + x * D * D + d[:, None] * D + d[None, :], mask=in_square, other=0.0).to(k.dtype)
    dU = tl.load(total_ptr + block, mask=in_block, other=0.0)
    if AHEAD:
        dU += tl.load(early_ptr + block, mask=in_block, other=0.0)
    dU = dU.to(k.dtype)
    of_P = tl.dot(k, dP, input_precision=PRECISION)
    of_U = tl.dot(v, dU, input_precision=PRECISION)
    wide = k.to(tl.float32)
    dbeta = 0.5 * tl.sum(wide * of_P, 1) + tl.sum(wide * of_U, 1)
    dk = of_P + of_U
    kept = 1.0
    if BOUNDED:
        kept = tl.load(kept_ptr + x)
        trace_grad = tl.load(trace_grad_ptr + x)
        dbeta = kept * dbeta + trace_grad * tl.sum(wide * wide, 1)
        dk = kept * dk + 2.0 * trace_grad * wide
    dk *= beta[:, None]
    tl.store(dk_ptr + row * D + d[None, :], dk.to(dk_ptr.dtype.element_ty), mask=in_k)
    tl.store(dbeta_ptr + x * S + s, dbeta, mask=s < S)
    if not ONES:
        dv = tl.dot(k, tl.trans(dU), input_precision=PRECISION) * (kept * beta)[:, None]
        tl.store(dv_ptr + row * R + r[None, :], dv.to(dv_ptr.dtype.element_ty), mask=in_v)


def padded(width: int) -> int:
    """The block that holds ``width``: a power of two, at least the 16 that matrix products need."""
    return max(16, triton.next_power_of_2(width))


def precision_of(dtype: torch.dtype) -> str:
    """How fp32 operands are multiplied: as torch's own matrix products are; others have one way only."""
    if dtype != torch.float32:
        return "tf32"
    return "tf32x3" if torch.get_float32_matmul_precision() == "highest" else "tf32"


def settings(tokens: int, widest: int, itemsize: int) -> dict[str, int]:
    """Tokens per block, warps and pipeline stages: what fits an SM's registers (ptxas: no spills in bf16)."""
    wide = padded(widest) >= 128
    most = 64 if itemsize == 2 else (16 if wide else 32)
    return {
        "BLOCK_S": max(16, min(most, triton.next_power_of_2(tokens))),
        "num_warps": 8 if wide else 4,
        "num_stages": 3 if itemsize == 2 else 2,
    }


def scan_settings(width: int, value_width: int, itemsize: int) -> dict[str, int]:
    """Rows of the state per program, warps and stages of ``_scan``."""
    # Few rows: one stream has 40 heads at most, and a GPU more processors than that.
    wide = padded(width) >= 128
    return {
        "BLOCK_R": min(16 if wide else 32, padded(value_width)),
        "num_warps": 8 if wide else 4,
        "num_stages": 3 if itemsize == 2 else 1,
    }


@lru_cache(maxsize=256)
def stretches(chunk_lengths: tuple[int, ...], device: torch.device) -> Tensor:
    """First frames of the chunks and the end, on the device once: a CUDA graph can't copy them itself."""
    ends = torch.tensor([0, *chunk_lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
    return ends.to(device)


class _DeltaMemory(torch.autograd.Function):
    """All of it on contiguous tensors: q, k (F, BH, S, D), v (F, BH, S, R) or None, beta (F, BH, S)."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor | None, beta: Tensor, decay: Tensor, start: Tensor,
        chunk_lengths: tuple[int, ...], bounded: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        F, BH, S, D = q.shape
        R = 1 if v is None else v.shape[3]
        new = start.new_empty
        P, U = new(F, BH, D, D, dtype=k.dtype), new(F, BH, R, D)
        kept = new(F, BH) if bounded else None
        common = {"PRECISION": precision_of(k.dtype)}
        tuned = settings(S, max(D, R), k.element_size())
        blocks = {"BLOCK_D": padded(D), "BLOCK_R": padded(R)}
        _write[(F * BH,)](
            k, v, beta, P, U, kept, S, D, R, BOUNDED=bounded, ONES=v is None, **common, **blocks, **tuned
        )  # fmt: skip
        states, end = torch.empty_like(U), torch.empty_like(start)
        whole = stretches((F,), q.device)
        scan(P, U, decay, start, states, end, whole, INCLUSIVE, reverse=False)
        ahead = None
        if max(chunk_lengths) > 1:
            ahead = torch.empty_like(U)
            scan(P, U, decay, None, ahead, None, stretches(chunk_lengths, q.device), EXCLUSIVE, reverse=True)
        out = q.new_empty(F, BH, S, R, dtype=torch.float32 if v is None else q.dtype)
        _read[(F * BH, triton.cdiv(S, tuned["BLOCK_S"]))](
            q, states, ahead, out, S, D, R, 1, D, AHEAD=ahead is not None,
            BLOCK_M=blocks["BLOCK_D"], BLOCK_N=blocks["BLOCK_R"], **common, **tuned,
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, beta, decay, start, P, U, kept, states, ahead)
        ctx.chunk_lengths, ctx.bounded = chunk_lengths, bounded
        return out, end

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, beta, decay, start, P, U, kept, states, ahead = ctx.saved_tensors
        F, BH, S, D = q.shape
        R = U.shape[2]
        out_grad, end_grad = grads[0].to(q.dtype).contiguous(), grads[1].float().contiguous()
        common = {"PRECISION": precision_of(k.dtype)}
        tuned = settings(S, max(D, R), k.element_size())
        blocks = {"BLOCK_D": padded(D), "BLOCK_R": padded(R)}
        tokens = (F * BH, triton.cdiv(S, tuned["BLOCK_S"]))

        dq = torch.empty_like(q)
        _read[tokens](
            out_grad, states, ahead, dq, S, R, D, D, 1, AHEAD=ahead is not None,
            BLOCK_M=blocks["BLOCK_R"], BLOCK_N=blocks["BLOCK_D"], **common, **tuned,
        )  # fmt: skip
        asked = torch.empty_like(U)
        _outer[(F * BH,)](
            out_grad, q, asked, S, R, D,
            BLOCK_M=blocks["BLOCK_R"], BLOCK_N=blocks["BLOCK_D"], **common, **tuned,
        )  # fmt: skip
        total, dstart = torch.empty_like(U), torch.empty_like(start)
        scan(P, asked, decay, end_grad, total, dstart, stretches((F,), q.device), ADJOINT, reverse=True)
        early = None
        if ahead is not None:
            early = torch.empty_like(U)
            bounds = stretches(ctx.chunk_lengths, q.device)
            scan(P, asked, decay, None, early, None, bounds, EXCLUSIVE, reverse=False)

        before = torch.cat([start[None], states[:-1]])
        dP, ddecay = torch.empty_like(P, dtype=torch.float32), torch.empty_like(decay)
        trace_grad = torch.empty_like(decay) if ctx.bounded else None
        _transition_grad[(F * BH,)](
            before, total, ahead, early, P, U, decay, kept, dP, ddecay, trace_grad, D, R,
            AHEAD=ahead is not None, BOUNDED=ctx.bounded, BLOCK_D=padded(D), BLOCK_R=min(32, padded(R)),
            num_warps=tuned["num_warps"], num_stages=2, **common,
        )  # fmt: skip
        dk, dbeta = torch.empty_like(k), torch.empty_like(beta)
        dv = None if v is None else torch.empty_like(v)
        _write_grad[tokens](
            k, v, beta, dP, total, early, kept, trace_grad, dk, dv, dbeta, S, D, R,
            AHEAD=ahead is not None, BOUNDED=ctx.bounded, ONES=v is None, **common, **blocks,
            **tuned,
        )  # fmt: skip
        return dq, dk, dv, dbeta, ddecay, dstart, None, None


def scan(
    P: Tensor, W: Tensor, decay: Tensor, start: Tensor | None, out: Tensor, end: Tensor | None, bounds: Tensor,
    kind: int, *, reverse: bool,
) -> None:  # fmt: skip
    """Run ``_scan`` over the stretches between ``bounds``; rows of the state are shared out over programs."""
    _, BH, R, D = W.shape
    tuned = scan_settings(D, R, P.element_size())
    _scan[(BH, triton.cdiv(R, tuned["BLOCK_R"]), len(bounds) - 1)](
        P, W, decay, start, out, end, bounds, BH, D, R,
        KIND=kind, REVERSE=reverse, STARTED=start is not None, PRECISION=precision_of(P.dtype),
        BLOCK_D=padded(D), **tuned,
    )  # fmt: skip


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
    """The same as ``naive.delta_memory`` on a CUDA device, with gradients.

    Queries, keys and values are multiplied in their own type (bf16, or fp32 as torch's matrix products are set);
    the state is fp32. The output has the queries' type, fp32 without values.
    """
    F, B, H, S, _ = q_FBHSD.shape

    def joined(x: Tensor) -> Tensor:
        return x.flatten(1, 2).contiguous()

    kind = q_FBHSD.dtype
    out, end = _DeltaMemory.apply(
        joined(q_FBHSD), joined(k_FBHSD.to(kind)), None if v_FBHSR is None else joined(v_FBHSR.to(kind)),
        joined(beta_FBHS.float()), joined(decay_FBH.float()), state_BHRD.float().flatten(0, 1).contiguous(),
        chunk_lengths, bounded,
    )  # fmt: skip
    return out.unflatten(1, (B, H)), end.unflatten(0, (B, H))
