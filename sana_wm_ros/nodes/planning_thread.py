"""The one thread that runs the model: takes in new frames, plans at the configured rate, hands the outcome over.

Nothing waits for it. It reads the newest state when a cycle begins, and whatever goes wrong in a cycle
becomes an outcome with a reason; the next cycle starts from a context rebuilt out of the buffer.
"""

from __future__ import annotations

import gc
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from sana_wm_ros.nodes.settings import Settings
from sana_wm_ros.nodes.supervisor import Stop
from sana_wm_ros.planning.context_keeper import ContextKeeper, ContextLimits
from sana_wm_ros.planning.free_space import FreeSpace
from sana_wm_ros.planning.place import embedded
from sana_wm_ros.planning.planner import Planner
from sana_wm_ros.planning.recovery import Recovery
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import FloatArray, Goal, PlaceGoal, Plan, PlanResult, RobotState
from sana_wm_ros.world_model.observation_buffer import NewFrames, ObservationBuffer
from sana_wm_ros.world_model.protocol import Context, WorldModel

NO_WAY_OUT = "no way out"
_RETRY_S = 1.0
_OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What a cycle starts from: the newest state, goal (None: explore), plan and scan."""

    state: RobotState
    goal: Goal | PlaceGoal | None
    previous: Plan | None
    scan: Scan | None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a cycle came to. Exactly one of ``result.plan`` and ``failure`` is there; durations in seconds."""

    result: PlanResult | None
    failure: Stop | None
    cycle_s: float
    late: bool
    context_frames: int
    details: str = ""
    timings_s: dict[str, float] = field(default_factory=dict)


class PlanningThread:
    """Plans while ``situation`` gives something to plan for.

    planner_for: makes the planner for a camera's place on the robot, anew whenever that changes.
    situation: the newest facts, or None while there is nothing to plan for.
    deliver: takes each outcome; called in this thread.
    say: takes a sentence for the log. clock: steady seconds; an offline run, which calls ``cycle`` itself and
    never starts the thread, may pass a simulated one.
    """

    def __init__(
        self,
        *,
        model: WorldModel,
        buffer: ObservationBuffer,
        planner_for: Callable[[FloatArray], Planner],
        settings: Settings,
        situation: Callable[[], Situation | None],
        deliver: Callable[[Outcome], None],
        say: Callable[[str], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model, self._buffer, self._settings = model, buffer, settings
        self._recovery = Recovery(settings.robot)
        self._goal: Goal | PlaceGoal | None = None
        self._place: tuple[PlaceGoal, PlaceGoal] | None = None
        self._planner_for, self._planner = planner_for, planner_for(buffer.T_base_camera_44)
        self._planner_place_44 = buffer.T_base_camera_44
        self._situation, self._deliver, self._say, self._clock = situation, deliver, say, clock
        self._keeper = ContextKeeper(
            model,
            buffer,
            ContextLimits(rebuild_s=settings.context.rebuild_s),
            taken=self._on_frames,
            say=say,
        )
        self._usual_s = 0.0
        self._seen_until_s = -np.inf
        self._active = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="planning", daemon=True)
        self.late = 0
        self.cycles = 0
        self.skipped = 0

    def start(self) -> None:
        """Begin; it plans once ``resume`` was called."""
        self._thread.start()

    def resume(self) -> None:
        """Plan from now on."""
        self._random = np.random.default_rng(self._settings.planner.seed)
        self._active.set()

    def pause(self) -> None:
        """Plan no more after the present cycle, whose outcome is still delivered."""
        self._active.clear()

    def close(self) -> None:
        """End after the present cycle."""
        self._ended.set()
        self._active.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30.0)

    def _run(self) -> None:
        period_s = 1.0 / self._settings.planner.rate_hz
        due_s = time.monotonic()
        while not self._ended.is_set():
            if not self._active.is_set():
                self._active.wait()
                due_s = time.monotonic()
                continue
            outcome = self.cycle(period_s)
            if outcome is not None:
                self.cycles += 1
                self.late += outcome.late
                self._deliver(outcome)
            now_s = time.monotonic()
            if outcome is None:
                due_s = (
                    now_s + 0.05
                )  # nothing to plan for yet: look again soon, so a goal is answered at once
            elif outcome.failure is not None and outcome.result is None:
                due_s = now_s + _RETRY_S
            else:
                missed = max(0, int((now_s - due_s) / period_s))
                self.skipped += missed
                due_s += period_s * (1 + missed)
            self._ended.wait(max(0.0, due_s - now_s))

    def cycle(self, period_s: float) -> Outcome | None:
        """Take in what was seen and plan once; None where there is nothing to plan for."""
        begin_s = self._clock()
        budget_s = self._settings.planner.budget_s or 0.9 * period_s
        timings_s: dict[str, float] = {}
        result: PlanResult | None = None
        failure: Stop | None = None
        details = ""
        try:
            self._keeper.update()
            timings_s["context"] = self._clock() - begin_s
            situation = self._situation()
            if situation is None:
                return None
            context = self._keeper.context
            if context is None:
                failure = Stop(kind="no plan yet", sentence="no picture with a pose was taken in yet")
            else:
                result = self._plan(context, situation, budget_s - (self._clock() - begin_s))
                timings_s |= result.timings_s
                result, failure = self._recovered(result, situation)
        except Exception as error:  # the model or a user's critic may fail in any way; the robot stops
            details = traceback.format_exc()
            failure = self._failed(error)
        cycle_s = self._clock() - begin_s
        if result is not None:
            self._usual_s = cycle_s if self._usual_s == 0.0 else 0.7 * self._usual_s + 0.3 * cycle_s
        return Outcome(
            result=result,
            failure=failure,
            cycle_s=cycle_s,
            late=result is not None and (not result.deadline_met or cycle_s > period_s),
            context_frames=0 if self._keeper.context is None else self._keeper.context.latent_frames,
            details=details,
            timings_s=timings_s,
        )

    def _failed(self, error: Exception) -> Stop:
        """Let go of everything that the model holds: the next cycle begins with a rebuilt context."""
        self._keeper.drop()
        words = str(error).lower()
        memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or any(
            w in words for w in _OUT_OF_MEMORY
        )
        del error
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if memory:
            advice = "take fewer planner.candidates or a shorter planner.horizon_s"
            return Stop(
                kind="out of memory", sentence=f"the model ran out of memory: {advice} ({words[:200]})"
            )
        return Stop(kind="model failed", sentence=f"planning failed: {words[:300]}")

    def _on_frames(self, frames: NewFrames, context: Context) -> None:
        """The planner remembers where the robot was; frames of a rebuilt context are no news."""
        new_T = frames.stamps_T > self._seen_until_s
        intrinsics = self._buffer.intrinsics
        assert intrinsics is not None, "frames were taken in, so there is a camera"
        half_view_rad = intrinsics.half_view_rad(self._model.spec.image_width)
        self._planner.saw(frames.poses_T44[new_T], frames.end_stamp_s, context, half_view_rad)
        self._seen_until_s = frames.end_stamp_s

    @property
    def trust_s(self) -> float:
        """The trust horizon."""
        return self._planner.trust.seconds

    @property
    def free_space(self) -> FreeSpace:
        """What is known of the floor around the robot; to be read in the planning thread."""
        return self._planner.memory.free_space

    def _recovered(self, result: PlanResult, situation: Situation) -> tuple[PlanResult, Stop | None]:
        """What to drive: the plan, a recovery behaviour while the robot is stuck, or nothing and why."""
        if not _same_task(situation.goal, self._goal):
            self._recovery.reset()
        self._goal = situation.goal
        trail_P3 = self._planner.memory.trail_P3
        plan, reason = self._recovery.after(result, situation.state, trail_P3, situation.scan)
        if plan is not result.plan:
            if plan is not None and plan.start.time_s == situation.state.time_s:
                self._say(f"stuck: {reason}")
            result = replace(result, plan=plan, reason=reason, best=None)
        if plan is not None:
            return result, None
        if self._recovery.gave_up:
            return result, Stop(kind=NO_WAY_OUT, sentence=reason)
        return result, Stop(kind="no valid candidate", sentence=f"no plan: {reason}")

    def _embedded(self, goal: Goal | PlaceGoal | None) -> Goal | PlaceGoal | None:
        """The goal, its picture embedded; once per goal."""
        if not isinstance(goal, PlaceGoal) or goal.picture_HWC is None or goal.place_E is not None:
            return goal
        if self._place is None or self._place[0] is not goal:
            intrinsics = self._buffer.intrinsics
            assert intrinsics is not None, "there is a context, so there was a camera"
            place_E = embedded(self._model, goal.picture_HWC, intrinsics)
            self._place = (goal, replace(goal, place_E=place_E))
        return self._place[1]

    def _plan(self, context: Context, situation: Situation, deadline_s: float) -> PlanResult:
        place_44 = self._buffer.T_base_camera_44
        if not np.array_equal(place_44, self._planner_place_44):
            memory, trust = self._planner.memory, self._planner.trust
            self._planner, self._planner_place_44 = self._planner_for(place_44), place_44
            self._planner.memory, self._planner.trust = memory, trust
        return self._planner.plan(
            context,
            situation.state,
            self._embedded(situation.goal),
            deadline_s,
            self._random,
            situation.previous,
            scan=situation.scan,
            commit_s=min(self._usual_s, 2.0),  # the robot does what it does until this plan is out
        )


def _same_task(a: Goal | PlaceGoal | None, b: Goal | PlaceGoal | None) -> bool:
    """Whether a goal is the old one, sent again perhaps."""
    if isinstance(a, Goal) and isinstance(b, Goal):
        return bool(np.hypot(a.x_m - b.x_m, a.y_m - b.y_m) < 0.5)
    return a is b
