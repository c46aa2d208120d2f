"""Shared set-up: every test process talks DDS in a domain of its own, on this machine only."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _own_ros_domain() -> None:
    """Before rclpy is imported: workers, other checkouts and other ROS systems must not hear each other."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    session = f"{ROOT}:{os.getppid() if worker else os.getpid()}"
    first = int(os.environ.get("ROS_DOMAIN_ID") or 1 + zlib.crc32(session.encode()) % 90)
    offset = int(worker.removeprefix("gw")) if worker else 0
    os.environ["ROS_DOMAIN_ID"] = str((first + offset) % 101)  # Linux has free ports for domains 0 to 101
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"


def _interpret_triton() -> None:
    """Before Triton is imported, where no GPU is: its kernels run as Python, on the CPU's tensors."""
    if not Path("/dev/nvidiactl").exists():
        os.environ.setdefault("TRITON_INTERPRET", "1")


_own_ros_domain()
_interpret_triton()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that holds setup.py."""
    return ROOT


@pytest.fixture(scope="session")
def shared_bags() -> Path:
    """A folder of real recordings that lies beside some checkouts; what needs it skips elsewhere."""
    for parent in ROOT.parents:
        folder = parent / "shared" / "bags"
        if folder.is_dir():
            return folder
    pytest.skip("no real recordings here: no folder shared/bags beside the checkout")
