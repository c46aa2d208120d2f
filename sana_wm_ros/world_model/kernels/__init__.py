"""Forms of the gated delta rule, and which one a device gets: ``naive`` is the truth, the others are fast.

``naive`` is a readable recurrence, ``chunk`` batched matrix products (CPUs), ``triton`` kernels of our own (CUDA)
that also take over what comes before and after attention, ``portable`` what compilers and exporters can follow.
Each is tested against the first.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from sana_wm_ros.world_model.kernels import chunk, naive, portable

DeltaMemory = Callable[
    [Tensor, Tensor, Tensor | None, Tensor, Tensor, Tensor, tuple[int, ...], bool], tuple[Tensor, Tensor]
]
NAMES = ("naive", "chunk", "portable", "triton")
# The first generation whose tensor cores multiply bf16.
LEAST_CAPABILITY = (8, 0)


@dataclass(frozen=True, kw_only=True)
class Form:
    """One way to compute attention over frames.

    fused: the module with ``prepare`` and ``unplace`` for what comes before and after (None: the tensor
    expressions in ``layers``).
    """

    delta_memory: DeltaMemory
    fused: Any = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which form a device gets, and why, in words for people."""

    name: str
    reason: str


@lru_cache(maxsize=len(NAMES))
def form(name: str) -> Form:
    """A form by its name. Triton is imported only when its form is asked for."""
    if name == "naive":
        return Form(delta_memory=naive.delta_memory)
    if name == "chunk":
        return Form(delta_memory=chunk.delta_memory)
    if name == "portable":
        return Form(delta_memory=portable.delta_memory, fused=portable)
    if name == "triton":
        memory, prepare = (
            importlib.import_module(f"{__name__}.triton_{part}") for part in ("memory", "prepare")
        )
        return Form(delta_memory=memory.delta_memory, fused=prepare)
    raise ValueError(f"no form is called {name!r}; there are {', '.join(NAMES)}")


@lru_cache(maxsize=16)
def choose(device: torch.device) -> Choice:
    """The fastest form that runs on a device, with the reason."""
    if device.type != "cuda":
        return Choice(name="chunk", reason=f"{device.type}: batched matrix products; Triton is for CUDA")
    if importlib.util.find_spec("triton") is None:
        return Choice(name="chunk", reason="cuda, but Triton is not installed: pip install triton")
    capability = torch.cuda.get_device_capability(device)
    called = f"{torch.cuda.get_device_name(device)}, compute capability {capability[0]}.{capability[1]}"
    if capability < LEAST_CAPABILITY:
        least = ".".join(map(str, LEAST_CAPABILITY))
        return Choice(name="chunk", reason=f"{called}: below {least}, the least that the kernels are for")
    return Choice(name="triton", reason=called)
