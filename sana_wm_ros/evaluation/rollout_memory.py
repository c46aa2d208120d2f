"""A process that imagines once and says what memory that took at most; started by ``rollout_benchmark``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from sana_wm_ros.evaluation.rollout_benchmark import SHORT_S, driven_context, imagine, named_model

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def main(words: list[str]) -> None:
    """Arguments: model folder, seconds, candidates, seconds of context, threads, device."""
    folder, seconds, candidates, context_s, threads, device = words
    torch.set_num_threads(int(threads))
    model = named_model(folder, torch.device(device))
    context = driven_context(model, float(context_s))
    imagine(model, context, int(candidates), SHORT_S / 5)  # what is allocated once is no growth
    start = _begin(device)
    imagine(model, context, int(candidates), float(seconds))
    peak = _peak(device)
    sys.stdout.write(
        json.dumps({"start_mib": start, "peak_mib": peak, "above_start_mib": peak - start}) + "\n"
    )


def _begin(device: str) -> float:
    """Forget the peak so far; MiB in use now."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated()) / 2**20
    _CLEAR.write_text("5", encoding="ascii")  # proc(5): resets VmHWM
    return _field("VmRSS")


def _peak(device: str) -> float:
    if device.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated()) / 2**20
    return _field("VmHWM")


def _field(name: str) -> float:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise OSError(f"{_STATUS} has no {name}: memory is measured on Linux only")


if __name__ == "__main__":
    main(sys.argv[1:])
