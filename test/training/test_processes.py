"""Two processes that torchrun started train as one does."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_training
import torch

from sana_wm_ros.training.latents import load_drives
from sana_wm_ros.training.processes import Processes, join
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.training.world_model_trainer import WorldModelTrainer
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig

TINY = replace(tiny_training.TINY, frames_per_step=32, save_every_s=1e9)


def torchrun(script: str, *words: Path) -> None:
    """Run a script of this folder on two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(Path(__file__).with_name(script)), *map(str, words)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:4000]  # the first words are the scripts', the last torchrun's


def test_two_gloo_processes_end_with_the_weights_of_one(drives: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    autoencoder = Autoencoder(AutoencoderConfig(latent_channels=4, widths=(8, 8, 8))).requires_grad_(False)
    encoded = load_drives(autoencoder, [drives], tmp_path / "cache")
    alone = WorldModelTrainer(TINY, Schedule(steps=4, warmup_steps=2), autoencoder, encoded, tmp_path / "one")
    alone.run()
    with (tmp_path / "given").open("wb") as file:
        pickle.dump((TINY, autoencoder, encoded), file)
    torchrun("two_processes.py", tmp_path / "given", tmp_path / "two")
    two = torch.load(tmp_path / "two" / "state.pt", weights_only=True)
    one = torch.load(tmp_path / "one" / "state.pt", weights_only=True)
    assert two["step"] == one["step"] == 4
    for name, value in one["model"].items():
        torch.testing.assert_close(two["model"][name], value, atol=2e-5, rtol=1e-3, msg=name)


def test_two_processes_that_share_the_weights_end_with_those_of_one(tmp_path: Path) -> None:
    torchrun("sharded_steps.py", tmp_path / "sharded.pt")
    found = torch.load(tmp_path / "sharded.pt", weights_only=True)
    assert found["local"] <= 0.6 * sum(value.numel() for value in found["alone"].values())
    for name, value in found["alone"].items():
        torch.testing.assert_close(found["sharded"][name], value, atol=1e-4, rtol=1e-3, msg=name)


def test_a_batch_is_dealt_out_and_a_lone_process_keeps_it_all() -> None:
    assert [Processes(rank=r, count=3).mine(7) for r in range(3)] == [[0, 3, 6], [1, 4], [2, 5]]
    assert join() == Processes()
    with pytest.raises(ValueError, match="raise --batch"):
        Processes(rank=0, count=3).mine(2)
