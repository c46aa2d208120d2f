"""One planning cycle: propose, imagine and halve, score, validate; a plan comes out, or the reason why none.

Dimension letters: N candidates, F latent frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.random import Generator

from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.critic_manager import BadCritic, CriticManager
from sana_wm_ros.planning.cycle import Cycle, Means
from sana_wm_ros.planning.memory import Memory
from sana_wm_ros.planning.pace import Pace
from sana_wm_ros.planning.planner_settings import PlannerSettings
from sana_wm_ros.planning.proposals import not_over, propose
from sana_wm_ros.planning.rounds import Search
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.tracking import reference
from sana_wm_ros.planning.trust import TrustHorizon
from sana_wm_ros.planning.types import (
    Candidates,
    FloatArray,
    Goal,
    PlaceGoal,
    Plan,
    PlanResult,
    Robot,
    RobotState,
)
from sana_wm_ros.planning.validator import invalid
from sana_wm_ros.world_model.protocol import Context, Rollout

_MOST_RESERVED, _RESERVE_KEPT = 0.15, 0.995  # of the time for a plan; from one plan to the next
_SPARE = 0.02  # of the time for a plan, beyond what plans before took: the next may take a little longer

__all__ = ["Planner", "PlannerSettings"]


class Planner:
    """Plans for one robot with one camera, mounted at ``T_base_camera_44`` (optical axes).

    ``memory`` holds what earlier plans left, ``trust`` how far ahead the model can be believed.
    """

    def __init__(
        self,
        robot: Robot,
        T_base_camera_44: FloatArray,
        critics: CriticManager,
        settings: PlannerSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.robot, self.critics = robot, critics
        self.settings = settings or PlannerSettings()
        self.memory = Memory(
            robot.radius_m, self.settings.free_space, trail_is_free=self.settings.trail_is_free
        )
        self.trust = TrustHorizon(self.settings.trust)
        self._T_base_camera_44 = np.asarray(T_base_camera_44, dtype=np.float64)
        self._clock = clock
        self._pace = Pace()
        self._reserve_s = 0.0
        self._draws_differ = True

    @torch.inference_mode()
    def plan(
        self,
        context: Context,
        start: RobotState,
        goal: Goal | PlaceGoal | None,
        deadline_s: float,
        generator: Generator,
        previous: Plan | None = None,
        *,
        scan: Scan | None = None,
        commit_s: float = 0.0,
    ) -> PlanResult:
        """The best valid way from ``start``, within ``deadline_s`` seconds from now. No goal: explore.

        The first piece of imagination is always made, so a deadline below its duration is missed and
        ``deadline_met`` is false. ``previous`` is carried on as one of the candidates. ``commit_s`` are the
        seconds for which the robot goes on with ``previous`` anyway (while this call runs): every candidate
        but "stop" begins so. Failures that are to be expected give a result without a plan and a reason; what the
        model raises is raised.
        """
        watch = _Timings(self._clock)
        refusal = _unusable(context, start, goal)
        if refusal:
            return watch.result(deadline_s, plan=None, reason=refusal)
        bumped = previous is not None and self.memory.tried(start, previous)
        # Earlier plans took so long for what comes after imagining, or imagined too long by so much.
        most_s = _MOST_RESERVED * deadline_s
        imagine_s = max((1 - _MOST_RESERVED) * deadline_s, (1 - _SPARE) * deadline_s - self._reserve_s)
        imagined_by_s = watch.begin + imagine_s
        cycle = Cycle(self._means(), context, start, goal, imagined_by_s, generator, commit_s)
        previous = not_over(previous, start)
        ways, openings = self._leads(start, goal, previous, commit_s, generator)
        cycle.propose(
            propose(
                self.robot,
                start,
                goal,
                cycle.proposals,
                generator,
                previous=previous,
                commit_s=commit_s,
                ways=ways,
                openings=openings,
            )
        )
        watch.lap("propose")
        try:
            cycle.search()
            while cycle.may_refine():
                cycle.refine(with_ways=not ways)
            if self._draws_differ:
                self._draws_differ = cycle.draw_again()
        except BadCritic as error:
            return watch.result(deadline_s, plan=None, reason=str(error))
        imagined_s = self._clock()
        watch.lap("imagine")
        found, candidates = cycle.found, cycle.candidates
        watch.timings_s |= {"imagine": found.imagine_s, "score": found.score_s}
        first, last = found.rounds[0], found.rounds[-1]
        costs, horizons, shares = _latest(found, len(candidates))
        best, reason = self._first_valid(start, candidates, found, scan)
        watch.lap("validate")
        if best is not None:
            cycle.expect(best)
        plan = None
        if best is not None:
            plan = Plan(
                start=start,
                times_F=candidates.times_F,
                poses_F3=candidates.poses_NF3[best],
                twists_F3=candidates.twists_NF3[best],
                cost=float(costs[best]),
                valid_until_s=start.time_s + self.settings.validity_s,
                origin=candidates.origins[best],
            )
        afterwards_s = self._clock() - min(imagined_s, imagined_by_s)
        self._reserve_s = min(max(afterwards_s, _RESERVE_KEPT * self._reserve_s), most_s)
        return watch.result(
            deadline_s,
            plan=plan,
            reason=reason,
            futures=cycle.futures(first.index_N, first.rollout),
            costs_N=costs,
            horizons_N=horizons,
            finalists=cycle.futures(last.index_N, last.rollout),
            finalist_index=last.index_N,
            best=best,
            shares=shares,
            horizon_s=found.horizon_s,
            rounds=tuple((one.horizon_s, len(one.index_N)) for one in found.rounds),
            refinements=cycle.generation,
            draws=cycle.draws,
            trust_s=self.trust.seconds,
            bumped=bumped,
            place_away=_place_away(candidates, first.rollout, goal),
            imagine_whole=cycle.whole,
        )

    @torch.inference_mode()
    def saw(self, camera_poses_T44: FloatArray, end_s: float, context: Context, half_view_rad: float) -> None:
        """The camera was at these poses, in order of time; ``context`` ends with what it saw at the last of them.

        Where the robot has been, it may go again; what stands in its view (``half_view_rad`` to both sides) is
        remembered, and what was foretold for this moment is compared.
        """
        poses_T3 = se3.to_planar(camera_poses_T44 @ se3.inverse(self._T_base_camera_44))
        self.memory.been(poses_T3)
        latent_CHW = context.last_latent_CHW
        if latent_CHW is None or not len(poses_T3):
            return
        self.trust.observed(end_s, poses_T3[-1], latent_CHW)
        if self.settings.views_are_known:
            # The heads read imagined latents: imagine standing still.
            stay = camera_poses(poses_T3[None, -1:], self._T_base_camera_44)
            noise = torch.Generator().manual_seed(0)
            _, rollout = context.fork(1).imagine(torch.from_numpy(stay).to(torch.float32), generator=noise)
            clearance_K = rollout.clearance_NFK[0, 0].double().cpu().numpy()
            if np.isfinite(clearance_K).all() and len(clearance_K):
                forward_3 = self._T_base_camera_44[:3, 2]
                yaw_rad = float(np.arctan2(forward_3[1], forward_3[0]))
                self.memory.view(poses_T3[-1], end_s, clearance_K, yaw_rad, half_view_rad)

    def _means(self) -> Means:
        return Means(
            robot=self.robot,
            T_base_camera_44=self._T_base_camera_44,
            critics=self.critics,
            settings=self.settings,
            clock=self._clock,
            memory=self.memory,
            trust=self.trust,
            pace=self._pace,
        )

    def _leads(
        self,
        start: RobotState,
        goal: Goal | PlaceGoal | None,
        previous: Plan | None,
        commit_s: float,
        generator: Generator,
    ) -> tuple[list[FloatArray], list[FloatArray]]:
        """Ways and openings in what earlier plans imagined, from where the robot will be."""
        self.memory.arrive(start)
        counts = self.settings.proposals.counts(goal)
        begin_3 = start.pose_3
        if previous is not None:
            begin_3 = reference(previous, start.time_s - previous.start.time_s + commit_s)
        ways = []
        if isinstance(goal, Goal) and goal.path_M2 is None:
            ways = self.memory.ways(begin_3, goal, counts["ways"], generator)
        return ways, self.memory.openings(begin_3, goal, counts["openings"])

    def _first_valid(
        self, start: RobotState, candidates: Candidates, found: Search, scan: Scan | None
    ) -> tuple[int | None, str]:
        period_s = float(candidates.times_F[0])
        notes = [f"{found.not_finite} candidates were imagined as not finite"] if found.not_finite else []
        refusals: list[str] = []
        # All were imagined in the first round, and further than the validator looks.
        clearance_NFK = found.rounds[0].rollout.clearance_NFK.cpu().numpy()
        for row in found.ranking:
            refusal = invalid(
                self.robot,
                start,
                candidates.poses_NF3[row],
                candidates.twists_NF3[row],
                period_s,
                self.settings.validator,
                clearance_FK=clearance_NFK[row],
                scan=scan,
            )
            if refusal is None:
                if refusals:
                    notes.insert(0, f"{len(refusals)} better ones were refused, the best as {refusals[0]}")
                return int(row), "; ".join(["ok", *notes])
            refusals.append(refusal)
        if refusals:
            notes.insert(
                0, f"none of {len(refusals)} candidates is valid: the best is refused as {refusals[0]}"
            )
        return None, "; ".join(notes)


def _place_away(candidates: Candidates, rollout: Rollout, goal: Goal | PlaceGoal | None) -> float | None:
    """1 - cos between standing here and the goal's view; None without such a goal."""
    if not isinstance(goal, PlaceGoal) or goal.place_E is None or "stop" not in candidates.origins:
        return None
    here_E = rollout.place_NFE[candidates.origins.index("stop"), 0]
    return float(1 - here_E @ goal.place_E.to(here_E))


def _unusable(context: Context, start: RobotState, goal: Goal | PlaceGoal | None) -> str:
    """Why no plan can be made, or nothing."""
    if not (np.isfinite(start.pose_3).all() and np.isfinite(start.twist_3).all()):
        return "the robot's pose or velocity is not finite"
    if isinstance(goal, Goal):
        path = 0.0 if goal.path_M2 is None else float(np.sum(goal.path_M2))
        if not np.isfinite([goal.x_m, goal.y_m, goal.yaw_rad or 0.0, path]).all():
            return "the goal is not finite"
    if isinstance(goal, PlaceGoal):
        if goal.place_E is None:
            return "the goal's picture was not embedded"
        if not bool(torch.isfinite(goal.place_E).all()):
            return "the goal is not finite"
    return "nothing was seen yet" if context.latent_frames == 0 else ""


def _latest(found: Search, size: int) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
    """Every candidate's cost, horizon and shares from the last round it took part in."""
    costs, horizons = np.full(size, np.inf), np.zeros(size)
    shares: dict[str, FloatArray] = {}
    for one in found.rounds:
        costs[one.index_N], horizons[one.index_N] = one.costs_N, one.horizon_s
        for name, share in one.shares.items():
            shares.setdefault(name, np.full(size, np.nan))[one.index_N] = share
    return costs, horizons, shares


class _Timings:
    """Seconds per stage, and whether the whole met its deadline."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.begin = self._last = clock()
        self.timings_s: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        now = self._clock()
        self.timings_s[stage], self._last = now - self._last, now

    def result(self, deadline_s: float, **fields: object) -> PlanResult:
        met = self._clock() - self.begin <= deadline_s
        return PlanResult(timings_s=self.timings_s, deadline_met=met, **fields)  # type: ignore[arg-type]
