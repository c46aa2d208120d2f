"""The blocks' big products in FP8 (e4m3), on GPUs that multiply it at twice bfloat16's rate.

Tokens and output channels are scaled one by one, each by its own greatest value: a scale that tokens shared would
let what one candidate imagines depend on the others beside it. Weights stay as they are and turn to FP8 with each
product, which costs little beside many tokens. Nobody has timed this on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]

PRECISIONS = ("auto", "fp8")
GREATEST = torch.finfo(torch.float8_e4m3fn).max
# The first generation whose tensor cores multiply FP8, and the multiple that its products want of every size.
LEAST_CAPABILITY, ALIGNED = (8, 9), 16


def quantised(x_MK: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in e4m3 and the float32 scale (M, 1) that each was divided by."""
    greatest_M1 = torch.linalg.vector_norm(x_MK, torch.inf, dim=-1, keepdim=True, dtype=torch.float32)
    scale_M1 = greatest_M1.clamp(min=1e-12) / GREATEST
    return (x_MK / scale_M1).to(torch.float8_e4m3fn), scale_M1


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """What ``nn.functional.linear`` gives, multiplied in FP8; both widths are multiples of 16. No gradients."""
    (rows, of_rows), (columns, of_columns) = quantised(x.flatten(0, -2)), quantised(weight)
    out = torch._scaled_mm(
        rows, columns.t(), scale_a=of_rows, scale_b=of_columns.t(), out_dtype=torch.bfloat16
    ).to(x.dtype)
    return (out if bias is None else out + bias).unflatten(0, x.shape[:-1])


def why_not(device: torch.device) -> str:
    """Why a device can't multiply FP8, or nothing. It is asked, because not every torch can on every GPU."""
    if device.type != "cuda":
        return f"{device.type} has no FP8 units"
    capability = torch.cuda.get_device_capability(device)
    if capability < LEAST_CAPABILITY:
        had, least = (".".join(map(str, numbers)) for numbers in (capability, LEAST_CAPABILITY))
        return f"{torch.cuda.get_device_name(device)} has compute capability {had}; FP8 begins with {least}"
    try:
        linear(*(torch.ones(ALIGNED, ALIGNED, device=device, dtype=torch.bfloat16) for _ in range(2)))
    except RuntimeError as error:
        return f"torch {torch.__version__} cannot do it here: {str(error).splitlines()[0]}"
    return ""


def use_precision(transformer: nn.Module, precision: str) -> None:
    """Let a transformer's blocks multiply in a precision; ``ValueError`` says why it can't be.

    auto: the type that the weights have. fp8: the joint projections, the outputs and both products of the gated
    convolution, four fifths of a block's arithmetic.
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
    reason = why_not(next(transformer.parameters()).device)
    if reason:
        raise ValueError(f"precision fp8 is not possible: {reason}; use auto")
    multiply_by(transformer, linear)


def multiply_by(transformer: nn.Module, product: Product) -> None:
    """Exchange what the blocks call where they would call ``nn.functional.linear`` on all tokens."""
    for module in transformer.modules():
        if hasattr(module, "linear_of_tokens"):
            module.linear_of_tokens = product  # type: ignore[assignment]


def precision_of(transformer: nn.Module) -> str:
    """What the blocks multiply in, in words."""
    if any(getattr(module, "linear_of_tokens", None) is linear for module in transformer.modules()):
        return "fp8"
    return str(next(transformer.parameters()).dtype).removeprefix("torch.")
