"""Navigation in real time through the real node and topics: trials as in simulated time, and one long closed loop."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sana_wm_ros.geometry import se2
from sana_wm_ros.nodes.live_drive import look_around
from sana_wm_ros.nodes.live_nodes import LiveNodes, Progress, operating
from sana_wm_ros.nodes.live_operator import Operator
from sana_wm_ros.simulation.drive import CommandSource, DriveConfig, Scene, draw_scene
from sana_wm_ros.simulation.live_robot import goal_for
from sana_wm_ros.simulation.trials import Ending, Trial, clearance_of

_TICK_S = 0.05
_LATE_S = 1.5


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """out: a folder for the nodes' logs. rate: times real time. parameters: more of the planner's, ``name:=value``.

    goal_s: in the long loop, a goal that takes longer is replaced.
    """

    out: Path
    model: str = "nano"
    family: str = "lab"
    rate: float = 1.0
    goal_s: float = 60.0
    parameters: tuple[str, ...] = ()

    @property
    def drive(self) -> DriveConfig:
        """Scenes as trials draw them: a camera without a lens, pictures of the model's size."""
        return DriveConfig(family=self.family, driver="tour", open_loop=False)


def node_trial(trial: Trial, config: LoopConfig, progress: Progress) -> tuple[Ending, Cycles]:
    """One trial: an operator drives the tour by hand, then the node gets the goal.

    Success and contacts count as in simulated time. Raises ``LiveFailed`` where a node does not start or ends.
    """
    scene = draw_scene(trial.seed, config.drive)
    with _running(scene, config, progress) as (operator, nodes):
        _guide(operator, nodes, scene, trial.tour_s, progress)
        operator.begin()
        x_m, y_m = _in_odom(operator, trial.goal_2)
        operator.send_goal(x_m, y_m)
        path, begin_s, reason = [_true_pose(operator)], operator.time_s, "timed out"
        while (gone_s := operator.time_s - begin_s) < trial.config.limit_s:
            nodes.check()
            progress(f"{trial.seed} to the goal", gone_s, trial.config.limit_s)
            operator.wait(_TICK_S)
            path.append(_true_pose(operator))
            if math.dist(path[-1][:2], trial.goal_2) <= trial.config.success_m:
                reason = "reached"
                break
        path_T3 = np.array(path)
        assert operator.pose_3 is not None
        hard = operator.hard_contact
        ending = Ending(
            success=reason == "reached" and not hard,
            reason="hard contact" if reason == "reached" and hard else reason,
            time_s=operator.time_s - begin_s,
            path_T3=path_T3,
            path_m=float(np.hypot(*np.diff(path_T3[:, :2], axis=0).T).sum()),
            contacts=operator.contacts,
            hard_contact=hard,
            least_clearance_m=clearance_of(scene.plan, path_T3) - trial.config.robot.radius_m,
            end_distance_m=math.dist(path_T3[-1, :2], trial.goal_2),
            measured_distance_m=math.dist(operator.pose_3[:2], (x_m, y_m)),
            figures={},
        )
        return ending, Cycles.heard_by(operator)


def long_loop(seed: int, seconds: float, config: LoopConfig, progress: Progress) -> dict[str, Any]:
    """Drive from goal to goal for so many seconds of the wall clock; how the node kept its deadlines meanwhile."""
    scene = draw_scene(seed, config.drive)
    with _running(scene, config, progress) as (operator, nodes):
        look_around(operator, nodes, progress)
        operator.begin()
        begin_s, begin_wall_s = operator.time_s, time.monotonic()
        reached = given_up = 0
        random = np.random.default_rng([seed, 3000])
        while (gone_s := time.monotonic() - begin_wall_s) < seconds:
            goal_2 = goal_for(scene, from_2=_true_pose(operator)[:2], random=random)
            operator.send_goal(*_in_odom(operator, goal_2))
            since_s = operator.time_s
            while operator.time_s - since_s < config.goal_s and gone_s < seconds:
                nodes.check()
                operator.wait(0.2)
                gone_s = time.monotonic() - begin_wall_s
                progress("driving from goal to goal", gone_s, seconds)
                if math.dist(_true_pose(operator)[:2], goal_2) <= 0.5:
                    reached += 1
                    break
            else:
                given_up += operator.time_s - since_s >= config.goal_s
        return {
            "seconds": gone_s,
            "times_real_time": (operator.time_s - begin_s) / gone_s,
            "goals_reached": reached,
            "goals_given_up": given_up,
            "driven_m": operator.driven_m,
            "contacts": operator.contacts,
            "stops": operator.watcher.stops(),
            **Cycles.heard_by(operator).figures,
        }


@dataclass(frozen=True, kw_only=True)
class Cycles:
    """What a planner node told of its cycles: how many, how many late, turns that it skipped, and durations."""

    plans: int = 0
    late: int = 0
    skipped: int = 0
    seconds: tuple[float, ...] = ()

    @staticmethod
    def heard_by(operator: Operator) -> Cycles:
        """Since the node began."""
        operator.wait(_LATE_S)  # diagnostics come once a second
        watcher = operator.watcher
        if "plans" not in watcher.values.get("planning", {}):
            return Cycles()
        return Cycles(
            plans=int(watcher.number("planning", "plans")),
            late=int(watcher.number("planning", "late")),
            skipped=int(watcher.number("planning", "skipped turns")),
            seconds=tuple(watcher.cycles_s.values()),
        )

    def __add__(self, other: Cycles) -> Cycles:
        return Cycles(
            plans=self.plans + other.plans,
            late=self.late + other.late,
            skipped=self.skipped + other.skipped,
            seconds=self.seconds + other.seconds,
        )

    @property
    def figures(self) -> dict[str, Any]:
        """The share of plans that met their deadline, and quantiles of what a cycle took."""
        found: dict[str, Any] = {
            "plans": self.plans,
            "late": self.late,
            "skipped_turns": self.skipped,
            "deadline_attainment": 1 - self.late / self.plans if self.plans else None,
        }
        if self.seconds:
            p50, p95, p99 = (float(value) for value in np.percentile(self.seconds, (50, 95, 99)))
            found["cycle_s"] = {"count": len(self.seconds), "p50": p50, "p95": p95, "p99": p99}
        return found


@contextlib.contextmanager
def _running(scene: Scene, config: LoopConfig, progress: Progress) -> Iterator[tuple[Operator, LiveNodes]]:
    """Operator, robot and planner, ready."""
    config.out.mkdir(parents=True, exist_ok=True)
    robot = {
        "seed": scene.plan.seed, "family": config.family, "rate": config.rate, "lens": False,
        "width": config.drive.width, "height": config.drive.height,
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        operator = stack.enter_context(operating())
        stack.enter_context(operator.spinning())
        nodes = LiveNodes(
            operator, config.out, robot=robot, planner={"model.path": config.model}, camera=scene.camera,
            extra=config.parameters,
        )  # fmt: skip
        stack.enter_context(nodes)
        nodes.wait_until_ready(progress)
        while operator.true_pose_3 is None:
            nodes.check()
            operator.wait(_TICK_S)
        yield operator, nodes


def _guide(operator: Operator, nodes: LiveNodes, scene: Scene, seconds: float, progress: Progress) -> None:
    """Drive the tour by hand, with what the driver sees: the robot's true place."""
    source, begin_s = CommandSource(scene, DriveConfig().robot, _TICK_S), operator.time_s
    while (gone_s := operator.time_s - begin_s) < seconds:
        nodes.check()
        operator.command(*source.next(gone_s, _true_pose(operator), operator.touching))
        progress("guided tour", gone_s, seconds)
        operator.wait(_TICK_S)
    operator.command(0.0, 0.0)


def _in_odom(operator: Operator, point_2: np.ndarray[Any, Any]) -> tuple[float, float]:
    """A true place as odometry would measure it from here."""
    assert operator.pose_3 is not None
    offset_3 = se2.compose(se2.inverse(_true_pose(operator)), np.array([*point_2, 0.0]))
    x_m, y_m, _ = se2.compose(operator.pose_3, offset_3)
    return float(x_m), float(y_m)


def _true_pose(operator: Operator) -> np.ndarray[Any, Any]:
    assert operator.true_pose_3 is not None
    return operator.true_pose_3
