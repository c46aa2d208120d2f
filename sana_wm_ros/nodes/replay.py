"""A recording through the very node that runs on the robot: player here, planner in a process of its own, DDS between.

The planner's commands go to ``/replay/cmd_vel``, never to a topic that a real robot on the same network hears.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from sana_wm_ros.evaluation.bag_facts import TF, BagFacts, read_facts
from sana_wm_ros.nodes.bag_player import BagPlayer
from sana_wm_ros.nodes.bag_recorder import BagRecorder
from sana_wm_ros.nodes.replay_goals import GoalPlan, GoalSender
from sana_wm_ros.nodes.replay_setup import planner_setup
from sana_wm_ros.nodes.replay_watcher import MemoryMeter, Watcher

PLANNER = "/sana_wm_planner"
_OUTPUTS = {
    "/plan": "nav_msgs/msg/Path",
    "/replay/cmd_vel": "geometry_msgs/msg/TwistStamped",
    "/diagnostics": "diagnostic_msgs/msg/DiagnosticArray",
    f"{PLANNER}/rollouts": "visualization_msgs/msg/MarkerArray",
    f"{PLANNER}/critics": "diagnostic_msgs/msg/DiagnosticArray",
    f"{PLANNER}/imagined/scan": "sensor_msgs/msg/LaserScan",
    f"{PLANNER}/imagined/film_strip": "sensor_msgs/msg/Image",
}
_START_TIMEOUT_S = 180.0


class ReplayFailed(ChildProcessError):
    """The planner did not start, or ended on its own; the message holds what it said last."""


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """What to replay, and how.

    seconds: play no more than this of the recording.
    topics: planner input ("image", "odom", ...) to the recording's topic, where types do not tell.
    robot_speed_mps: None takes the recording's own speed when that is above the default robot's.
    parameters: more of the planner's parameters, as ``name:=value``.
    """

    bag: Path
    out: Path
    model: str = "nano"
    rate: float = 1.0
    seconds: float = float("inf")
    passes: int = 1
    goal: GoalPlan = field(default_factory=lambda: GoalPlan(ahead_s=10.0))
    topics: dict[str, str] = field(default_factory=dict)
    robot_speed_mps: float | None = None
    parameters: tuple[str, ...] = ()
    record_inputs: bool = True
    overwrite: bool = False


@dataclass(kw_only=True)
class ReplaySummary:
    """What came of a replay. Durations in seconds, memory in MiB."""

    bag: str = ""
    output_bag: str = ""
    played_s: float = 0.0
    wall_s: float = 0.0
    plans: int = 0
    plans_per_s: float = 0.0
    wanted_plans_per_s: float = 0.0
    plan_p50_s: float = float("nan")
    plan_p95_s: float = float("nan")
    late: int = 0
    skipped_turns: int = 0
    late_untold: int = 0
    stops: dict[str, int] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    lost_pictures: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    peak_memory_mib: float = float("nan")
    memory_mib: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def planner_command(options: ReplayOptions, facts: BagFacts) -> list[str]:
    """The command line that starts the planner for a recording."""
    parameters, remaps = planner_setup(facts, model=options.model, robot_speed_mps=options.robot_speed_mps)
    words = [f"{name}:={_yaml(value)}" for name, value in parameters.items()] + list(options.parameters)
    arguments = [part for word in words for part in ("-p", word)]
    arguments += [part for name, topic in remaps.items() for part in ("-r", f"{name}:={topic}")]
    return [sys.executable, "-m", "sana_wm_ros.nodes.planner_node", "--ros-args", *arguments]


def _yaml(value: bool | int | float | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def replay(options: ReplayOptions, progress: Callable[[str, float, float, Watcher], None]) -> ReplaySummary:
    """Run it; ``progress`` gets a stage, seconds played, seconds in all, and what the planner told so far.

    Raises ``BadBag``, ``FileExistsError`` or ``ReplayFailed``. KeyboardInterrupt ends it early, in good order.
    """
    facts = read_facts(options.bag, options.topics)
    notes = []
    if facts.camera_xyz_rpy is None:
        notes.append("the recording does not say where the camera is: camera.x ... camera.yaw were used")
    if "camera_info" not in facts.topics and not any("horizontal_fov_deg" in p for p in options.parameters):
        raise ValueError(
            f"{options.bag} has no camera_info: give the camera's field of view with "
            "--param camera.horizontal_fov_deg:=DEGREES"
        )
    target = options.out / "bag"
    if target.exists() and options.overwrite:
        shutil.rmtree(target)
    options.out.mkdir(parents=True, exist_ok=True)
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("sana_wm_replay", context=context)
    recorder: BagRecorder | None = None
    player = BagPlayer(
        node, facts, on_message=lambda *message: recorder.write(*message) if recorder else None
    )
    picture_topic = facts.topics["image"].name
    watcher = Watcher(lambda: player.sent[picture_topic])
    notes += [f"not sent: {what}" for what in player.left_out]
    try:
        with contextlib.ExitStack() as stack:
            recorder = stack.enter_context(BagRecorder(target, lambda: player.file_ns))
            stack.enter_context(_listening(node, context, recorder, watcher, options, facts))
            planner = stack.enter_context(_planner(options, facts))
            _wait_for_planner(planner, player, watcher, options.out, progress)
            meter = MemoryMeter(planner.pid)
            goals = GoalSender(node, facts, options.goal)
            total_s = min(options.seconds, facts.duration_s * max(1, options.passes))

            def go_on() -> bool:
                if planner.poll() is not None:
                    raise ReplayFailed(f"the planner ended on its own:\n{_tail(options.out)}")
                goals.send(player)
                meter.look()
                progress("playing", player.played_s, total_s, watcher)
                return player.played_s < options.seconds

            watcher.begin()
            play_s = time.monotonic()
            with contextlib.suppress(KeyboardInterrupt):
                player.play(rate=options.rate, passes=options.passes, go_on=go_on)
            wall_s = time.monotonic() - play_s
            time.sleep(0.3)  # the last outputs are under way
            meter.look(now=True)
    finally:
        context.try_shutdown()
    summary = _summary(options, facts, player, watcher, meter, notes)
    summary.output_bag, summary.wall_s = str(target), wall_s
    summary.plans_per_s = summary.plans / wall_s if wall_s > 0 else 0.0
    progress("done", player.played_s, total_s, watcher)
    return summary


def _summary(
    options: ReplayOptions,
    facts: BagFacts,
    player: BagPlayer,
    watcher: Watcher,
    meter: MemoryMeter,
    notes: list[str],
) -> ReplaySummary:
    cycles = np.array(list(watcher.cycles_s.values()) or [np.nan])
    late = watcher.number("planning", "late")
    sent = {role: player.sent[topic.name] for role, topic in facts.topics.items()}
    received = watcher.counts("inputs", "received: ")
    period_s = watcher.number("planning", "period (s)")
    return ReplaySummary(
        bag=str(options.bag),
        played_s=player.played_s,
        plans=max(watcher.cycles_s, default=0),
        wanted_plans_per_s=1.0 / period_s,
        plan_p50_s=float(np.percentile(cycles, 50)),
        plan_p95_s=float(np.percentile(cycles, 95)),
        late=0 if np.isnan(late) else int(late),
        skipped_turns=int(np.nan_to_num(watcher.number("planning", "skipped turns"))),
        late_untold=0 if np.isnan(late) else int(late) - watcher.told_late,
        stops=watcher.stops(),
        sent=sent,
        received=received,
        # Of what was sent when the planner last told, one may have been under way.
        lost_pictures=max(0, watcher.sent_then - 1 - received.get("image", 0)),
        refused=watcher.counts("inputs", "refused: "),
        peak_memory_mib=meter.peak_mib,
        memory_mib=meter.samples_mib,
        notes=notes,
    )


@contextlib.contextmanager
def _listening(
    node: Any, context: Any, recorder: BagRecorder, watcher: Watcher, options: ReplayOptions, facts: BagFacts
) -> Iterator[None]:
    """Record what the planner says, until the end."""
    for topic, msgtype in _OUTPUTS.items():
        recorder.listen(node, topic, msgtype)
    recorder.listen(node, "/goal_pose", "geometry_msgs/msg/PoseStamped")
    node.create_subscription(DiagnosticArray, "/diagnostics", watcher.take, 50)
    if options.record_inputs:
        for source in facts.topics.values():
            recorder.announce(source.name, source.msgtype)
        for name in facts.transforms:
            recorder.announce(name, TF)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    spinner = threading.Thread(target=spin, name="replay executor", daemon=True)
    spinner.start()
    try:
        yield
    finally:
        executor.shutdown(timeout_sec=2.0)
        spinner.join(timeout=2.0)


@contextlib.contextmanager
def _planner(options: ReplayOptions, facts: BagFacts) -> Iterator[subprocess.Popen[bytes]]:
    """The planner's process; ended in good order, as a robot's operator would."""
    with (options.out / "planner.log").open("wb") as log:
        process = subprocess.Popen(
            planner_command(options, facts),
            stdout=log,
            stderr=log,
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ},  # see planner.launch.py
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for_planner(
    planner: subprocess.Popen[bytes],
    player: BagPlayer,
    watcher: Watcher,
    out: Path,
    progress: Callable[[str, float, float, Watcher], None],
) -> None:
    end_s = time.monotonic() + _START_TIMEOUT_S
    while not (watcher.motion and "not active" not in watcher.motion and player.subscribers("image")):
        if planner.poll() is not None or "cannot be configured" in _tail(out):
            raise ReplayFailed(f"the planner did not start:\n{_tail(out)}")
        if time.monotonic() > end_s:
            raise ReplayFailed(f"the planner was not ready within {_START_TIMEOUT_S:.0f} s:\n{_tail(out)}")
        progress("the planner loads its model", 0.0, 1.0, watcher)
        time.sleep(0.1)


def _tail(out: Path, lines: int = 15) -> str:
    text = (out / "planner.log").read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])
