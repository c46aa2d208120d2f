"""Fixtures for tests over DDS: a tiny model on disk, planner nodes, a robot's rig, small recordings."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

DOMAIN = int(os.environ["ROS_DOMAIN_ID"])  # one of this test process's own: test/conftest.py


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with random weights whose heads say "free space": fast, and it lets the robot drive."""
    from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
    from sana_wm_ros.world_model.checkpoint import save_model
    from sana_wm_ros.world_model.config import TransformerConfig
    from sana_wm_ros.world_model.heads import Heads, HeadsConfig
    from sana_wm_ros.world_model.model import NavigationModel
    from sana_wm_ros.world_model.transformer import SanaTransformer

    torch.manual_seed(0)
    config = TransformerConfig(
        width=16,
        depth=2,
        heads=2,
        head_width=8,
        latent_channels=4,
        latent_height=2,
        latent_width=3,
        softmax_every=2,
    )
    images = AutoencoderConfig(
        image_height=32,
        image_width=48,
        latent_channels=4,
        widths=(8, 8, 8),
        encoder_depths=(1, 1, 1),
        decoder_depths=(1, 1, 1),
    )
    heads = Heads(HeadsConfig(hidden=16), config.width, config.tokens)
    with torch.no_grad():
        heads.out.weight.mul_(0.01)
        heads.out.bias.zero_()
        heads.out.bias[0] = -5.0
        heads.out.bias[2 : 2 + heads.config.sectors] = math.log(6.0)
    model = NavigationModel(SanaTransformer(config), heads, Autoencoder(images))
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, model, card="Random weights: free space everywhere.")
    return folder


class Log:
    """What nodes of this process log from ``listen`` on. Unlike ``capfd`` it loses nothing when it is read often."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch()

    @property
    def text(self) -> str:
        """Everything that was written so far."""
        return self._path.read_text(encoding="utf-8", errors="replace")

    def has(self, *texts: str) -> bool:
        """Whether all of these were written."""
        text = self.text
        return all(wanted in text for wanted in texts)

    def listen(self) -> None:
        """Send stderr to a file. Within a test only: pytest points stderr elsewhere between its phases."""
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, 2)
        os.close(file)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    """The log of the nodes that ``start_node`` starts; shown when the test fails."""
    log = Log(tmp_path / "stderr.txt")
    yield log
    sys.stderr.write(log.text)


@pytest.fixture
def ros() -> Iterator[object]:
    """An rclpy context of the test's own."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    yield context
    context.try_shutdown()


MakeNode = Callable[..., object]


@pytest.fixture
def start_node(ros: object, model_folder: Path, log: Log) -> Iterator[MakeNode]:
    """Start planner nodes in this process: ``start_node(load_model=None, active=True, **parameters)``."""
    from rclpy.executors import MultiThreadedExecutor
    from rclpy.parameter import Parameter

    from sana_wm_ros.nodes.planner_node import PlannerNode, spin

    running = []

    def start(*, load_model: object = None, active: bool = True, **parameters: object) -> PlannerNode:
        log.listen()
        values = {"model.path": str(model_folder), "planner.rate_hz": 2.0, "planner.candidates": 4}
        values |= {"planner.horizon_s": 4.0, "model.threads": 1}
        values |= {name.replace("__", "."): value for name, value in parameters.items()}
        overrides = [Parameter(name, value=value) for name, value in values.items()]
        node = PlannerNode(load_model=load_model, context=ros, parameter_overrides=overrides)
        executor = MultiThreadedExecutor(4, context=ros)
        executor.add_node(node)
        ended = threading.Event()
        spinner = threading.Thread(target=spin, args=(node, executor, ended, []), daemon=True)
        spinner.start()
        running.append((node, executor, ended, spinner))
        if active:
            assert node.autostart()
        return node

    yield start
    for node, executor, ended, spinner in running:
        ended.set()
        executor.shutdown(timeout_sec=2.0)
        spinner.join(timeout=5.0)
        node.close()
        node.destroy_node()


@pytest.fixture
def make_rig() -> Iterator[Callable[..., object]]:
    """Make rigs, each with a DDS participant of its own, as on a robot: ``make_rig(sim_start_s=100.0)``."""
    import rclpy
    from robot_rig import RobotRig

    running = []

    def make(**options: object) -> RobotRig:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=DOMAIN)
        running.append((RobotRig(context, **options), context))
        return running[-1][0]

    yield make
    for rig, context in running:
        rig.close()
        context.try_shutdown()


@pytest.fixture
def rig(make_rig: Callable[..., object]) -> object:
    """A robot's sensors, and an ear on its commands."""
    return make_rig()


@pytest.fixture
def make_bag(tmp_path: Path) -> Callable[..., Path]:
    """Write small recordings: ``make_bag(storage="mcap", seconds=4.0, ...)``."""
    from bag_maker import write_bag

    def make(**options: Any) -> Path:
        return write_bag(tmp_path / f"recording_{len(list(tmp_path.iterdir()))}", **options)

    return make
