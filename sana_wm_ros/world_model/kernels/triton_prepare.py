"""What comes before and after attention in one pass over memory each: norm, ReLU, scale, rotary and UCPE.

``prepare`` reads projections (F, B, S, 2C) and writes queries, keys and values of all heads, turned to their place,
in the order of axes that the next product wants; ``unplace`` takes attention's output back. The camera's turn
back is the transpose of the queries' turn, so both directions and both gradients are one function, ``_turned``.

Letters: F latent frames, B batch, S tokens, H heads per branch (main, then camera), D head width, C = H D,
N = F B S tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sana_wm_ros.world_model.kernels.tables import Tables

BLOCK_TOKENS = 16


@triton.jit
def _value(
    x_ptr, row, channel, weight_ptr, inverse, mask,
    NORM: tl.constexpr, RELU: tl.constexpr,
):  # fmt: skip
    """x, or x / rms * weight (then ReLU), at a channel of each row."""
    value = tl.load(x_ptr + row + channel, mask=mask, other=0.0).to(tl.float32)
    if NORM:
        value = value * inverse * tl.load(weight_ptr + channel, mask=mask, other=0.0).to(tl.float32)
        if RELU:
            value = tl.maximum(value, 0.0)
    return value


@triton.jit
def _turned(
    x_ptr, row, base, d, weight_ptr, inverse, matrix_ptr, rope_ptr, camera_rope_ptr, token, place, camera, mask,
    D: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr, TURN_MAIN: tl.constexpr, BACK: tl.constexpr,
):  # fmt: skip
    """Channel d of the head that begins at ``base``, turned to its place (or back, the transpose).

    Main heads: rotary on all D channels. Camera heads: groups of four times the token's matrix on the first half,
    rotary on the second. ``token`` numbers matrices, ``place`` = f S + s rotary factors.
    """
    half: tl.constexpr = D // 2
    own = _value(x_ptr, row, base + d, weight_ptr, inverse, mask, NORM, RELU)
    out = own
    if camera:
        first = mask & (d < half)
        second = mask & (d >= half)
        grouped = tl.zeros_like(own)
        for i in tl.static_range(4):
            other = _value(x_ptr, row, base + d // 4 * 4 + i, weight_ptr, inverse, first, NORM, RELU)
            cell = d % 4 * 4 + i if BACK else i * 4 + d % 4
            grouped += other * tl.load(matrix_ptr + token * 16 + cell, mask=first, other=0.0)
        partner = _value(x_ptr, row, base + (d ^ 1), weight_ptr, inverse, second, NORM, RELU)
        factor = place * half + (d - half) // 2 * 2
        real = tl.load(camera_rope_ptr + factor, mask=second, other=0.0)
        imaginary = tl.load(camera_rope_ptr + factor + 1, mask=second, other=0.0)
        sign = tl.where((d % 2 == 0) != BACK, -1.0, 1.0)
        out = tl.where(d < half, grouped, own * real + sign * partner * imaginary)
    elif TURN_MAIN:
        partner = _value(x_ptr, row, base + (d ^ 1), weight_ptr, inverse, mask, NORM, RELU)
        factor = place * D + d // 2 * 2
        real = tl.load(rope_ptr + factor, mask=mask, other=0.0)
        imaginary = tl.load(rope_ptr + factor + 1, mask=mask, other=0.0)
        sign = tl.where((d % 2 == 0) != BACK, -1.0, 1.0)
        out = own * real + sign * partner * imaginary
    return out


@triton.jit
def _inverse_rms(
    x_ptr, row, branch, present, H: tl.constexpr, D: tl.constexpr, BLOCK_D: tl.constexpr, EPS: tl.constexpr
):
    """1 / rms over a branch's C channels of each row."""
    d = tl.arange(0, BLOCK_D)[None, :]
    squares = tl.zeros(row.shape, tl.float32)
    for h in range(H):
        mask = present & (d < D)
        x = tl.load(x_ptr + row + branch * H * D + h * D + d, mask=mask, other=0.0).to(tl.float32)
        squares += tl.sum(x * x, 1)[:, None]
    return tl.rsqrt(squares / (H * D) + EPS)


@triton.jit
def _place(
    x_ptr, weight_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, out_ptr, plain_ptr,
    N, row_stride, B, S, out_f, out_b, out_h, out_s,
    H: tl.constexpr, D: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr, TURN_MAIN: tl.constexpr,
    PLAIN: tl.constexpr, EPS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One branch of BLOCK_T tokens: to heads at their place, and to the first PLAIN branches' heads as they are."""
    branch = tl.program_id(1)
    token = (tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)).to(tl.int64)[:, None]
    d = tl.arange(0, BLOCK_D)[None, :]
    present = token < N
    s, fb = token % S, token // S
    f, b = fb // B, fb % B
    place = f * S + s
    row = token * row_stride
    inverse = 1.0
    if NORM:
        inverse = _inverse_rms(x_ptr, row, branch, present, H, D, BLOCK_D, EPS)
    mask = present & (d < D)
    for h in range(H):
        head = branch * H + h
        out = _turned(
            x_ptr, row, head * D, d, weight_ptr, inverse, matrix_ptr, rope_ptr, camera_rope_ptr, token, place,
            branch == 1, mask, D, NORM, RELU, TURN_MAIN, False,
        )  # fmt: skip
        at = f * out_f + b * out_b + head * out_h + s * out_s + d
        tl.store(out_ptr + at, out.to(out_ptr.dtype.element_ty), mask=mask)
        if branch < PLAIN:
            y = _value(x_ptr, row, head * D + d, weight_ptr, inverse, mask, NORM, RELU)
            at = ((fb * PLAIN * H + head) * S + s) * D + d
            tl.store(plain_ptr + at, y.to(plain_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _grad_of_value(
    grad_ptr, plain_grad_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, token, fb, s, S, place, at, head, d, branch,
    mask, H: tl.constexpr, D: tl.constexpr, TURN_MAIN: tl.constexpr, PLAIN: tl.constexpr,
):  # fmt: skip
    """The gradient that reaches a head before it was turned: from its placed form and from its plain one."""
    grad = _turned(
        grad_ptr, at, 0, d, grad_ptr, 1.0, matrix_ptr, rope_ptr, camera_rope_ptr, token, place, branch == 1, mask,
        D, False, False, TURN_MAIN, True,
    )  # fmt: skip
    if branch < PLAIN:
        grad += tl.load(
            plain_grad_ptr + ((fb * PLAIN * H + head) * S + s) * D + d, mask=mask, other=0.0
        ).to(tl.float32)  # fmt: skip
    return grad


@triton.jit
def _place_grad(
    x_ptr, weight_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, grad_ptr, plain_grad_ptr, dx_ptr, dweight_ptr,
    N, row_stride, B, S, out_f, out_b, out_h, out_s,
    H: tl.constexpr, D: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr, TURN_MAIN: tl.constexpr,
    PLAIN: tl.constexpr, EPS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """The way back of ``_place``; the norm's weights get one partial sum per program."""
    branch = tl.program_id(1)
    token = (tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)).to(tl.int64)[:, None]
    d = tl.arange(0, BLOCK_D)[None, :]
    present = token < N
    s, fb = token % S, token // S
    f, b = fb // B, fb % B
    place = f * S + s
    row = token * row_stride
    mask = present & (d < D)
    start = f * out_f + b * out_b + s * out_s
    inverse = 1.0
    inner = tl.zeros(row.shape, tl.float32)
    if NORM:
        inverse = _inverse_rms(x_ptr, row, branch, present, H, D, BLOCK_D, EPS)
        for h in range(H):
            head = branch * H + h
            grad = _grad_of_value(
                grad_ptr, plain_grad_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, token, fb, s, S, place,
                start + head * out_h, head, d, branch, mask, H, D, TURN_MAIN, PLAIN,
            )  # fmt: skip
            unit = tl.load(x_ptr + row + head * D + d, mask=mask, other=0.0).to(tl.float32) * inverse
            weight = tl.load(weight_ptr + head * D + d, mask=d < D, other=0.0).to(tl.float32)
            if RELU:
                grad = tl.where(unit * weight > 0.0, grad, 0.0)
            partial = tl.sum(grad * unit, 0)[None, :]
            at = dweight_ptr + tl.program_id(0) * 2 * H * D + head * D + d
            tl.store(at, partial, mask=d < D)
            inner += tl.sum(grad * unit * weight, 1)[:, None]
        inner /= H * D
    for h in range(H):
        head = branch * H + h
        grad = _grad_of_value(
            grad_ptr, plain_grad_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, token, fb, s, S, place,
            start + head * out_h, head, d, branch, mask, H, D, TURN_MAIN, PLAIN,
        )  # fmt: skip
        if NORM:
            unit = tl.load(x_ptr + row + head * D + d, mask=mask, other=0.0).to(tl.float32) * inverse
            weight = tl.load(weight_ptr + head * D + d, mask=d < D, other=0.0).to(tl.float32)
            if RELU:
                grad = tl.where(unit * weight > 0.0, grad, 0.0)
            grad = inverse * (grad * weight - unit * inner)
        at = dx_ptr + token * 2 * H * D + head * D + d
        tl.store(at, grad.to(dx_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _unplace(
    x_ptr, factor_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, out_ptr,
    N, B, S, x_f, x_b, x_h, x_s,
    H: tl.constexpr, D: tl.constexpr, FACTOR: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Attention's output of BLOCK_T tokens to (2, N, C): main heads times their factor, camera heads turned back."""
    branch = tl.program_id(1)
    token = (tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)).to(tl.int64)[:, None]
    d = tl.arange(0, BLOCK_D)[None, :]
    mask = (token < N) & (d < D)
    s, fb = token % S, token // S
    f, b = fb // B, fb % B
    for h in range(H):
        head = branch * H + h
        at = f * x_f + b * x_b + head * x_h + s * x_s
        out = _turned(
            x_ptr, at, 0, d, x_ptr, 1.0, matrix_ptr, rope_ptr, camera_rope_ptr, token, f * S + s, branch == 1, mask,
            D, False, False, False, True,
        )  # fmt: skip
        if FACTOR:  # noqa: SIM102 (known when compiling; where it is False there is no pointer to load from)
            if branch == 0:
                out *= tl.load(factor_ptr + (fb * H + h) * S + s, mask=token < N, other=0.0)
        to = out_ptr + (branch * N + token) * H * D + h * D + d
        tl.store(to, out.to(out_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _unplace_grad(
    x_ptr, factor_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, grad_ptr, dx_ptr, dfactor_ptr,
    N, B, S, x_f, x_b, x_h, x_s,
    H: tl.constexpr, D: tl.constexpr, FACTOR: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """The way back of ``_unplace``."""
    branch = tl.program_id(1)
    token = (tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)).to(tl.int64)[:, None]
    d = tl.arange(0, BLOCK_D)[None, :]
    mask = (token < N) & (d < D)
    s, fb = token % S, token // S
    f, b = fb // B, fb % B
    for h in range(H):
        head = branch * H + h
        at = f * x_f + b * x_b + head * x_h + s * x_s
        row = (branch * N + token) * H * D
        grad = _turned(
            grad_ptr, row, h * D, d, grad_ptr, 1.0, matrix_ptr, rope_ptr, camera_rope_ptr, token, f * S + s,
            branch == 1, mask, D, False, False, False, False,
        )  # fmt: skip
        if FACTOR:  # noqa: SIM102 (known when compiling; where it is False there is no pointer to load from)
            if branch == 0:
                x = tl.load(x_ptr + at + d, mask=mask, other=0.0).to(tl.float32)
                where = (fb * H + h) * S + s
                tl.store(dfactor_ptr + where, tl.sum(x * grad, 1)[:, None], mask=token < N)
                grad *= tl.load(factor_ptr + where, mask=token < N, other=0.0)
        tl.store(dx_ptr + at + d, grad.to(dx_ptr.dtype.element_ty), mask=mask)


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What ``_place`` does to one of queries, keys and values."""

    heads: int
    relu: bool
    turn_main: bool
    plain: int
    order: tuple[int, ...]
    eps: float = 1e-5


def _in_order(shape: tuple[int, ...], order: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Shape of a contiguous tensor whose axes are those of ``shape`` in ``order``, and strides of each axis."""
    turned = [shape[axis] for axis in order]
    strides, step = [0] * len(shape), 1
    for axis in reversed(order):
        strides[axis] = step
        step *= shape[axis]
    return turned, strides


def _rows(x_FBSC: Tensor) -> tuple[Tensor, int]:
    """The tensor and its distance between tokens; a copy only if tokens are not evenly spaced."""
    F, B, S, _ = x_FBSC.shape
    step = x_FBSC.stride(2)
    even = x_FBSC.stride(3) == 1 and x_FBSC.stride(1) == S * step and x_FBSC.stride(0) == B * S * step
    return (x_FBSC, step) if even else (x_FBSC.contiguous(), x_FBSC.shape[3])


class _Placed(torch.autograd.Function):
    """One of queries, keys and values (F, B, S, 2C) as placed heads and, for some branches, plain ones."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, tables: Tables, job: _Job
    ) -> tuple[Tensor, Tensor | None]:
        F, B, S, channels = x.shape
        D = channels // (2 * job.heads)
        x, step = _rows(x)
        shape, strides = _in_order((F, B, S, 2 * job.heads, D), job.order)
        out = x.new_empty(shape)
        plain = x.new_empty(F, B, job.plain * job.heads, S, D) if job.plain else None
        grid, constants = _launch(F * B * S, job.heads, D)
        _place[grid](
            x, weight, tables.matrix, tables.rope, tables.camera_rope, out, plain,
            F * B * S, step, B, S, strides[0], strides[1], strides[3], strides[2],
            NORM=weight is not None, RELU=job.relu, TURN_MAIN=job.turn_main, PLAIN=job.plain, EPS=job.eps,
            **constants,
        )  # fmt: skip
        ctx.save_for_backward(x, weight)
        ctx.tables, ctx.job = tables, job
        return out, plain

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        tables, job = ctx.tables, ctx.job
        F, B, S, channels = x.shape
        D = channels // (2 * job.heads)
        x, step = _rows(x)
        shape, strides = _in_order((F, B, S, 2 * job.heads, D), job.order)
        grad = x.new_zeros(shape) if grads[0] is None else grads[0].contiguous()
        plain = None
        if job.plain:
            empty = (F, B, job.plain * job.heads, S, D)
            plain = x.new_zeros(empty) if grads[1] is None else grads[1].contiguous()
        dx = x.new_empty(F, B, S, channels)
        grid, constants = _launch(F * B * S, job.heads, D)
        dweight = x.new_empty(grid[0], channels, dtype=torch.float32) if weight is not None else None
        _place_grad[grid](
            x, weight, tables.matrix, tables.rope, tables.camera_rope, grad, plain, dx, dweight,
            F * B * S, step, B, S, strides[0], strides[1], strides[3], strides[2],
            NORM=weight is not None, RELU=job.relu, TURN_MAIN=job.turn_main, PLAIN=job.plain, EPS=job.eps,
            **constants,
        )  # fmt: skip
        of_weight = None if dweight is None else dweight.sum(0).view_as(weight).to(weight.dtype)
        return dx, of_weight, None, None


class _Unplaced(torch.autograd.Function):
    """Attention's output, in the order of axes it has, as main and camera channels (2, F, B, S, C)."""

    @staticmethod
    def forward(
        ctx: Any, x_FBSHD: Tensor, factor_FBHS: Tensor | None, tables: Tables
    ) -> Tensor:  # fmt: skip
        F, B, S, heads, D = x_FBSHD.shape
        H = heads // 2
        if x_FBSHD.stride(4) != 1:
            x_FBSHD = x_FBSHD.contiguous()
        f, b, s, h, _ = x_FBSHD.stride()
        out = x_FBSHD.new_empty(2, F, B, S, H * D)
        grid, constants = _launch(F * B * S, H, D)
        _unplace[grid](
            x_FBSHD, factor_FBHS, tables.matrix, tables.rope, tables.camera_rope, out,
            F * B * S, B, S, f, b, h, s, FACTOR=factor_FBHS is not None, **constants,
        )  # fmt: skip
        ctx.save_for_backward(x_FBSHD, factor_FBHS)
        ctx.tables = tables
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x_FBSHD, factor = ctx.saved_tensors
        tables = ctx.tables
        F, B, S, heads, D = x_FBSHD.shape
        f, b, s, h, _ = x_FBSHD.stride()
        dx = torch.empty_strided(x_FBSHD.shape, x_FBSHD.stride(), dtype=x_FBSHD.dtype, device=x_FBSHD.device)
        dfactor = None if factor is None else torch.empty_like(factor)
        grid, constants = _launch(F * B * S, heads // 2, D)
        _unplace_grad[grid](
            x_FBSHD, factor, tables.matrix, tables.rope, tables.camera_rope, grads[0].contiguous(), dx, dfactor,
            F * B * S, B, S, f, b, h, s, FACTOR=factor is not None, **constants,
        )  # fmt: skip
        return dx, dfactor, None


def _launch(tokens: int, heads: int, width: int) -> tuple[tuple[int, int], dict[str, int]]:
    """Grid (blocks of tokens, branches) and the constants that all kernels here take."""
    constants = {"H": heads, "D": width, "BLOCK_T": BLOCK_TOKENS, "BLOCK_D": triton.next_power_of_2(width)}
    return (triton.cdiv(tokens, BLOCK_TOKENS), 2), constants


def prepare(
    x_FBSC: Tensor, weight_2C: Tensor | None, tables: Tables, heads: int, *, order: tuple[int, ...],
    relu: bool = False, turn_main: bool = True, plain: int = 0,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """One of queries, keys and values to heads at their place.

    x_FBSC has the 2C channels of both branches; ``weight_2C`` (2, C) normalises each branch by its root mean square
    (None: no norm), ``relu`` follows. Main heads turn by the rotary factors if ``turn_main``, camera heads by
    their token's matrix and rotary factors. Returns the placed heads, whose axes are (F, B, S, 2H, D) in
    ``order``, and the heads of the first ``plain`` branches before turning, (F, B, plain H, S, D), or None.
    """
    job = _Job(heads=heads, relu=relu, turn_main=turn_main, plain=plain, order=order)
    weight = None if weight_2C is None else weight_2C.contiguous()
    return _Placed.apply(x_FBSC, weight, tables, job)


def unplace(x_FBSHD: Tensor, factor_FBHS: Tensor | None, tables: Tables) -> tuple[Tensor, Tensor]:
    """Attention's output as main and camera channels (F, B, S, C) each; strides are taken as they are.

    Main heads are multiplied by the factor if there is one; camera heads return to their rays by the transpose
    of the turn in ``tables``, which has to be the queries'.
    """
    factor = None if factor_FBHS is None else factor_FBHS.float().contiguous()
    main, camera = _Unplaced.apply(x_FBSHD, factor, tables).unbind(0)
    return main, camera
