"""What to do when the planner finds nothing: stop, look around, back up where the robot has been; then give up.

Each behaviour is a plan like any other, validated and followed; the planner goes on planning meanwhile.
Dimension letters: F latent frames, P poses of the trail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.motion_models import roll_out
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import FloatArray, Plan, PlanResult, Robot, RobotState
from sana_wm_ros.planning.validator import ValidatorSettings, invalid

_PERIOD_S = 0.5


@dataclass(frozen=True, kw_only=True)
class RecoverySettings:
    """stuck_s: so long without a plan, or without leaving a place, is stuck; place_m, place_rad: what counts as
    leaving it; attempts: behaviours that are tried, one after the other, before it gives up; free_m: so far from
    where it got stuck, it is free again. look_rad, back_m: how far it turns, and backs up.
    """

    stuck_s: float = 4.0
    place_m: float = 0.25
    place_rad: float = 0.5
    attempts: int = 6
    free_m: float = 0.8
    look_rad: float = 5.5
    back_m: float = 0.6

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} = {value} must be positive")


class Recovery:
    """Watches what planning comes to, and steps in. Reads no clock: time comes with the robot's state."""

    def __init__(self, robot: Robot, settings: RecoverySettings | None = None) -> None:
        self._robot, self.settings = robot, settings or RecoverySettings()
        self._validator = ValidatorSettings(trust_imagination=False)
        self.reset()

    def reset(self) -> None:
        """A new goal: start counting anew."""
        self._place: RobotState | None = None
        self._last_s = -np.inf
        self._stuck_at: FloatArray | None = None
        self._behaviour: Plan | None = None
        self._tried = 0

    @property
    def gave_up(self) -> bool:
        """Whether all attempts were made and the robot is still stuck."""
        return self._tried >= self.settings.attempts and self._behaviour is None

    def after(
        self, result: PlanResult, state: RobotState, trail_P3: FloatArray, scan: Scan | None
    ) -> tuple[Plan | None, str]:
        """The plan to follow and a reason: the planner's own, or a behaviour while the robot is stuck.

        No plan and a reason: nothing can be driven now (stand), or it has given up (see ``gave_up``).
        """
        self._watch(state)
        running = self._behaviour
        if running is not None:
            if state.time_s < running.valid_until_s:
                return running, running.origin
            self._behaviour = None
            self._place = state
        assert self._place is not None
        if result.bumped:
            # What it met is known now; from a little further off there are more ways around it.
            plan = self._valid(self._back_up(state, trail_P3), state, scan)
            if plan is not None:
                self._behaviour = plan
                return plan, plan.origin
        if state.time_s - self._place.time_s < self.settings.stuck_s:
            return result.plan, result.reason
        if self._stuck_at is None:
            self._stuck_at = state.pose_3
        while self._tried < self.settings.attempts:
            self._tried += 1
            plan = self._next(state, trail_P3, scan)
            if plan is not None:
                self._behaviour = plan
                return plan, plan.origin
        return None, f"no way out: stuck after {self._tried} attempts to recover ({result.reason})"

    def _watch(self, state: RobotState) -> None:
        """Note whether the robot left its place, or is free again. A behaviour's own motion is neither."""
        gap_s, self._last_s = state.time_s - self._last_s, state.time_s
        if self._place is None or not 0 <= gap_s < max(2.0, self.settings.stuck_s):  # paused, or another time
            self._place = state
            return
        if self._behaviour is not None:
            return
        offset = se2.between(self._place.pose_3, state.pose_3)
        if np.hypot(offset[0], offset[1]) > self.settings.place_m or abs(offset[2]) > self.settings.place_rad:
            self._place = state
        if self._stuck_at is not None:
            away = float(np.hypot(*(state.pose_3[:2] - self._stuck_at[:2])))
            if away > self.settings.free_m:
                self._stuck_at, self._tried = None, 0

    def _next(self, state: RobotState, trail_P3: FloatArray, scan: Scan | None) -> Plan | None:
        """The behaviour that is next in turn, or None where it cannot be driven here."""
        kind = (self._look_left, self._back_up, self._look_right, self._back_up)[(self._tried - 1) % 4]
        return self._valid(kind(state, trail_P3), state, scan)

    def _valid(self, plan: Plan | None, state: RobotState, scan: Scan | None) -> Plan | None:
        if plan is None:
            return None
        refusal = invalid(
            self._robot, state, plan.poses_F3, plan.twists_F3, _PERIOD_S, self._validator, scan=scan
        )
        return plan if refusal is None else None

    def _look_left(self, state: RobotState, trail_P3: FloatArray) -> Plan | None:
        return self._look(state, 1.0)

    def _look_right(self, state: RobotState, trail_P3: FloatArray) -> Plan | None:
        return self._look(state, -1.0)

    def _look(self, state: RobotState, side: float) -> Plan | None:
        if self._robot.drive == "ackermann":
            return None  # a car cannot turn in place
        rate = side * 0.6 * self._robot.max_yaw_rate_radps
        frames = int(np.ceil(self.settings.look_rad / abs(rate) / _PERIOD_S))
        turn = np.array([[0.0], [0.0], [rate]])
        return self._plan(
            state, lambda k, poses, twists: turn * (k < frames - 1), frames, "recovery: look around"
        )

    def _back_up(self, state: RobotState, trail_P3: FloatArray) -> Plan | None:
        """Backwards along the trail, towards points that lie behind the robot."""
        if self._robot.max_reverse_mps <= 0 or len(trail_P3) < 2:
            return None
        speed = 0.8 * self._robot.max_reverse_mps
        frames = int(np.ceil(self.settings.back_m / speed / _PERIOD_S)) + 1
        way = trail_P3[::-1, :2]
        steps = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(way, axis=0).T))])

        def command(k: int, poses_3N: FloatArray, twists_3N: FloatArray) -> FloatArray:
            if k >= frames - 1:
                return np.zeros_like(poses_3N)
            ahead_m = min(0.3 + speed * _PERIOD_S * k, steps[-1])
            target = np.array([np.interp(ahead_m, steps, way[:, i]) for i in (0, 1)])
            offset = target[:, None] - poses_3N[:2]
            # The robot's back turns to the target.
            error = se2.wrap_angle(np.arctan2(offset[1], offset[0]) + np.pi - poses_3N[2])
            back = np.where(np.abs(error) < 1.0, -speed, 0.0)
            return np.array([back, np.zeros_like(back), np.clip(1.5 * error, -0.8, 0.8)])

        return self._plan(state, command, frames, "recovery: back up where it has been")

    def _plan(
        self,
        state: RobotState,
        command: Callable[[int, FloatArray, FloatArray], FloatArray],
        frames: int,
        origin: str,
    ) -> Plan:
        twists, poses = roll_out(
            self._robot, state.pose_3, state.twist_3, command, size=1, frames=frames, period_s=_PERIOD_S
        )
        times_F = _PERIOD_S * np.arange(1, frames + 1, dtype=np.float64)
        return Plan(
            start=state,
            times_F=times_F,
            poses_F3=poses[0],
            twists_F3=twists[0],
            cost=0.0,
            valid_until_s=state.time_s + float(times_F[-1]),
            origin=origin,
        )
