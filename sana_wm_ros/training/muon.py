"""Muon in float32: momentum whose matrices are brought near to orthogonal before they are applied.

torch.optim.Muon orthogonalises in bfloat16, which CPUs without bf16 units emulate slowly. The iteration is
the quintic Newton-Schulz of Jordan et al. (2024), its step scaled as by Liu et al. (arXiv 2502.16982) to
AdamW's size.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_A, _B, _C = 3.4445, -4.7750, 2.0315


def orthogonalised(matrix: Tensor, iterations: int = 5) -> Tensor:
    """A matrix of the same singular vectors whose singular values are near one."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.t()
    x = wide / wide.norm().clamp_min(1e-7)
    for _ in range(iterations):
        gram = x @ x.t()
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x if matrix.shape[0] <= matrix.shape[1] else x.t()


class Muon(torch.optim.Optimizer):
    """For weight matrices; convolutions count as matrices (out, rest). Others belong to AdamW."""

    def __init__(
        self, params: Iterable[Any], lr: float = 3e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Apply one step; gradients must be there and finite."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(gradient)
                state["momentum"].lerp_(gradient, 1 - group["momentum"])
                looked_ahead = gradient.lerp(state["momentum"], group["momentum"])  # Nesterov
                matrix = orthogonalised(looked_ahead.flatten(1))
                size = 0.2 * max(matrix.shape) ** 0.5
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(matrix.view_as(parameter), alpha=-group["lr"] * size)


def split_parameters(modules: Iterable[nn.Module]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Weights for Muon (matrices inside blocks and heads) and all others, in a fixed order."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            shape = parameter.flatten(1).shape if parameter.ndim >= 2 else (0, 0)
            inside = not any(word in name for word in ("embedder", "t_block", "final_layer", "table", "out."))
            (matrices if inside and min(shape) >= 16 else others).append(parameter)
    return matrices, others
