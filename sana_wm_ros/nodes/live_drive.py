"""A closed-loop drive without anything installed but wheels: simulator and planner as processes, DDS between.

The robot looks around once, then gets a goal. Everything is in a namespace of its own, so that no real robot on
the same network hears the commands. Two bags come out: what the robot said, and what the planner said.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy

from sana_wm_ros.nodes.bag_recorder import BagRecorder
from sana_wm_ros.nodes.live_operator import Operator
from sana_wm_ros.nodes.simulator_node import planner_camera
from sana_wm_ros.simulation.drive import DriveConfig, Scene, draw_scene
from sana_wm_ros.simulation.live_robot import goal_for
from sana_wm_ros.simulation.messages import Messages

NAMESPACE = "/sana_wm_live"
PLANNER, SIMULATOR = f"{NAMESPACE}/sana_wm_planner", f"{NAMESPACE}/sana_wm_simulator"
ROBOT_TOPICS = {
    f"{NAMESPACE}/image": "sensor_msgs/msg/Image",
    f"{NAMESPACE}/camera_info": "sensor_msgs/msg/CameraInfo",
    f"{NAMESPACE}/odom": "nav_msgs/msg/Odometry",
    f"{NAMESPACE}/scan": "sensor_msgs/msg/LaserScan",
    f"{NAMESPACE}/contact": "std_msgs/msg/Bool",
    f"{SIMULATOR}/true_pose": "geometry_msgs/msg/PoseStamped",
    f"{SIMULATOR}/movers": "geometry_msgs/msg/PoseArray",
    f"{NAMESPACE}/cmd_vel": "geometry_msgs/msg/TwistStamped",
}
PLANNER_TOPICS = {
    f"{NAMESPACE}/plan": "nav_msgs/msg/Path",
    f"{NAMESPACE}/odom": "nav_msgs/msg/Odometry",
    f"{NAMESPACE}/cmd_vel": "geometry_msgs/msg/TwistStamped",
    f"{NAMESPACE}/goal_pose": "geometry_msgs/msg/PoseStamped",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    f"{PLANNER}/rollouts": "visualization_msgs/msg/MarkerArray",
    f"{PLANNER}/critics": "diagnostic_msgs/msg/DiagnosticArray",
    f"{PLANNER}/imagined/scan": "sensor_msgs/msg/LaserScan",
    f"{PLANNER}/imagined/film_strip": "sensor_msgs/msg/Image",
}
_START_TIMEOUT_S = 180.0
_LOOK_RATE_RADPS = 0.9


class LiveFailed(ChildProcessError):
    """A node did not start, or ended on its own; the message holds what it said last."""


@dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """What to drive. goal: (x, y) in odometry's frame, which is the building's at the start; None: by the seed.

    seconds: simulated time that the drive may take after the goal was given. look: turn around once before.
    rate: times real time; below 1 gives the planner of a slow machine more time to think per second.
    parameters: more of the planner's parameters, as ``name:=value``.
    """

    out: Path
    model: str = "nano"
    seed: int = 900_003
    family: str = "lab"
    goal: tuple[float, float] | None = None
    seconds: float = 60.0
    look: bool = True
    rate: float = 1.0
    width: int = 192
    height: int = 128
    parameters: tuple[str, ...] = ()

    @property
    def config(self) -> DriveConfig:
        """As the simulator node makes it."""
        return DriveConfig(family=self.family, width=self.width, height=self.height, lens=True)


@dataclass(kw_only=True)
class LiveSummary:
    """What came of a drive. Distances in metres, times in simulated seconds where not said otherwise."""

    seed: int
    family: str
    goal: tuple[float, float]
    reached: bool = False
    first_distance_m: float = math.nan
    last_distance_m: float = math.nan
    took_s: float = math.nan
    driven_m: float = 0.0
    contacts: int = 0
    plans: int = 0
    stops: dict[str, int] = field(default_factory=dict)
    wall_s: float = math.nan
    simulated_s: float = math.nan

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def live_drive(options: LiveOptions, progress: Callable[[str, float, float], None]) -> LiveSummary:
    """Drive; ``progress`` gets a stage, how much of it is done and how much it is.

    Raises ``FileExistsError`` or ``LiveFailed``. KeyboardInterrupt ends the drive early, in good order.
    """
    scene = draw_scene(options.seed, options.config)
    goal = options.goal or tuple(float(value) for value in goal_for(scene))
    options.out.mkdir(parents=True, exist_ok=True)
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        with contextlib.ExitStack() as stack:
            operator = Operator(context, NAMESPACE)
            robot_bag = stack.enter_context(BagRecorder(options.out / "robot", operator.now_ns))
            planner_bag = stack.enter_context(BagRecorder(options.out / "bag", operator.now_ns))
            operator.record(robot_bag, ROBOT_TOPICS)
            operator.record(planner_bag, PLANNER_TOPICS)
            stack.enter_context(operator.spinning())
            nodes = [
                stack.enter_context(_process(name, words, options.out))
                for name, words in _commands(options, scene).items()
            ]
            _wait_until_ready(operator, nodes, options.out, progress)
            _tell_camera(robot_bag, operator, scene)
            operator.begin()
            summary = LiveSummary(seed=options.seed, family=options.family, goal=(goal[0], goal[1]))
            begin_s, wall_s = operator.time_s, time.monotonic()
            with contextlib.suppress(KeyboardInterrupt):
                if options.look:
                    _look_around(operator, nodes, options.out, progress)
                _drive_to(operator, summary, options, nodes, progress)
            summary.simulated_s, summary.wall_s = operator.time_s - begin_s, time.monotonic() - wall_s
    finally:
        context.try_shutdown()
    return summary


def _commands(options: LiveOptions, scene: Scene) -> dict[str, list[str]]:
    """Command lines of both nodes."""
    robot = {
        "seed": options.seed,
        "family": options.family,
        "width": options.width,
        "height": options.height,
        "rate": options.rate,
        "clock": True,
    }
    planner = {"use_sim_time": True, "autostart": True, "model.path": options.model, "visual.scale": 2}
    planner |= planner_camera(scene.camera)
    extra = [part for word in options.parameters for part in ("-p", word)]
    return {
        "simulator": _node("simulator_node", robot),
        "planner": [*_node("planner_node", planner), *extra],
    }


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


def _wait_until_ready(
    operator: Operator,
    nodes: list[subprocess.Popen[bytes]],
    out: Path,
    progress: Callable[[str, float, float], None],
) -> None:
    end_s = time.monotonic() + _START_TIMEOUT_S
    while not (operator.ready and operator.heard):
        _check(nodes, out)
        if "cannot be configured" in _tail(out, "planner") or time.monotonic() > end_s:
            raise LiveFailed(
                f"the planner did not start:\n{_tail(out, 'planner')}\n{_tail(out, 'simulator')}"
            )
        progress("robot and planner start", 0.0, 1.0)
        time.sleep(0.1)


def _look_around(
    operator: Operator,
    nodes: list[subprocess.Popen[bytes]],
    out: Path,
    progress: Callable[[str, float, float], None],
) -> None:
    """Turn once, so that the planner knows what is around it."""
    begin_s, takes_s = operator.time_s, 2 * math.pi / _LOOK_RATE_RADPS
    while (gone_s := operator.time_s - begin_s) < takes_s:
        _check(nodes, out)
        operator.command(0.0, _LOOK_RATE_RADPS)
        progress("looking around", gone_s, takes_s)
        operator.wait(0.1)
    operator.command(0.0, 0.0)


def _drive_to(
    operator: Operator,
    summary: LiveSummary,
    options: LiveOptions,
    nodes: list[subprocess.Popen[bytes]],
    progress: Callable[[str, float, float], None],
) -> None:
    """Give the goal and watch until it is reached, or time is over."""
    operator.send_goal(*summary.goal)
    begin_s = operator.time_s
    summary.first_distance_m = _distance(operator, summary.goal)
    while (gone_s := operator.time_s - begin_s) < options.seconds and not summary.reached:
        _check(nodes, options.out)
        operator.wait(0.1)
        summary.last_distance_m = _distance(operator, summary.goal)
        summary.reached = "goal reached" in operator.watcher.motion or summary.last_distance_m < 0.29
        progress("driving", gone_s, options.seconds)
    summary.took_s = operator.time_s - begin_s
    operator.wait(0.5)  # the last outputs are under way
    summary.driven_m, summary.contacts = operator.driven_m, operator.contacts
    summary.plans = max(operator.watcher.cycles_s, default=0)
    summary.stops = operator.watcher.stops()


def _distance(operator: Operator, goal: tuple[float, float]) -> float:
    assert operator.pose_3 is not None
    return float(np.hypot(*(operator.pose_3[:2] - goal)))


def _tell_camera(bag: BagRecorder, operator: Operator, scene: Scene) -> None:
    """Write the camera's place as a robot's /tf_static; there may be no tf2_msgs to send it with."""
    messages = Messages(2)
    message = messages.base_to_camera(round(operator.time_s * 1e9), scene.camera)
    bag.announce("/tf_static", message.__msgtype__)
    data = messages.store.serialize_cdr(message, message.__msgtype__)
    bag.write("/tf_static", round(operator.time_s * 1e9), bytes(data))


def _check(nodes: list[subprocess.Popen[bytes]], out: Path) -> None:
    for name, process in zip(("simulator", "planner"), nodes, strict=True):
        if process.poll() is not None:
            raise LiveFailed(f"the {name} ended on its own:\n{_tail(out, name)}")


def _tail(out: Path, name: str, lines: int = 15) -> str:
    text = (out / f"{name}.log").read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
