"""What a measurement ran on: processor, memory, accelerator and the versions that matter."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from sana_wm_ros import __version__

_PACKAGES = ("numpy", "opencv-python-headless", "rosbags", "ros-rclpy", "ros-rmw-fastrtps-cpp")


def hardware_facts() -> dict[str, Any]:
    """Processor, usable cores, memory in GiB and accelerators of this machine."""
    return {
        "cpu": cpu_model(Path("/proc/cpuinfo")),
        "cores": usable_cores(),
        "memory_gib": round(memory_bytes() / 2**30, 1),
        "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
    }


def version_facts() -> dict[str, str]:
    """Versions of this package, Python, torch and what messages pass through, as far as installed."""
    found = {"sana_wm_ros": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def cpu_model(cpuinfo: Path) -> str:
    """The processor's name as Linux gives it, else what Python knows."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use, which a container may have cut."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_bytes() -> int:
    """Installed memory."""
    return int(os.sysconf("SC_PAGE_SIZE")) * int(os.sysconf("SC_PHYS_PAGES"))


def hardware_line(facts: dict[str, Any]) -> str:
    """The facts in a few words for a heading."""
    gpus = ", ".join(facts["gpus"]) or "no GPU"
    return f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']:g} GiB, {gpus}"
