"""The blocks' big products in FP8 (e4m3), on GPUs that multiply it at twice bfloat16's rate.

Tokens and output channels are scaled one by one, each by its own greatest value: a scale that tokens shared would
let what one candidate imagines depend on the others beside it. Weights stay as they are and turn to FP8 with each
product, which costs little beside many tokens. Nobody has timed this on a GPU yet.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
