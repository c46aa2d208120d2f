"""The moving average of a model's weights, which is what gets exported.

The average's memory grows with the training (up to ``decay``), so a young run is not weighed down by its
start.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential moving average of all floating point weights and buffers of ``model``."""

    def __init__(self, model: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the present weights in."""
        self.updates += 1
        share = 1.0 - min(self.decay, (1.0 + self.updates) / (10.0 + self.updates))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, share)
            else:
                self.values[name].copy_(value)

    def state_dict(self) -> dict[str, object]:
        return {"updates": self.updates, "values": self.values}

    def load_state_dict(self, state: dict[str, object]) -> None:
        values = state["values"]
        assert isinstance(values, dict)
        if set(values) != set(self.values):
            raise ValueError("the averaged weights belong to another model; start a new run folder")
        self.updates = int(state["updates"])  # type: ignore[call-overload]
        for name, value in values.items():
            assert isinstance(value, Tensor)
            self.values[name].copy_(value)
