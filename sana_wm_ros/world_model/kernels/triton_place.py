"""Kernels that turn heads to their place and back, with norm, ReLU and scale, in one pass over memory each.

The camera's turn back is the transpose of the queries' turn, so both directions and both gradients are one
function, ``_turned``. ``triton_prepare`` launches them.

Letters: F latent frames, B batch, S tokens, H heads per branch (main, then camera), D head width, C = H D,
N = F B S tokens.
"""

from __future__ import annotations

import triton
import triton.language as tl


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
def _tokens(N, B, S, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr, D: tl.constexpr):
    """This program's tokens as a column and channels as a row: token, frame, row of the batch, place, channel, mask."""
    token = (tl.program_id(0) * BLOCK_T + tl.arange(0, BLOCK_T)).to(tl.int64)[:, None]
    d = tl.arange(0, BLOCK_D)[None, :]
    fb = token // S
    return token, fb // B, fb % B, token % S, d, (token < N) & (d < D)


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
def place_kernel(
    x_ptr, weight_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, out_ptr, plain_ptr,
    N, row_stride, B, S, out_f, out_b, out_h, out_s,
    H: tl.constexpr, D: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr, TURN_MAIN: tl.constexpr,
    PLAIN: tl.constexpr, EPS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """One branch of BLOCK_T tokens: to heads at their place, and to the first PLAIN branches' heads as they are."""
    branch = tl.program_id(1)
    token, f, b, s, d, mask = _tokens(N, B, S, BLOCK_T, BLOCK_D, D)
    fb, place, row = token // S, f * S + s, token * row_stride
    inverse = 1.0
    if NORM:
        inverse = _inverse_rms(x_ptr, row, branch, token < N, H, D, BLOCK_D, EPS)
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
    x_ptr, row, weight_ptr, inverse, grad_ptr, plain_grad_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, token, fb, s, S,
    place, at, head, d, branch, mask,
    H: tl.constexpr, D: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr, TURN_MAIN: tl.constexpr,
    PLAIN: tl.constexpr,
):  # fmt: skip
    """The gradient that reaches a head's norm, from its placed form and its plain one back through ReLU.

    With it x / rms and the norm's weight, which its further way needs (0 and 1 where there is no norm).
    """
    grad = _turned(
        grad_ptr, at, 0, d, grad_ptr, 1.0, matrix_ptr, rope_ptr, camera_rope_ptr, token, place, branch == 1, mask,
        D, False, False, TURN_MAIN, True,
    )  # fmt: skip
    if branch < PLAIN:
        grad += tl.load(
            plain_grad_ptr + ((fb * PLAIN * H + head) * S + s) * D + d, mask=mask, other=0.0
        ).to(tl.float32)  # fmt: skip
    unit = tl.zeros_like(grad)
    weight = tl.full(d.shape, 1.0, tl.float32)
    if NORM:
        unit = tl.load(x_ptr + row + head * D + d, mask=mask, other=0.0).to(tl.float32) * inverse
        weight = tl.load(weight_ptr + head * D + d, mask=d < D, other=0.0).to(tl.float32)
        if RELU:
            grad = tl.where(unit * weight > 0.0, grad, 0.0)
    return grad, unit, weight


@triton.jit
def place_grad_kernel(
    x_ptr, weight_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, grad_ptr, plain_grad_ptr, dx_ptr, dweight_ptr,
    N, row_stride, B, S, out_f, out_b, out_h, out_s,
    H: tl.constexpr, D: tl.constexpr, NORM: tl.constexpr, RELU: tl.constexpr, TURN_MAIN: tl.constexpr,
    PLAIN: tl.constexpr, EPS: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """The way back of ``place_kernel``; the norm's weights get one partial sum per program."""
    branch = tl.program_id(1)
    token, f, b, s, d, mask = _tokens(N, B, S, BLOCK_T, BLOCK_D, D)
    fb, place, row = token // S, f * S + s, token * row_stride
    start = f * out_f + b * out_b + s * out_s
    inverse = 1.0
    inner = tl.zeros(row.shape, tl.float32)
    if NORM:
        inverse = _inverse_rms(x_ptr, row, branch, token < N, H, D, BLOCK_D, EPS)
        for h in range(H):
            head = branch * H + h
            grad, unit, weight = _grad_of_value(
                x_ptr, row, weight_ptr, inverse, grad_ptr, plain_grad_ptr, matrix_ptr, rope_ptr, camera_rope_ptr,
                token, fb, s, S, place, start + head * out_h, head, d, branch, mask, H, D, NORM, RELU, TURN_MAIN,
                PLAIN,
            )  # fmt: skip
            partial = tl.sum(grad * unit, 0)[None, :]
            at = dweight_ptr + tl.program_id(0) * 2 * H * D + head * D + d
            tl.store(at, partial, mask=d < D)
            inner += tl.sum(grad * unit * weight, 1)[:, None]
        inner /= H * D
    for h in range(H):
        head = branch * H + h
        grad, unit, weight = _grad_of_value(
            x_ptr, row, weight_ptr, inverse, grad_ptr, plain_grad_ptr, matrix_ptr, rope_ptr, camera_rope_ptr,
            token, fb, s, S, place, start + head * out_h, head, d, branch, mask, H, D, NORM, RELU, TURN_MAIN,
            PLAIN,
        )  # fmt: skip
        if NORM:
            grad = inverse * (grad * weight - unit * inner)
        at = dx_ptr + token * 2 * H * D + head * D + d
        tl.store(at, grad.to(dx_ptr.dtype.element_ty), mask=mask)


@triton.jit
def unplace_kernel(
    x_ptr, factor_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, out_ptr,
    N, B, S, x_f, x_b, x_h, x_s,
    H: tl.constexpr, D: tl.constexpr, FACTOR: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """Attention's output of BLOCK_T tokens to (2, N, C): main heads times their factor, camera heads turned back."""
    branch = tl.program_id(1)
    token, f, b, s, d, mask = _tokens(N, B, S, BLOCK_T, BLOCK_D, D)
    fb = token // S
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
def unplace_grad_kernel(
    x_ptr, factor_ptr, matrix_ptr, rope_ptr, camera_rope_ptr, grad_ptr, dx_ptr, dfactor_ptr,
    N, B, S, x_f, x_b, x_h, x_s,
    H: tl.constexpr, D: tl.constexpr, FACTOR: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    """The way back of ``unplace_kernel``."""
    branch = tl.program_id(1)
    token, f, b, s, d, mask = _tokens(N, B, S, BLOCK_T, BLOCK_D, D)
    fb = token // S
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
