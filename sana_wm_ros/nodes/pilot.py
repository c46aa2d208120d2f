"""What the robot does next: follow the plan, or stand and why. Knows no ROS: the offline run decides with it, too."""

from __future__ import annotations

from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.nodes.planning_thread import Outcome, Situation
from sana_wm_ros.nodes.settings import SafetySettings
from sana_wm_ros.nodes.supervisor import Facts, Stop, verdict
from sana_wm_ros.planning.follower import Follower
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import Goal, PlaceGoal, RobotState

_MOVING = ("following", "slowed")
# What a new plan can cure; anything else makes planning pointless for now.
_CURABLE = ("no plan yet", "plan expired")


class Pilot:
    """Holds the plan that is followed and why the last cycle gave none; reads no clock."""

    def __init__(self, follower: Follower) -> None:
        self.follower = follower
        self.failure: Stop | None = None

    def decide(
        self,
        facts: Facts,
        limits: SafetySettings,
        state: RobotState | None,
        scan: Scan | None,
        *,
        camera_problem: str = "",
    ) -> FloatArray | Stop:
        """The twist to command now, or the reason to stand. ``camera_problem`` explains a stale camera."""
        stop = verdict(facts, limits)
        if stop is not None:
            if stop.kind == "camera stale" and camera_problem:
                return Stop(kind=stop.kind, sentence=f"{stop.sentence}: {camera_problem}")
            return stop
        if state is None:
            return Stop(kind="odometry stale", sentence="no odometry message was received yet")
        command = self.follower.command(state, scan)
        if command.state not in _MOVING:
            return Stop(kind=command.state, sentence=command.reason)
        return command.twist_3

    def situation(
        self,
        facts: Facts,
        limits: SafetySettings,
        state: RobotState | None,
        goal: Goal | PlaceGoal | None,
        scan: Scan | None,
    ) -> Situation | None:
        """What to plan from while the robot may move, or could if it had a plan; else None.

        No goal, while ``facts`` say that there is one, means to explore.
        """
        stop = verdict(facts, limits)
        curable = stop is None or stop == self.failure or stop.kind in _CURABLE
        if state is None or not facts.goal or not curable:
            return None
        plan = self.follower.plan
        previous = plan if plan is not None and facts.now_s <= plan.valid_until_s else None
        return Situation(state=state, goal=goal, previous=previous, scan=scan)

    def take(self, outcome: Outcome) -> None:
        """Follow the new plan, or remember why there is none."""
        if outcome.failure is None and outcome.result is not None:
            self.failure = None
            self.follower.set_plan(outcome.result.plan)
        else:
            self.failure = outcome.failure
            self.follower.set_plan(None)

    def forget(self) -> None:
        """Drop plan and failure: they belong to another time."""
        self.failure = None
        self.follower.set_plan(None)
