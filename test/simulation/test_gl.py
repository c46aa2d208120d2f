"""The simulator's pictures live in one process with torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mujoco", reason="MuJoCo (extra sim) is not installed")

CODE = """
from sana_wm_ros.simulation.gl import NoPictures, mujoco, open_gl_context
try:
    open_gl_context(96, 64)
except NoPictures as error:
    raise SystemExit(f"skip: {error}")
model = mujoco.MjModel.from_xml_string('<mujoco><worldbody><geom type="plane" size="1 1 .1"/></worldbody></mujoco>')
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
scene, camera = mujoco.MjvScene(model, 100), mujoco.MjvCamera()
mujoco.mjv_updateScene(model, data, mujoco.MjvOption(), None, camera, mujoco.mjtCatBit.mjCAT_ALL, scene)
context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
mujoco.mjr_render(mujoco.MjrRect(0, 0, 96, 64), scene, context)
import torch
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(3))])
print("both")
"""


def test_an_optimizer_can_be_made_after_a_picture_was_drawn(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=checkout, capture_output=True, text=True, timeout=150
    )
    if "skip:" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.stdout.strip() == "both", done.stderr[-2000:]
