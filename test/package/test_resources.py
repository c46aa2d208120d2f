"""The package finds its own files in a checkout and under an installation prefix."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sana_wm_ros.resources import share_path


def test_in_a_checkout_the_files_beside_the_code_are_used(checkout: Path) -> None:
    assert share_path("package.xml") == checkout / "package.xml"


def test_under_a_prefix_the_share_folder_is_used(checkout: Path, tmp_path: Path) -> None:
    site = tmp_path / "install" / "lib" / "python3.12" / "site-packages"
    share = tmp_path / "install" / "share" / "sana_wm_ros"
    (share / "config").mkdir(parents=True)
    (share / "package.xml").write_text("<package/>")
    (share / "config" / "planner.yaml").write_text("")
    (site / "sana_wm_ros").mkdir(parents=True)
    for name in ("__init__.py", "resources.py"):
        shutil.copy(checkout / "sana_wm_ros" / name, site / "sana_wm_ros" / name)
    code = "from sana_wm_ros.resources import share_path; print(share_path('config', 'planner.yaml'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=site, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == share / "config" / "planner.yaml"


def test_a_missing_file_is_named_with_the_places_that_were_tried() -> None:
    with pytest.raises(FileNotFoundError, match=r"without models/none: not in .*models/none"):
        share_path("models", "none")
