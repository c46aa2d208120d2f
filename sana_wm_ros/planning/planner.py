"""One planning cycle: propose, imagine and halve, score, validate; a plan comes out, or the reason why none.

Dimension letters: N candidates, F latent frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.critic_manager import BadCritic, CriticManager
from sana_wm_ros.planning.draws import alike, judged
from sana_wm_ros.planning.free_space import FreeSpaceSettings
from sana_wm_ros.planning.memory import Memory
from sana_wm_ros.planning.optimizer import HalvingSettings, Search, finite_rows, search
from sana_wm_ros.planning.pace import Pace, duration_s
from sana_wm_ros.planning.proposals import ProposalSettings, not_over, propose
from sana_wm_ros.planning.refinement import RefinementSettings, refine
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.tracking import reference
from sana_wm_ros.planning.trust import Foretold, TrustHorizon, TrustSettings
from sana_wm_ros.planning.types import (
    Candidates,
    FloatArray,
    Futures,
    Goal,
    PlaceGoal,
    Plan,
    PlanResult,
    Robot,
    RobotState,
)
from sana_wm_ros.planning.validator import ValidatorSettings, invalid
from sana_wm_ros.world_model.protocol import Context, Rollout

_MOST_RESERVED, _RESERVE_KEPT = 0.15, 0.995  # of the time for a plan; from one plan to the next
_FULL_SPEED_S = 3.0  # of trust; with less, candidates are asked to drive slower


@dataclass(frozen=True, kw_only=True)
class PlannerSettings:
    """validity_s: how long after its start a plan may be followed. draws: of noise for each finalist, where
    the model's imagination differs by it. steps: denoising steps per chunk (None: the preset's).
    discount_beyond_trust: what lies beyond the trust horizon counts less, and the robot drives slower where
    that is short. steadiness: another plan must cost so much less than the last one carried on; a robot that
    changes its mind every second gets nowhere. trail_is_free: where the robot has been, it may go again,
    whatever is imagined there.
    """

    proposals: ProposalSettings = field(default_factory=ProposalSettings)
    halving: HalvingSettings = field(default_factory=HalvingSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    free_space: FreeSpaceSettings = field(default_factory=FreeSpaceSettings)
    validator: ValidatorSettings = field(default_factory=ValidatorSettings)
    trust: TrustSettings = field(default_factory=TrustSettings)
    discount_beyond_trust: bool = True
    steadiness: float = 0.3
    trail_is_free: bool = True
    validity_s: float = 3.0
    draws: int = 1
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.validity_s > 0:
            raise ValueError(f"validity_s must be positive, got {self.validity_s}")
        if self.draws < 1 or (self.steps is not None and self.steps < 1):
            raise ValueError(f"draws and steps must be at least 1, got {self.draws} and {self.steps}")


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
        imagined_by_s = watch.begin + deadline_s - min(self._reserve_s, _MOST_RESERVED * deadline_s)
        cycle = _Cycle(self, context, start, goal, imagined_by_s, generator, commit_s)
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
            cycle.draw_again()
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
        self._reserve_s = max(afterwards_s, _RESERVE_KEPT * self._reserve_s)
        return watch.result(
            deadline_s,
            plan=plan,
            reason=reason,
            futures=cycle.futures(candidates, first.rollout),
            costs_N=costs,
            horizons_N=horizons,
            finalists=cycle.futures(candidates.select(last.index_N), last.rollout),
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

    def saw(self, camera_poses_T44: FloatArray, end_s: float, latent_CHW: torch.Tensor | None) -> None:
        """The camera was at these poses, in order of time, and saw the latent at the last of them.

        Where the robot has been, it may go again; and what was foretold for this moment is compared.
        """
        poses_T3 = se3.to_planar(camera_poses_T44 @ se3.inverse(self._T_base_camera_44))
        self.memory.been(poses_T3)
        if latent_CHW is not None and len(poses_T3):
            self.trust.observed(end_s, poses_T3[-1], latent_CHW)

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


class _Cycle:
    """One call of ``plan``: all candidates so far, and what came of imagining them."""

    found: Search

    def __init__(
        self,
        planner: Planner,
        context: Context,
        start: RobotState,
        goal: Goal | PlaceGoal | None,
        deadline_s: float,
        generator: Generator,
        commit_s: float,
    ) -> None:
        self._planner, self._context, self._start, self._goal = planner, context, start, goal
        self._deadline_s, self._generator, self._commit_s = deadline_s, generator, commit_s
        trusted = planner.settings.discount_beyond_trust
        self.trust_s = planner.trust.seconds if trusted else None
        self._visited_ME = planner.memory.visited_ME
        self._seed = int(generator.integers(2**62))
        self.generation, self.draws = 0, 1
        slower = 1.0 if self.trust_s is None else float(np.clip(self.trust_s / _FULL_SPEED_S, 0.7, 1.0))
        wanted = planner.settings.proposals
        self.proposals = replace(wanted, speed_share=slower * wanted.speed_share)

    def propose(self, candidates: Candidates) -> None:
        """Begin with these."""
        self.candidates = candidates

    def futures(self, some: Candidates, rollout: Rollout) -> Futures:
        """Candidates with what was imagined for them."""
        driven = some.first(rollout.collision_NF.shape[1])
        return Futures(
            start=self._start,
            candidates=driven,
            rollout=rollout,
            goal=self._goal,
            robot=self._planner.robot,
            proposed=some,
            visited_ME=self._visited_ME,
            trodden_NF=self._planner.memory.trodden(driven.poses_NF3),
            bumps_B2=self._planner.memory.bumps_B2,
            trust_s=self.trust_s,
        )

    def search(self) -> None:
        """Imagine and halve the candidates; what was imagined for all is remembered."""
        self.found = self._searched(self.candidates, self._planner.settings.halving)
        first = self.found.rounds[0]
        fine = np.flatnonzero(np.isfinite(first.costs_N))
        if len(fine):
            rows = torch.from_numpy(fine)
            some = self.candidates.select(first.index_N[fine])
            self._planner.memory.imagined(self.futures(some, first.rollout.select(rows)))

    def may_refine(self) -> bool:
        """Whether one more generation is wanted, and fits."""
        settings = self._planner.settings
        if self.generation >= settings.refinement.generations or not self.found.complete:
            return False
        if not len(self._elites()):
            return False
        halving = settings.halving
        expected_s = duration_s(
            [one.horizon_s for one in self.found.rounds],
            settings.refinement.count,
            self._planner._pace,
            period_s=float(self.candidates.times_F[0]),
            keep_fraction=halving.keep_fraction,
            keep_least=halving.keep_least,
        )
        scoring_s = self.found.score_s * settings.refinement.count / len(self.candidates)
        left_s = (self._deadline_s - self._planner._clock()) / halving.margin
        return expected_s + scoring_s <= left_s

    def refine(self, *, with_ways: bool) -> None:
        """One generation around the best ones, joined to all others where it got as far as they."""
        planner, settings = self._planner, self._planner.settings
        ways: list[FloatArray] = []
        if with_ways and self.generation == 0 and isinstance(self._goal, Goal) and self._goal.path_M2 is None:
            # The first plan knows ways only now that something was imagined.
            wanted = settings.proposals.counts(self._goal)["ways"]
            ways = planner.memory.ways(self._start.pose_3, self._goal, wanted, self._generator)
        refined = refine(
            planner.robot,
            self._start,
            self._goal,
            self.candidates.select(self._elites()),
            self.proposals,
            settings.refinement,
            self._generator,
            generation=self.generation,
            commit_s=self._commit_s,
            ways=ways,
        )
        horizons = tuple(one.horizon_s for one in self.found.rounds)
        halving = replace(settings.halving, rounds_s=horizons, least_s=horizons[0])
        joined = self.found.joined(self._searched(refined, halving), len(self.candidates))
        self.generation += 1
        if joined is not None:
            self.candidates, self.found = Candidates.cat([self.candidates, refined]), joined

    def draw_again(self) -> None:
        """Imagine the finalists with other noise, while time allows and where that makes a difference."""
        planner, last = self._planner, self.found.rounds[-1]
        wanted = planner.settings.draws
        if wanted < 2 or not planner._draws_differ or not np.isfinite(last.costs_N).all():
            return
        some = self.candidates.select(last.index_N)
        frames = last.rollout.collision_NF.shape[1]
        cameras = self._cameras(some)[:, :frames]
        costs, shares = [last.costs_N], [last.shares]
        for draw in range(1, wanted):
            expected_s = (planner._pace.frame_s(len(some)) or 0.0) * frames * planner.settings.halving.margin
            begin_s = planner._clock()
            if begin_s + expected_s > self._deadline_s:
                break
            batch = self._context.fork(len(some))
            noise = torch.Generator().manual_seed(self._seed + draw)
            _, rollout = batch.imagine(cameras, steps=planner.settings.steps, generator=noise)
            planner._pace.observe(len(some), frames, planner._clock() - begin_s)
            if alike(last.rollout, rollout):
                planner._draws_differ = False
                return
            if not finite_rows(rollout).all():
                break
            cost, share = self._scored(some, rollout)
            costs.append(cost)
            shares.append(share)
        self.draws = len(costs)
        if self.draws > 1:
            all_draws = judged(costs, shares)
            self.found = self.found.rejudged(all_draws.costs_N, all_draws.shares)

    @torch.inference_mode()
    def whole(self, row: int) -> Futures:
        """One candidate imagined to the end of the horizon."""
        one = self.candidates.select(np.array([row]))
        noise = torch.Generator().manual_seed(self._seed)
        batch, steps = self._context.fork(1), self._planner.settings.steps
        _, rollout = batch.imagine(self._cameras(one), steps=steps, generator=noise)
        return self.futures(one, rollout)

    def expect(self, best: int) -> None:
        """Keep what was imagined for the plan until the camera has seen it."""
        one = next(one for one in reversed(self.found.rounds) if best in one.index_N)
        row = int(np.flatnonzero(one.index_N == best)[0])
        frames = one.rollout.collision_NF.shape[1]
        self._planner.trust.foretold(
            Foretold(
                made_s=self._start.time_s,
                times_F=self._start.time_s + self.candidates.times_F[:frames],
                poses_F3=self.candidates.poses_NF3[best, :frames],
                latents_FCHW=one.rollout.latents_NFCHW[row].clone(),
                expected_F=one.rollout.uncertainty_NF[row].double().cpu().numpy(),
            )
        )

    def _elites(self) -> NDArray[np.int64]:
        """The best rows; never "stop", around which there is nothing to refine."""
        rows = [row for row in self.found.ranking if self.candidates.origins[row] != "stop"]
        return np.array(rows[: self._planner.settings.refinement.elites], dtype=np.int64)

    def _searched(self, candidates: Candidates, halving: HalvingSettings) -> Search:
        planner = self._planner
        return search(
            candidates,
            self._cameras(candidates),
            self._context.fork(len(candidates)),
            self._scored,
            halving,
            deadline_s=self._deadline_s,
            clock=planner._clock,
            generator=torch.Generator().manual_seed(self._seed),  # the same noise for every generation
            pace=planner._pace,
            steps=planner.settings.steps,
        )

    def _scored(self, some: Candidates, rollout: Rollout) -> tuple[FloatArray, dict[str, FloatArray]]:
        costs_N, shares = self._planner.critics.score(self.futures(some, rollout))
        last_N = np.array([origin == "last plan" for origin in some.origins])
        return costs_N - self._planner.settings.steadiness * last_N, shares

    def _cameras(self, candidates: Candidates) -> torch.Tensor:
        poses = camera_poses(candidates.poses_NF3, self._planner._T_base_camera_44)
        return torch.from_numpy(poses).to(torch.float32)


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
