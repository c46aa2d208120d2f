"""One planning cycle: propose, imagine and halve, score, validate; a plan comes out, or the reason why none.

Dimension letters: N candidates, F latent frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator

from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.critic_manager import BadCritic, CriticManager
from sana_wm_ros.planning.optimizer import HalvingSettings, Search, search
from sana_wm_ros.planning.proposals import ProposalSettings, propose
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import (
    Candidates,
    FloatArray,
    Futures,
    Goal,
    Plan,
    PlanResult,
    Robot,
    RobotState,
)
from sana_wm_ros.planning.validator import ValidatorSettings, invalid
from sana_wm_ros.world_model.protocol import Context, Rollout


@dataclass(frozen=True, kw_only=True)
class PlannerSettings:
    """validity_s: how long after its start a plan may be followed."""

    proposals: ProposalSettings = field(default_factory=ProposalSettings)
    halving: HalvingSettings = field(default_factory=HalvingSettings)
    validator: ValidatorSettings = field(default_factory=ValidatorSettings)
    validity_s: float = 3.0

    def __post_init__(self) -> None:
        if not self.validity_s > 0:
            raise ValueError(f"validity_s must be positive, got {self.validity_s}")


class Planner:
    """Plans for one robot with one camera, mounted at ``T_base_camera_44`` (optical axes)."""

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
        self._T_base_camera_44 = np.asarray(T_base_camera_44, dtype=np.float64)
        self._clock = clock

    @torch.inference_mode()
    def plan(
        self,
        context: Context,
        start: RobotState,
        goal: Goal | None,
        deadline_s: float,
        generator: Generator,
        previous: Plan | None = None,
        *,
        scan: Scan | None = None,
        commit_s: float = 0.0,
    ) -> PlanResult:
        """The best valid way from ``start``, within ``deadline_s`` seconds from now.

        The first piece of imagination is always made, so a deadline below its duration is missed and
        ``deadline_met`` is false. ``previous`` is carried on as one of the candidates. ``commit_s`` are the
        seconds for which the robot goes on with ``previous`` anyway (while this call runs): every candidate
        but "stop" begins so. Failures that are to be expected give a result without a plan and a reason;
        what the model raises is raised.
        """
        watch = _Timings(self._clock)
        if not (np.isfinite(start.pose_3).all() and np.isfinite(start.twist_3).all()):
            return watch.result(deadline_s, plan=None, reason="the robot's pose or velocity is not finite")
        if goal is not None and not np.isfinite([goal.x_m, goal.y_m, goal.yaw_rad or 0.0]).all():
            return watch.result(deadline_s, plan=None, reason="the goal is not finite")
        if goal is None:
            return watch.result(deadline_s, plan=None, reason="there is no goal")
        if context.latent_frames == 0:
            return watch.result(deadline_s, plan=None, reason="nothing was seen yet")
        candidates = propose(
            self.robot, start, goal, self.settings.proposals, generator, previous=previous, commit_s=commit_s
        )
        cameras = camera_poses(candidates.poses_NF3, self._T_base_camera_44)
        watch.lap("propose")

        def futures(some: Candidates, rollout: Rollout) -> Futures:
            return Futures(
                start=start,
                candidates=some.first(rollout.collision_NF.shape[1]),
                rollout=rollout,
                goal=goal,
                robot=self.robot,
                proposed=some,
            )

        try:
            found = search(
                candidates,
                torch.from_numpy(cameras).to(torch.float32),
                context.fork(len(candidates)),
                lambda some, rollout: self.critics.score(futures(some, rollout)),
                self.settings.halving,
                deadline_s=watch.begin + deadline_s,
                clock=self._clock,
                generator=torch.Generator().manual_seed(int(generator.integers(2**62))),
            )
        except BadCritic as error:
            return watch.result(deadline_s, plan=None, reason=str(error))
        watch.lap("imagine")
        watch.timings_s["imagine"], watch.timings_s["score"] = found.imagine_s, found.score_s
        first, last = found.rounds[0], found.rounds[-1]
        costs, horizons, shares = _latest(found, len(candidates))
        best, reason = self._first_valid(start, candidates, found, scan)
        watch.lap("validate")
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
        return watch.result(
            deadline_s,
            plan=plan,
            reason=reason,
            futures=futures(candidates, first.rollout),
            costs_N=costs,
            horizons_N=horizons,
            finalists=futures(candidates.select(last.index_N), last.rollout),
            finalist_index=last.index_N,
            best=best,
            shares=shares,
            horizon_s=found.horizon_s,
        )

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
