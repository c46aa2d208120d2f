"""What the robot is asked to do: the goal, whether it was reached, and whether somebody paused it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped

from sana_wm_ros.geometry import se3
from sana_wm_ros.nodes import conversions
from sana_wm_ros.nodes.extrinsics import TransformSource
from sana_wm_ros.nodes.settings import GoalSettings
from sana_wm_ros.planning.goal_tracker import GoalTracker
from sana_wm_ros.planning.types import Goal, RobotState


class Mission:
    """Holds one goal at a time; a new one replaces the old one. Safe to use from any thread.

    say: takes a sentence for the log.
    """

    def __init__(self, transforms: TransformSource, say: Callable[[str], object]) -> None:
        self._transforms, self._say = transforms, say
        self._lock = threading.Lock()
        self._tracker: GoalTracker | None = None
        self._waiting: PoseStamped | None = None
        self.paused = False
        self.ended = ""

    @property
    def goal(self) -> Goal | None:
        """The goal to drive to, or None."""
        tracker = self._tracker
        return None if tracker is None else tracker.goal

    def accept(
        self, message: PoseStamped, *, odometry_frame: str, now_s: float, settings: GoalSettings
    ) -> None:
        """Take a goal in any frame that leads to odometry's; raises ``ValueError`` naming what is wrong.

        A goal that comes before the first odometry waits for it.
        """
        frame = message.header.frame_id
        if not odometry_frame:
            self._waiting = message
            self._say("goal received; it waits for the first odometry")
            return
        self._waiting = None
        goal = conversions.goal_from_pose(
            message.pose, tolerance_m=settings.tolerance_m, match_heading=settings.match_heading
        )
        if frame != odometry_frame:
            goal = self._moved(goal, frame, odometry_frame)
        with self._lock:
            self._tracker = GoalTracker(goal, now_s, timeout_s=settings.timeout_s)
            self.ended = ""
        self._say(f"new goal: x {goal.x_m:.2f} m, y {goal.y_m:.2f} m in {odometry_frame}")

    def accept_waiting(self, *, odometry_frame: str, now_s: float, settings: GoalSettings) -> None:
        """Take the goal that came before odometry did, if there is one; raises as ``accept`` does."""
        message = self._waiting
        if message is not None and odometry_frame:
            self._waiting = None
            self.accept(message, odometry_frame=odometry_frame, now_s=now_s, settings=settings)

    def clear(self) -> None:
        """Drop the goal."""
        with self._lock:
            self._tracker, self._waiting, self.ended = None, None, ""

    def update(self, state: RobotState) -> None:
        """Look whether the goal was reached, or its time is up."""
        with self._lock:
            if self._tracker is None or self._tracker.update(state) == "active":
                return
            self.ended = f"goal {self._tracker.state}"
            goal = self._tracker.goal
            self._tracker = None
        self._say(f"{self.ended}: x {goal.x_m:.2f} m, y {goal.y_m:.2f} m")

    def _moved(self, goal: Goal, frame: str, odometry_frame: str) -> Goal:
        if not frame:
            raise ValueError(f"goal refused: it names no frame; send it in {odometry_frame}")
        if not self._transforms.available:
            raise ValueError(
                f"goal refused: it is in {frame!r}, and without tf2_ros only {odometry_frame!r} is understood"
            )
        matrix_44 = self._transforms.lookup(odometry_frame, frame)
        if matrix_44 is None:
            raise ValueError(f"goal refused: TF knows no way from {odometry_frame!r} to {frame!r}")
        pose_3 = np.array([goal.x_m, goal.y_m, goal.yaw_rad or 0.0])
        x, y, yaw = se3.to_planar(matrix_44 @ se3.from_planar(pose_3))
        heading = None if goal.yaw_rad is None else float(yaw)
        return Goal(x_m=float(x), y_m=float(y), yaw_rad=heading, tolerance_m=goal.tolerance_m)
