"""The node's own parts on a recording, in one thread and on the recording's clock: no ROS, no DDS, no waiting.

Buffer, planning cycle, pilot, follower and critics are those that the node runs; only who calls them differs.
The recording's time goes on from message to message; a planning cycle begins at its turn and its plan arrives as
much later as the planner's clock says it took. That clock is the machine's, or counts work (``WorkClock``): then
the same bag gives the same plans, commands and stops everywhere.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sana_wm_ros.evaluation.bag_facts import BagFacts
from sana_wm_ros.evaluation.bag_sensing import BagSensing
from sana_wm_ros.evaluation.bags import Bag
from sana_wm_ros.evaluation.drive import CameraGuess, camera_place
from sana_wm_ros.evaluation.goal_plan import GoalPlan
from sana_wm_ros.evaluation.run_record import CommandRecord, CycleRecord, RunRecord, considered
from sana_wm_ros.nodes.compute_schedule import ScheduledModel, WorkClock
from sana_wm_ros.nodes.pilot import Pilot
from sana_wm_ros.nodes.planner_factory import PlannerFactory
from sana_wm_ros.nodes.planning_thread import Outcome, PlanningThread, Situation
from sana_wm_ros.nodes.settings import Settings
from sana_wm_ros.nodes.supervisor import Facts, Stop
from sana_wm_ros.planning.follower import Follower, FollowerSettings
from sana_wm_ros.planning.goal_tracker import GoalTracker
from sana_wm_ros.planning.present import present_state
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import Goal, RobotState
from sana_wm_ros.world_model.observation_buffer import ObservationBuffer
from sana_wm_ros.world_model.protocol import WorldModel

_SCAN_MAX_AGE_S = 0.5
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True, kw_only=True)
class OfflineOptions:
    """How a recording is run.

    frames_per_s: the planner's time is counted in work at this speed; None measures the machine's.
    seconds: no more of the recording than this.
    """

    settings: Settings
    weights: dict[str, float]
    goal: GoalPlan
    frames_per_s: float | None = None
    seconds: float = math.inf


def run_offline(
    model: WorldModel,
    bag: Bag,
    facts: BagFacts,
    options: OfflineOptions,
    progress: Callable[[float], None] = lambda done_s: None,
) -> RunRecord:
    """Run the planner over an open bag; ``progress`` gets the seconds of the recording that are done."""
    run = _Run(model, facts, options)
    begin_s, first_s = time.perf_counter(), None
    for topic, msgtype, recorded_s, message in bag.messages(facts.names):
        now_s = recorded_s + facts.stamp_ahead_s
        first_s = now_s if first_s is None else first_s
        if now_s - first_s > options.seconds:
            break
        run.advance(now_s)
        run.sensing.take(topic, msgtype, recorded_s, message)
        progress(now_s - first_s)
    record = run.finish()
    record.wall_s = time.perf_counter() - begin_s
    return record


class _Run:
    """The event loop: messages come from outside, turns of commands, plans and goals from the clock."""

    def __init__(self, model: WorldModel, facts: BagFacts, options: OfflineOptions) -> None:
        settings = self._settings = options.settings
        self._facts, self._goal_plan = facts, options.goal
        clock: Callable[[], float] = time.perf_counter
        if options.frames_per_s is not None:
            clock = WorkClock(options.frames_per_s)
            model = ScheduledModel(model=model, clock=clock)
        notes: list[str] = []
        camera = settings.camera
        guess = CameraGuess(
            xyz_m=(camera.x, camera.y, camera.z),
            rpy_rad=(camera.roll, camera.pitch, camera.yaw),
            field_of_view_rad=math.radians(camera.horizontal_fov_deg),
            rectified=camera.rectified,
        )
        self._buffer = ObservationBuffer(model.spec, camera_place(facts, guess, notes))
        self.sensing = BagSensing(
            facts, self._buffer, field_of_view_rad=guess.field_of_view_rad, rectified=guess.rectified
        )
        self._pilot = Pilot(Follower(settings.robot, FollowerSettings(lost_m=settings.command.lost_m)))
        planners = PlannerFactory(settings, model.spec, options.weights, clock)
        self._planning = PlanningThread(
            model=model,
            buffer=self._buffer,
            planner_for=planners.make,
            settings=settings,
            situation=self._situation,
            deliver=lambda outcome: None,
            say=notes.append,
            clock=clock,
        )
        self._planning.resume()
        self._tracker: GoalTracker | None = None
        self._ended = ""
        self._now_s = math.nan
        self._turn_s = self._due_s = self._goal_due_s = math.nan
        self._begun: Situation | None = None
        self._waiting: tuple[float, Outcome, CycleRecord] | None = None
        self.record = RunRecord(
            period_s=1.0 / settings.planner.rate_hz,
            schedule="measured" if options.frames_per_s is None else f"{options.frames_per_s:g} frames/s",
            notes=notes,
            weights=dict(options.weights),
            max_range_m=model.spec.max_range_m,
        )

    def advance(self, to_s: float) -> None:
        """Do all that is due before ``to_s``, in order of time."""
        if math.isnan(self._now_s):
            self._now_s = self._turn_s = self._due_s = self._goal_due_s = self.record.from_s = to_s
        while True:
            ready_s = self._waiting[0] if self._waiting is not None else math.inf
            # A cycle runs alone: the next one begins after its plan was handed over.
            due_s = self._due_s if self._waiting is None else math.inf
            events = [
                (self._goal_due_s, self._send_goal),
                (ready_s, self._hand_over),
                (self._turn_s, self._command),
                (due_s, self._plan),
            ]
            time_s, act = min(events, key=lambda event: event[0])
            if time_s > to_s:
                break
            self._now_s = max(self._now_s, time_s)
            act()
        self._now_s = max(self._now_s, to_s)

    def finish(self) -> RunRecord:
        """The record; a plan that was still being made is part of it."""
        if self._waiting is not None:
            self._hand_over()
        record, planning = self.record, self._planning
        record.to_s, record.late, record.skipped = self._now_s, planning.late, planning.skipped
        record.counts, record.refused = dict(self._buffer.counts), dict(self.sensing.refused)
        record.received = dict(self.sensing.received)
        record.notes += self.sensing.notes
        record.peak_memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return record

    def _send_goal(self) -> None:
        self._goal_due_s += self._goal_plan.interval_s
        if len(self._facts.path_T4) == 0 and self._goal_plan.place_2 is None:
            return
        goal_3 = self._goal_plan.at(self._facts, self._now_s)
        if goal_3 is None:
            return
        options = self._settings.goal
        goal = Goal(
            x_m=float(goal_3[0]),
            y_m=float(goal_3[1]),
            yaw_rad=float(goal_3[2]) if options.match_heading else None,
            tolerance_m=options.tolerance_m,
        )
        self._tracker = GoalTracker(goal, self._now_s, timeout_s=options.timeout_s)
        self._ended = ""
        self.record.goals.append((self._now_s, goal.x_m, goal.y_m))

    def _command(self) -> None:
        self._turn_s += 1.0 / self._settings.command.rate_hz
        self._decide()

    def _decide(self) -> None:
        state = self._state()
        if self._tracker is not None and state is not None and self._tracker.update(state) != "active":
            self._ended, self._tracker = f"goal {self._tracker.state}", None
        decision = self._pilot.decide(
            self._situation_facts(),
            self._settings.safety,
            state,
            self._scan(),
            camera_problem=self.sensing.problem,
        )
        if isinstance(decision, Stop):
            record = CommandRecord(
                time_s=self._now_s,
                twist_3=np.zeros(3),
                stop=decision.kind,
                sentence=decision.sentence,
                fault=decision.fault,
            )
        else:
            record = CommandRecord(time_s=self._now_s, twist_3=decision)
        self.record.commands.append(record)

    def _plan(self) -> None:
        planning, period_s = self._planning, self.record.period_s
        self._begun = None
        outcome = planning.cycle(period_s)
        if outcome is None:  # nothing to plan for yet: look again soon
            self._due_s = self._now_s + _LOOK_AGAIN_S
            return
        planning.cycles += 1
        planning.late += outcome.late
        ready_s = self._now_s + outcome.cycle_s
        if outcome.failure is not None and outcome.result is None:
            self._due_s = ready_s + 1.0
        else:
            missed = max(0, int((ready_s - self._due_s) / period_s))
            planning.skipped += missed
            self._due_s += period_s * (1 + missed)
        self._waiting = ready_s, outcome, self._kept(outcome, ready_s)

    def _kept(self, outcome: Outcome, ready_s: float) -> CycleRecord:
        result, begun = outcome.result, self._begun
        failure = outcome.failure
        return CycleRecord(
            start_s=self._now_s,
            ready_s=ready_s,
            state=None if begun is None else begun.state,
            goal=None if begun is None else begun.goal,
            scan=None if begun is None else begun.scan,
            plan=None if result is None else result.plan,
            reason=result.reason if result is not None else failure.sentence if failure is not None else "",
            stop="" if failure is None else failure.kind,
            cycle_s=outcome.cycle_s,
            late=outcome.late,
            horizon_s=0.0 if result is None else result.horizon_s,
            timings_s=outcome.timings_s,
            considered=None if result is None else considered(result),
        )

    def _hand_over(self) -> None:
        assert self._waiting is not None
        _, outcome, kept = self._waiting
        self._waiting = None
        self.record.cycles.append(kept)
        if outcome.details:
            self.record.notes.append(outcome.details)
        if self._tracker is not None:
            self._pilot.take(outcome)
            self._decide()  # the node's command loop wakes up for a new plan, too

    def _situation(self) -> Situation | None:
        goal = None if self._tracker is None else self._tracker.goal
        self._begun = self._pilot.situation(
            self._situation_facts(), self._settings.safety, self._state(), goal, self._scan()
        )
        return self._begun

    def _situation_facts(self) -> Facts:
        plan = self._pilot.follower.plan
        return Facts(
            active=True,
            paused=False,
            sim_time=True,
            now_s=self._now_s,
            clock_still_s=0.0,
            image_age_s=self._buffer.image_age_s(self._now_s),
            image_silence_s=0.0,
            odometry_age_s=self._buffer.odometry_age_s(self._now_s),
            odometry_silence_s=0.0,
            goal=self._tracker is not None,
            goal_ended=self._ended,
            failure=self._pilot.failure,
            plan_valid_until_s=None if plan is None else plan.valid_until_s,
        )

    def _state(self) -> RobotState | None:
        return present_state(self._buffer.latest_motion, self._now_s)

    def _scan(self) -> Scan | None:
        scan = self.sensing.scan
        return scan[1] if scan is not None and abs(self._now_s - scan[0]) <= _SCAN_MAX_AGE_S else None
