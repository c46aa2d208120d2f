"""Simulator and planner as processes of their own, DDS between them; in a namespace that no real robot hears."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import rclpy

from sana_wm_ros.nodes.live_operator import Operator
from sana_wm_ros.nodes.robot_topics import planner_camera
from sana_wm_ros.simulation.robot import Camera

NAMESPACE = "/sana_wm_live"
PLANNER, SIMULATOR = f"{NAMESPACE}/sana_wm_planner", f"{NAMESPACE}/sana_wm_simulator"
_START_TIMEOUT_S = 180.0

Progress = Callable[[str, float, float], None]
"""Takes a stage, how much of it is done and how much it is."""


class LiveFailed(ChildProcessError):
    """A node did not start, or ended on its own; the message holds what it said last."""


class LiveNodes:
    """Both nodes, running and ready while in its ``with``; their logs are files in ``out``.

    robot: parameters of the simulator node; planner: of the planner node; extra: more of those, ``name:=value``.
    """

    def __init__(
        self,
        operator: Operator,
        out: Path,
        *,
        robot: dict[str, Any],
        planner: dict[str, Any],
        camera: Camera,
        extra: tuple[str, ...] = (),
    ) -> None:
        self._operator, self._out = operator, out
        planner = {
            "use_sim_time": True,
            "autostart": True,
            **planner,
            **planner_camera(camera.T_base_camera_44),
        }
        words = [part for word in extra for part in ("-p", word)]
        self._commands = {
            "simulator": _node("simulator_node", {"clock": True, **robot}),
            "planner": [*_node("planner_node", planner), *words],
        }
        self._stack = contextlib.ExitStack()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> LiveNodes:
        for name, words in self._commands.items():
            self._processes[name] = self._stack.enter_context(_process(name, words, self._out))
        return self

    def __exit__(self, *about: object) -> None:
        self._stack.close()

    def wait_until_ready(self, progress: Progress) -> None:
        """Until the planner is active and hears goals. Raises ``LiveFailed`` where that does not happen."""
        end_s = time.monotonic() + _START_TIMEOUT_S
        while not (self._operator.ready and self._operator.heard):
            self.check()
            if "cannot be configured" in self._tail("planner") or time.monotonic() > end_s:
                raise LiveFailed(
                    f"the planner did not start:\n{self._tail('planner')}\n{self._tail('simulator')}"
                )
            progress("robot and planner start", 0.0, 1.0)
            time.sleep(0.1)

    def check(self) -> None:
        """Raise ``LiveFailed`` when a node ended on its own."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise LiveFailed(f"the {name} ended on its own:\n{self._tail(name)}")

    def _tail(self, name: str, lines: int = 15) -> str:
        text = (self._out / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def operating() -> Iterator[Operator]:
    """An operator with a ROS context of its own; it hears nothing before it is ``spinning``."""
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        yield Operator(context, NAMESPACE)
    finally:
        context.try_shutdown()


def _node(module: str, parameters: dict[str, Any]) -> list[str]:
    words = [f"{n}:={str(v).lower() if isinstance(v, bool) else v}" for n, v in parameters.items()]
    arguments = [part for word in words for part in ("-p", word)]
    module = f"sana_wm_ros.nodes.{module}"
    return [sys.executable, "-m", module, "--ros-args", "-r", f"__ns:={NAMESPACE}", *arguments]


@contextlib.contextmanager
def _process(name: str, words: list[str], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A node's process and its log; ended in good order, as an operator would."""
    with (out / f"{name}.log").open("wb") as log:
        env = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ}  # see planner.launch.py
        process = subprocess.Popen(words, stdout=log, stderr=log, env=env)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
