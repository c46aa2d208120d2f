"""Time and memory of calls on a device, taken so that a GPU's queue can't hide them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sana_wm_ros.evaluation.planner_facts import percentiles


def wait(device: torch.device) -> None:
    """Until the device has done all that was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(call: Callable[[], object], device: torch.device, runs: int, *, warm_up: int = 1) -> dict[str, Any]:
    """Percentiles over ``runs`` calls in seconds and every single one, after some that don't count."""
    taken = []
    for run in range(warm_up + runs):
        wait(device)
        begin = time.perf_counter()
        call()
        wait(device)
        if run >= warm_up:
            taken.append(time.perf_counter() - begin)
    return {**percentiles(np.array(taken)), "all": taken}


def peak_gib(call: Callable[[], object], device: torch.device) -> float | None:
    """GiB that a GPU held at most during a call; None on other devices, whose allocator keeps no count."""
    if device.type != "cuda":
        return None
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    call()
    wait(device)
    return float(torch.cuda.max_memory_allocated(device)) / 2**30


def usable_device(name: str) -> torch.device:
    """The device of that name; ``ValueError`` where it is not to be had."""
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {name}: torch sees no usable GPU here; use --device cpu for a dry run")
    return device
