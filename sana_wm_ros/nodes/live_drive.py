"""A closed-loop drive without anything installed but wheels: simulator and planner as processes, DDS between.

The robot looks around once, then gets a goal. Everything is in a namespace of its own, so that no real robot on
the same network hears the commands. Two bags come out: what the robot said, and what the planner said.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sana_wm_ros.nodes.bag_recorder import BagRecorder
from sana_wm_ros.nodes.live_nodes import (
    NAMESPACE,
    PLANNER,
    SIMULATOR,
    LiveFailed,
    LiveNodes,
    Progress,
    operating,
)
from sana_wm_ros.nodes.live_operator import Operator
from sana_wm_ros.simulation.drive import DriveConfig, Scene, draw_scene
from sana_wm_ros.simulation.live_robot import goal_for
from sana_wm_ros.simulation.messages import Messages

__all__ = ["LiveFailed", "LiveOptions", "LiveSummary", "live_drive"]

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
_LOOK_RATE_RADPS = 0.9


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


def live_drive(options: LiveOptions, progress: Progress) -> LiveSummary:
    """Drive; ``progress`` gets a stage, how much of it is done and how much it is.

    Raises ``FileExistsError`` or ``LiveFailed``. KeyboardInterrupt ends the drive early, in good order.
    """
    scene = draw_scene(options.seed, options.config)
    goal = options.goal or tuple(float(value) for value in goal_for(scene))
    options.out.mkdir(parents=True, exist_ok=True)
    camera = {"width": options.width, "height": options.height, "rate": options.rate}
    robot = {"seed": options.seed, "family": options.family, **camera}
    with contextlib.ExitStack() as stack:
        operator = stack.enter_context(operating())
        robot_bag = stack.enter_context(BagRecorder(options.out / "robot", operator.now_ns))
        planner_bag = stack.enter_context(BagRecorder(options.out / "bag", operator.now_ns))
        operator.record(robot_bag, ROBOT_TOPICS)
        operator.record(planner_bag, PLANNER_TOPICS)
        stack.enter_context(operator.spinning())
        nodes = LiveNodes(
            operator,
            options.out,
            robot=robot,
            planner={"model.path": options.model, "visual.scale": 2},
            camera=scene.camera,
            extra=options.parameters,
        )
        stack.enter_context(nodes)
        nodes.wait_until_ready(progress)
        _tell_camera(robot_bag, operator, scene)
        operator.begin()
        summary = LiveSummary(seed=options.seed, family=options.family, goal=(goal[0], goal[1]))
        begin_s, wall_s = operator.time_s, time.monotonic()
        with contextlib.suppress(KeyboardInterrupt):
            if options.look:
                look_around(operator, nodes, progress)
            _drive_to(operator, summary, options, nodes, progress)
        summary.simulated_s, summary.wall_s = operator.time_s - begin_s, time.monotonic() - wall_s
    return summary


def look_around(operator: Operator, nodes: LiveNodes, progress: Progress) -> None:
    """Turn once, so that the planner knows what is around it."""
    begin_s, takes_s = operator.time_s, 2 * math.pi / _LOOK_RATE_RADPS
    while (gone_s := operator.time_s - begin_s) < takes_s:
        nodes.check()
        operator.command(0.0, _LOOK_RATE_RADPS)
        progress("looking around", gone_s, takes_s)
        operator.wait(0.1)
    operator.command(0.0, 0.0)


def _drive_to(
    operator: Operator,
    summary: LiveSummary,
    options: LiveOptions,
    nodes: LiveNodes,
    progress: Progress,
) -> None:
    """Give the goal and watch until it is reached, or time is over."""
    operator.send_goal(*summary.goal)
    begin_s = operator.time_s
    summary.first_distance_m = _distance(operator, summary.goal)
    while (gone_s := operator.time_s - begin_s) < options.seconds and not summary.reached:
        nodes.check()
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
