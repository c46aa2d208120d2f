"""Run by torchrun from the tests: four steps of a tiny training, the weights written by the first process."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import torch

from sana_wm_ros.training.processes import join, leave
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.training.world_model_trainer import WorldModelTrainer

if __name__ == "__main__":
    torch.set_num_threads(1)
    given, out = Path(sys.argv[1]), Path(sys.argv[2])
    with given.open("rb") as file:  # written by the test a moment ago
        training, autoencoder, drives = pickle.load(file)  # noqa: S301 - the test wrote it
    processes = join()
    run = WorldModelTrainer(
        training, Schedule(steps=4, warmup_steps=2), autoencoder, drives, out, processes=processes
    )
    run.run()
    del run  # what holds the group would outlive it, and end the process with an abort now and then
    leave()
