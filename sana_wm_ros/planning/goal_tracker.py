"""Whether a goal was reached, its time is up, or there is no way to it; told apart, and never taken back."""

from __future__ import annotations

from typing import Literal

import numpy as np

from sana_wm_ros.geometry.se2 import wrap_angle
from sana_wm_ros.planning.types import Goal, PlaceGoal, RobotState

GoalState = Literal["active", "reached", "timed out", "unreachable"]


class GoalTracker:
    """Watches one goal from the time it was set.

    A pose is reached within the goal's tolerance, within ``yaw_tolerance_rad`` of its yaw (where it has one) and
    slower than ``still_mps``; the end of a path likewise. A view is reached where the place looks alike enough.
    """

    def __init__(
        self,
        goal: Goal | PlaceGoal,
        set_at_s: float,
        *,
        timeout_s: float = 180.0,
        yaw_tolerance_rad: float = 0.35,
        still_mps: float = 0.1,
    ) -> None:
        self.goal, self.set_at_s, self.timeout_s = goal, set_at_s, timeout_s
        self._yaw_tolerance_rad, self._still_mps = yaw_tolerance_rad, still_mps
        self._state: GoalState = "active"

    @property
    def state(self) -> GoalState:
        """What the last update came to."""
        return self._state

    def give_up(self) -> None:
        """There is no way to it, as far as the robot can find out."""
        if self._state == "active":
            self._state = "unreachable"

    def update(self, state: RobotState, place_away: float | None = None) -> GoalState:
        """Look at where the robot is now. ``place_away``: 1 - cos to the goal's view, where it was measured."""
        if self._state != "active":
            return self._state
        if self._near(state, place_away) and np.hypot(state.twist_3[0], state.twist_3[1]) <= self._still_mps:
            self._state = "reached"
        elif state.time_s - self.set_at_s > self.timeout_s:
            self._state = "timed out"
        return self._state

    def _near(self, state: RobotState, place_away: float | None) -> bool:
        goal = self.goal
        if isinstance(goal, PlaceGoal):
            return place_away is not None and place_away <= goal.tolerance
        near = bool(np.hypot(state.pose_3[0] - goal.x_m, state.pose_3[1] - goal.y_m) <= goal.tolerance_m)
        if goal.yaw_rad is not None:
            near &= bool(abs(wrap_angle(state.pose_3[2] - goal.yaw_rad)) <= self._yaw_tolerance_rad)
        return near
