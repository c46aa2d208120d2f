"""What the robot is asked to do: the goal, whether it was reached, and whether somebody paused it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from numpy.typing import NDArray

from sana_wm_ros.geometry import se3
from sana_wm_ros.nodes import conversions
from sana_wm_ros.nodes.extrinsics import TransformSource
from sana_wm_ros.nodes.settings import GoalSettings
from sana_wm_ros.planning.goal_tracker import GoalTracker
from sana_wm_ros.planning.types import Goal, PlaceGoal, RobotState


class Mission:
    """Holds one goal at a time; a new one replaces the old one. Safe to use from any thread.

    say: takes a sentence for the log.
    """

    def __init__(self, transforms: TransformSource, say: Callable[[str], object]) -> None:
        self._transforms, self._say = transforms, say
        self._lock = threading.Lock()
        self._tracker: GoalTracker | None = None
        self._waiting: PoseStamped | Path | None = None
        self._place_away: float | None = None
        self.paused = False
        self.ended = ""

    @property
    def goal(self) -> Goal | PlaceGoal | None:
        """The goal to drive to, or None."""
        tracker = self._tracker
        return None if tracker is None else tracker.goal

    def accept(
        self, message: PoseStamped | Path, *, odometry_frame: str, now_s: float, settings: GoalSettings
    ) -> None:
        """Take a pose or a path in any frame that leads to odometry's; raises ``ValueError`` naming what is wrong.

        A goal that comes before the first odometry waits for it.
        """
        if not odometry_frame:
            self._waiting = message
            self._say("goal received; it waits for the first odometry")
            return
        self._waiting = None
        poses = [message] if isinstance(message, PoseStamped) else list(message.poses)
        if not poses:
            raise ValueError("goal refused: the path has no poses")
        goals = [
            self._moved(
                conversions.goal_from_pose(
                    one.pose, tolerance_m=settings.tolerance_m, match_heading=settings.match_heading
                ),
                # The poses of a path have headers of their own, which many senders leave empty.
                one.header.frame_id or message.header.frame_id,
                odometry_frame,
            )
            for one in poses
        ]
        goal = goals[-1]
        if isinstance(message, Path):
            goal = replace(goal, path_M2=np.array([[one.x_m, one.y_m] for one in goals]))
        self._begin(goal, now_s, settings)

    def accept_picture(self, picture_HWC: NDArray[np.uint8], *, now_s: float, settings: GoalSettings) -> None:
        """Take a view, RGB, as the goal."""
        self._begin(PlaceGoal(picture_HWC=picture_HWC, tolerance=settings.place_tolerance), now_s, settings)

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

    def looked(self, place_away: float | None) -> None:
        """How far the place that the robot sees is from the goal image's, 1 - cos."""
        self._place_away = place_away

    def give_up(self) -> None:
        """There is no way to the goal."""
        with self._lock:
            if self._tracker is None:
                return
            self._tracker.give_up()
        self._end()

    def update(self, state: RobotState) -> None:
        """Look whether the goal was reached, or its time is up."""
        with self._lock:
            if self._tracker is None or self._tracker.update(state, self._place_away) == "active":
                return
        self._end()

    def _begin(self, goal: Goal | PlaceGoal, now_s: float, settings: GoalSettings) -> None:
        with self._lock:
            self._tracker = GoalTracker(goal, now_s, timeout_s=settings.timeout_s)
            self._place_away, self.ended = None, ""
        self._say(f"new goal: {in_words(goal)}")

    def _end(self) -> None:
        with self._lock:
            if self._tracker is None:
                return
            self.ended = f"goal {self._tracker.state}"
            goal, self._tracker = self._tracker.goal, None
        self._say(f"{self.ended}: {in_words(goal)}")

    def _moved(self, goal: Goal, frame: str, odometry_frame: str) -> Goal:
        if frame == odometry_frame:
            return goal
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


def in_words(goal: Goal | PlaceGoal) -> str:
    """A goal for people."""
    if isinstance(goal, PlaceGoal):
        return "a view"
    end = f"x {goal.x_m:.2f} m, y {goal.y_m:.2f} m"
    return end if goal.path_M2 is None else f"{end}, past {len(goal.path_M2)} poses"
