"""Forms of the gated delta rule: ``naive`` is the truth, the others are fast and tested against it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sana_wm_ros.world_model.kernels import chunk, naive

DeltaMemory = Callable[
    [Tensor, Tensor, Tensor | None, Tensor, Tensor, Tensor, tuple[int, ...], bool], tuple[Tensor, Tensor]
]

KERNELS: dict[str, DeltaMemory] = {"naive": naive.delta_memory, "chunk": chunk.delta_memory}


def choose(device_type: str) -> str:
    """The fastest form that runs on a device type; a Triton form for "cuda" will join here."""
    return "chunk"
