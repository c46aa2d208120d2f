"""Small parts of attention blocks that would cost most if left to plain tensor expressions.

On a CPU a pass over memory costs as much as a matrix product here, so these write straight into the
layout that the next product wants, and carry gradients of their own.
Dimension letters: F latent frames, B batch, S tokens, H heads (main, then camera), D head width,
C channels, E channels of a camera head that its token's matrix moves (D/2).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.segment import Segment

# Orders of axes that batched products want, as permutations of (F, B, S, H, D).
SCAN_ORDER, ATTENTION_ORDER = (0, 1, 3, 2, 4), (1, 3, 0, 2, 4)


class RMSNorm(nn.Module):
    """A learned weight on vectors of unit root mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class ShortConv(nn.Module):
    """The weight of a depthwise convolution over time, (C, 1, taps), the present tap last."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, 1, taps))
        with torch.no_grad():
            self.weight[..., -1] = 1.0


def short_conv(x_FBSC: Tensor, tail_EBSC: Tensor | None, weight_CE: Tensor, segment: Segment) -> Tensor:
    """Two-sided convolution over time: the past across chunks through the tail, the future inside chunks.

    y_t = sum_j w_j x_{t-E+j} + the mirrored sum over later frames of the chunk, the present tap once
    (arXiv 2605.15178; the taps of E = 3 earlier and later frames share weights). Without a tail the past,
    too, ends with the chunk.
    """
    frames, earlier = x_FBSC.shape[0], weight_CE.shape[1] - 1
    taps = weight_CE.t()
    out = x_FBSC * taps[earlier]
    for back in range(1, earlier + 1):
        tap = taps[earlier - back]
        if tail_EBSC is None:
            if back < max(segment.chunk_lengths):
                out[back:].addcmul_(x_FBSC[:-back], segment.inside(back)[:-back] * tap)
            continue
        if back < frames:
            out[back:].addcmul_(x_FBSC[:-back], tap)
        first = min(back, frames)
        out[:first].addcmul_(tail_EBSC[earlier - back : earlier - back + first], tap)
    for ahead in range(1, min(earlier, max(segment.chunk_lengths) - 1) + 1):
        inside = segment.inside(ahead)[:-ahead] * taps[earlier - ahead]
        out[:-ahead].addcmul_(x_FBSC[ahead:], inside)
    return out


def last_frames(tail_EBSC: Tensor, x_FBSC: Tensor) -> Tensor:
    """The tail after the frames of x."""
    earlier = tail_EBSC.shape[0]
    if x_FBSC.shape[0] >= earlier:
        return x_FBSC[x_FBSC.shape[0] - earlier :].contiguous()
    return torch.cat([tail_EBSC, x_FBSC])[-earlier:].contiguous()


class _RMSNormed(torch.autograd.Function):
    """x / rms(x) * weight over the last axis, then ReLU if asked."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, relu: bool) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        inverse = (size.square() / x.shape[-1] + eps).rsqrt()
        y = (x * inverse).mul_(weight)
        if relu:
            y.relu_()
        ctx.save_for_backward(x, weight, inverse, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight, inverse, y = ctx.saved_tensors
        grad = grads[0] if y is None else grads[0] * (y > 0)
        unit = x * inverse
        grad_weight = (grad * unit).sum_to_size(weight.shape)
        grad = grad * weight
        inner = (grad * unit).mean(-1, keepdim=True)
        return torch.addcmul(grad, unit, inner, value=-1).mul_(inverse), grad_weight, None, None


def rms_normalised(x: Tensor, weight: Tensor, relu: bool, eps: float = 1e-5) -> Tensor:
    """RMS norm over the last axis (``weight`` broadcasts from the left), then ReLU if asked."""
    return _RMSNormed.apply(x, weight, eps, relu)


def _complex(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def _turn_camera(x_FBSHD: Tensor, matrix_NEE: Tensor, rope: Tensor, out_FBSHD: Tensor) -> None:
    """UCPE of camera heads: rows times the token's matrix on the first half, rotary on the second."""
    F, B, S, H, D = x_FBSHD.shape
    half = D // 2
    torch.mul(_complex(x_FBSHD[..., half:]), rope, out=_complex(out_FBSHD[..., half:]))
    rows = x_FBSHD[..., :half].reshape(F * B * S, H, half)
    out_FBSHD[..., :half].copy_(torch.bmm(rows, matrix_NEE).view(F, B, S, H, half))


class _Placed(torch.autograd.Function):
    """Heads turned to their place, in another order of axes."""

    @staticmethod
    def forward(
        ctx: Any,
        x_FBSHD: Tensor,
        matrix: Tensor,
        rope_main: Tensor | None,
        rope: Tensor,
        order: tuple[int, ...],
    ) -> Tensor:
        H = x_FBSHD.shape[3] // 2
        out = x_FBSHD.new_empty([x_FBSHD.shape[axis] for axis in order])
        as_x = out.permute([order.index(axis) for axis in range(5)])
        if rope_main is None:
            as_x[..., :H, :].copy_(x_FBSHD[..., :H, :])
        else:
            torch.mul(_complex(x_FBSHD[..., :H, :]), rope_main, out=_complex(as_x[..., :H, :]))
        _turn_camera(x_FBSHD[..., H:, :], matrix, rope, as_x[..., H:, :])
        ctx.save_for_backward(matrix, rope_main, rope)
        ctx.order = order
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        matrix, rope_main, rope = ctx.saved_tensors
        grad = grads[0].contiguous().permute([ctx.order.index(axis) for axis in range(5)])
        H = grad.shape[3] // 2
        out = torch.empty(grad.shape, dtype=grad.dtype, device=grad.device)
        if rope_main is None:
            out[..., :H, :].copy_(grad[..., :H, :])
        else:
            torch.mul(_complex(grad[..., :H, :]), rope_main.conj(), out=_complex(out[..., :H, :]))
        _turn_camera(grad[..., H:, :], matrix.transpose(-1, -2), rope.conj(), out[..., H:, :])
        return out, None, None, None, None


def placed(
    x_FBSHD: Tensor, matrix_NEE: Tensor, segment: Segment, order: tuple[int, ...], turn_main: bool
) -> Tensor:
    """Give heads their place: rotary for the main ones (if asked), UCPE for the camera ones.

    ``matrix_NEE`` is the segment's factor for queries or keys; ``order`` says how (F, B, S, H, D) comes
    out. No gradient reaches the camera.
    """
    rope = segment.rope if turn_main else None
    return _Placed.apply(x_FBSHD.float(), matrix_NEE, rope, segment.rope_camera, order)


def renormed(placed: Tensor, x_FBSHD: Tensor, order: tuple[int, ...], eps: float = 1e-6) -> Tensor:
    """Camera heads of ``placed`` shrunk where UCPE made them longer than they were in ``x_FBSHD``.

    Per token and head by min(1, sqrt(mean x^2 + eps) / sqrt(mean placed^2 + eps)), as diffusers does.
    """
    H = x_FBSHD.shape[3] // 2
    as_x = placed.permute([order.index(axis) for axis in range(5)])
    main, camera = as_x[..., :H, :], as_x[..., H:, :]
    before = x_FBSHD[..., H:, :].float().square().mean(-1, keepdim=True) + eps
    after = camera.square().mean(-1, keepdim=True) + eps
    shrink = (before / after).sqrt().clamp(max=1.0)
    return torch.cat([main, camera * shrink], 3).permute(order)


class _Unplaced(torch.autograd.Function):
    """The way back of ``_Placed`` for attention's outputs, split into branches."""

    @staticmethod
    def forward(
        ctx: Any, x_FBSHD: Tensor, factor: Tensor | None, matrix: Tensor, rope: Tensor
    ) -> tuple[Tensor, Tensor]:
        F, B, S, H, D = x_FBSHD.shape
        heads = H // 2
        main, camera = (x_FBSHD.new_empty(F, B, S, heads, D) for _ in range(2))
        if factor is None:
            main.copy_(x_FBSHD[..., :heads, :])
        else:
            torch.mul(x_FBSHD[..., :heads, :], factor, out=main)
        _turn_camera(x_FBSHD[..., heads:, :], matrix, rope.conj(), camera)
        ctx.save_for_backward(x_FBSHD, factor, matrix, rope)
        return main.flatten(-2), camera.flatten(-2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        x_FBSHD, factor, matrix, rope = ctx.saved_tensors
        heads, width = x_FBSHD.shape[3] // 2, x_FBSHD.shape[4]
        main, camera = (grad.unflatten(-1, (heads, width)) for grad in grads)
        out, of_factor = torch.empty_like(x_FBSHD), None
        if factor is None:
            out[..., :heads, :].copy_(main)
        else:
            torch.mul(main, factor, out=out[..., :heads, :])
            of_factor = (main * x_FBSHD[..., :heads, :]).sum(-1, keepdim=True)
        _turn_camera(camera, matrix.transpose(-1, -2), rope, out[..., heads:, :])
        return out, of_factor, None, None


def unplaced(x_FBSHD: Tensor, factor_FBSH1: Tensor | None, segment: Segment) -> tuple[Tensor, Tensor]:
    """Attention's output as main and camera channels (F, B, S, C) each.

    Main heads are multiplied by ``factor_FBSH1`` if there is one; camera heads return to their rays.
    """
    return _Unplaced.apply(x_FBSHD.float(), factor_FBSH1, segment.out_NEE, segment.rope_camera)
