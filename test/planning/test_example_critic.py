"""A critic from a package of its own, installed as a user would, takes part in planning."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

PROGRAM = """
from sana_wm_ros.planning.critic_manager import CriticManager, available
print(available()["keep_right"].value)
print(CriticManager.load(sorted(available())).weights["keep_right"])
"""


@pytest.fixture(scope="module")
def installed(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("example")
    source, target = folder / "source", folder / "target"
    shutil.copytree(checkout / "examples" / "sana_wm_example_critic", source)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    command += ["--no-index", "--disable-pip-version-check", "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return target


def test_it_is_found_and_has_its_weight(installed, checkout):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": f"{installed}:{checkout}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["sana_wm_example_critic.keep_right:KeepRight", "1.0"], done.stderr


def test_it_costs_by_hand(installed, kit, monkeypatch):
    # 1 m to the left and 3 m to the right: 3 / 4. The other way round: 1 / 4.
    monkeypatch.syspath_prepend(str(installed))
    from sana_wm_example_critic.keep_right import KeepRight

    clearance = torch.full((2, 4, 24), 8.0)
    clearance[0, :, 6], clearance[0, :, 18] = 1.0, 3.0
    clearance[1, :, 6], clearance[1, :, 18] = 3.0, 1.0
    futures = kit.futures(np.zeros((2, 4, 3)), clearance=clearance)
    assert KeepRight().score(futures).tolist() == pytest.approx([0.75, 0.25])
