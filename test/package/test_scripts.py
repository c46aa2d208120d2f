"""The scripts behind ``make`` and continuous integration are whole, and refuse what they cannot work with."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPTS = [".ci/run", "scripts/make_venv.sh", "scripts/lock.sh", "scripts/gpu_session.sh"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_may_be_executed_and_parses(checkout: Path, name: str) -> None:
    assert os.access(checkout / name, os.X_OK)
    done = subprocess.run(["bash", "-n", str(checkout / name)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_no_environment_is_made_with_a_python_that_is_not_supported(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\nexit 1\n")  # what `import sys; sys.exit(version is too old)` gives
    old.chmod(0o755)
    command = [str(checkout / "scripts" / "make_venv.sh"), str(tmp_path / "venv"), str(old)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no Python 3.10 to 3.14" in done.stderr
    assert str(old) in done.stderr
    assert not (tmp_path / "venv").exists()
