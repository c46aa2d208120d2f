"""Follows a plan by time and odometry, at any rate; stands still and says why when in doubt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.motion_models import feasible, step_towards
from sana_wm_ros.planning.scan import Scan, first_contact
from sana_wm_ros.planning.tracking import Gains, reference, smooth_twist, track
from sana_wm_ros.planning.types import FloatArray, Plan, Robot, RobotState

State = Literal["following", "slowed", "blocked", "no plan", "expired", "finished", "lost", "bad input"]


@dataclass(frozen=True, kw_only=True)
class FollowerSettings:
    """lost_m: a robot further than this from where the plan wants it stands still; margin_m: room kept to
    what the scan sees; look_ahead_s: how far ahead the scan is checked; memory_s: a gap between two calls
    after which acceleration starts from the measured velocity instead of the last command.
    """

    gains: Gains = field(default_factory=Gains)
    lost_m: float = 0.5
    margin_m: float = 0.05
    look_ahead_s: float = 2.0
    memory_s: float = 0.3


@dataclass(frozen=True, kw_only=True)
class Command:
    """A finite twist within the robot's limits, and why it is what it is."""

    twist_3: FloatArray
    state: State
    reason: str


class Follower:
    """Tracks the latest plan. Time comes with the robot's state; nothing here reads a clock."""

    def __init__(self, robot: Robot, settings: FollowerSettings | None = None) -> None:
        self.robot = robot
        self.settings = settings or FollowerSettings()
        self._plan: Plan | None = None
        self._last_3: FloatArray = np.zeros(3)
        self._last_time_s = -np.inf

    @property
    def plan(self) -> Plan | None:
        """The plan that is being followed."""
        return self._plan

    def set_plan(self, plan: Plan | None) -> None:
        """Follow another plan from now on; None: stand."""
        self._plan = plan

    def command(self, state: RobotState, scan: Scan | None = None) -> Command:
        """What to do now. ``state.time_s`` is the present, its pose and twist the newest odometry."""
        if not np.isfinite([state.time_s, *state.pose_3, *state.twist_3]).all():
            return self._stand("bad input", "odometry is not finite")
        plan = self._plan
        if plan is None:
            return self._stand("no plan", "there is no plan")
        if state.time_s > plan.valid_until_s:
            late = state.time_s - plan.valid_until_s
            return self._stand("expired", f"the plan expired {late:.2f} s ago")
        elapsed_s = state.time_s - plan.start.time_s
        if elapsed_s >= plan.times_F[-1]:
            return self._stand("finished", "the plan is driven to its end")
        wanted_pose, wanted_twist = reference(plan, elapsed_s), smooth_twist(plan, elapsed_s)
        away = float(np.hypot(*(wanted_pose[:2] - state.pose_3[:2])))
        if not away <= self.settings.lost_m:
            return self._stand("lost", f"the robot is {away:.2f} m from where its plan wants it")
        wanted = track(self.robot, state.pose_3, wanted_pose, wanted_twist, self.settings.gains)
        if not np.isfinite(wanted).all():
            return self._stand("bad input", "the plan is not finite")
        share = 1.0 if scan is None else self._free_share(state, feasible(self.robot, wanted), scan)
        twist = self._limited(state, wanted * share)
        if share == 0.0:
            return Command(twist_3=twist, state="blocked", reason="the scan sees something right ahead")
        if share < 1.0:
            reason = f"slowed to {100 * share:.0f} % before something that the scan sees"
            return Command(twist_3=twist, state="slowed", reason=reason)
        return Command(twist_3=twist, state="following", reason=plan.origin)

    def _limited(self, state: RobotState, wanted_3: FloatArray) -> FloatArray:
        since = state.time_s - self._last_time_s
        known = 0 < since <= self.settings.memory_s
        previous, period_s = (self._last_3, since) if known else (state.twist_3, 0.05)
        self._last_3 = step_towards(self.robot, wanted_3, previous, period_s)
        self._last_time_s = state.time_s
        return self._last_3

    def _free_share(self, state: RobotState, twist_3: FloatArray, scan: Scan) -> float:
        """The share of a twist at which the robot can still brake before what the scan sees on its arc."""
        speed = float(np.hypot(twist_3[0], twist_3[1]))
        if speed < 1e-3:
            return 1.0
        step_s = min(0.1, 0.03 / speed)
        times = np.arange(1, int(self.settings.look_ahead_s / step_s) + 1) * step_s
        arc = se2.compose(state.pose_3, se2.exp(np.broadcast_to(twist_3, (len(times), 3)), times))
        here = float(scan.distances(state.pose_3[None])[0])
        contact = first_contact(scan.distances(arc), here, self.robot.radius_m + self.settings.margin_m)
        if contact is None:
            return 1.0
        free_m = contact * step_s * speed
        # Half the deceleration: the other half is for what the robot notices late.
        return float(min(1.0, np.sqrt(self.robot.max_acceleration_mps2 * free_m) / speed))

    def _stand(self, state: State, reason: str) -> Command:
        self._last_3 = np.zeros(3)
        self._last_time_s = -np.inf
        return Command(twist_3=np.zeros(3), state=state, reason=reason)
