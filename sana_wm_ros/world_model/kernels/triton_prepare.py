"""What comes before and after attention in one pass over memory each: norm, ReLU, scale, rotary and UCPE.

``prepare`` reads projections (F, B, S, 2C) and writes queries, keys and values of all heads, turned to their place,
in the order of axes that the next product wants; ``unplace`` takes attention's output back. The kernels are in
``triton_place``.

Letters: F latent frames, B batch, S tokens, H heads per branch (main, then camera), D head width, C = H D,
N = F B S tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from sana_wm_ros.world_model.kernels.tables import Tables
from sana_wm_ros.world_model.kernels.triton_place import (
    place_grad_kernel,
    place_kernel,
    unplace_grad_kernel,
    unplace_kernel,
)

BLOCK_TOKENS = 16


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What ``place_kernel`` does to one of queries, keys and values."""

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
        place_kernel[grid](
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
        place_grad_kernel[grid](
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
        unplace_kernel[grid](
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
        unplace_grad_kernel[grid](
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
