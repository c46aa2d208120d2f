"""AOTInductor's program of a step imagines what the model does: minutes of compiling, so not among the other tests.

Run it by name, ``python -m pytest test/world_model/aot_inductor.py``; ``scripts/gpu_session.sh`` does.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from test_exporting import assert_imagines_alike

from sana_wm_ros.world_model.exporting import export_model
from sana_wm_ros.world_model.toy import tiny_navigation_model


@pytest.mark.timeout(1800)
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler (g++)")
def test_aot_inductor_imagines_what_the_model_imagines(tmp_path: Path) -> None:
    model = tiny_navigation_model(depth=2, softmax_every=2, window_frames=3)
    export_model(model, tmp_path, "aoti", candidates=2)
    compiled = torch._inductor.aoti_load_package(str(tmp_path / "chunk_step.pt2"))
    with torch.no_grad():
        assert_imagines_alike(model, lambda *inputs: list(compiled(*inputs)), 2)
