"""What a transformer's blocks multiply in: what their device does best, bfloat16, or FP8; a device without is refused.

On CPUs float32 is the best choice but where AMX units multiply bfloat16, which nobody has timed yet: it is asked for
by name.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model import fp8

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]

PRECISIONS = ("auto", "bf16", "fp8")


def use_precision(transformer: nn.Module, precision: str) -> None:
    """Let a transformer's blocks multiply in a precision; ``ValueError`` says why it can't be.

    auto: the type that the weights have. bf16: all of the transformer, on GPUs and on CPUs with AMX. fp8: the joint
    projections, the outputs and both products of the gated convolution, four fifths of a block's arithmetic.
    """
    if precision == "auto":
        return
    if precision == "nvfp4":
        raise ValueError(
            "precision nvfp4 is not there: it needs a scale for every 16 numbers, laid out in tiles of their own, and "
            "a GPU of compute capability 10.0 to check them on; use fp8 or auto"
        )
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    device = next(transformer.parameters()).device
    reason = fp8.why_not(device) if precision == "fp8" else why_no_bf16(device)
    if reason:
        raise ValueError(f"precision {precision} is not possible: {reason}; use auto")
    if precision == "bf16":
        transformer.bfloat16()
    else:
        multiply_by(transformer, fp8.linear)


def multiply_in_bf16(transformer: nn.Module) -> None:
    """Mixed precision for training: blocks multiply tokens in bfloat16, all else stays as it is.

    Autocast would also take the memory's scan and the camera's 4 x 4 matrices, which need all their digits. Raises
    ``ValueError`` where bfloat16 gains nothing.
    """
    reason = why_no_bf16(next(transformer.parameters()).device)
    if reason:
        raise ValueError(f"precision bf16 is not possible: {reason}; use fp32")
    multiply_by(transformer, linear_in_bf16)


def linear_in_bf16(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What ``nn.functional.linear`` gives, in the type of ``x``, multiplied in bfloat16; gradients likewise."""
    rounded = None if bias is None else bias.bfloat16()
    return nn.functional.linear(x.bfloat16(), weight.bfloat16(), rounded).to(x.dtype)


def why_no_bf16(device: torch.device) -> str:
    """Why a device can't multiply bfloat16 faster than float32, or nothing."""
    if device.type == "cpu" and not torch.cpu._is_amx_tile_supported():
        return "this CPU has no AMX units, without which bfloat16 is slower than float32"
    return ""


def multiply_by(transformer: nn.Module, product: Product) -> None:
    """Exchange what the blocks call where they would call ``nn.functional.linear`` on all tokens."""
    for module in transformer.modules():
        if hasattr(module, "linear_of_tokens"):
            module.linear_of_tokens = product  # type: ignore[assignment]


def precision_of(transformer: nn.Module) -> str:
    """What the blocks multiply in, in words."""
    if any(getattr(module, "linear_of_tokens", None) is fp8.linear for module in transformer.modules()):
        return "fp8"
    return str(next(transformer.parameters()).dtype).removeprefix("torch.")
