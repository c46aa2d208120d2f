"""One planning cycle at work: candidates are imagined, halved, refined, drawn again, and remembered.

Dimension letters: N candidates, F latent frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray

from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.critic_manager import CriticManager
from sana_wm_ros.planning.draws import alike, judged
from sana_wm_ros.planning.memory import Memory
from sana_wm_ros.planning.optimizer import HalvingSettings, finite_rows, search
from sana_wm_ros.planning.pace import Pace, duration_s
from sana_wm_ros.planning.planner_settings import PlannerSettings
from sana_wm_ros.planning.refinement import refine
from sana_wm_ros.planning.rounds import Index, Search
from sana_wm_ros.planning.routes import WayLeft
from sana_wm_ros.planning.survey import Surveyed, survey
from sana_wm_ros.planning.trust import Foretold, TrustHorizon
from sana_wm_ros.planning.types import Candidates, FloatArray, Futures, Goal, PlaceGoal, Robot, RobotState
from sana_wm_ros.world_model.protocol import Context, Rollout

_GOES = (0.3, 10.0)  # metres within seconds
_FULL_SPEED_S = 3.0  # of trust; with less, candidates are asked to drive slower


@dataclass(frozen=True, kw_only=True)
class Means:
    """What a planner has, and its cycles work with; ``memory``, ``trust`` and ``pace`` learn from each."""

    robot: Robot
    T_base_camera_44: FloatArray
    critics: CriticManager
    settings: PlannerSettings
    clock: Callable[[], float]
    memory: Memory
    trust: TrustHorizon
    pace: Pace


class Cycle:
    """One call of ``plan``: all candidates so far, and what came of imagining them."""

    found: Search

    def __init__(
        self,
        means: Means,
        context: Context,
        start: RobotState,
        goal: Goal | PlaceGoal | None,
        deadline_s: float,
        generator: Generator,
        commit_s: float,
    ) -> None:
        self._means, self._context, self._start, self._goal = means, context, start, goal
        self._deadline_s, self._generator, self._commit_s = deadline_s, generator, commit_s
        trusted = means.settings.discount_beyond_trust
        self.trust_s = means.trust.seconds if trusted else None
        self._way_left: WayLeft | None = None
        self._visited_ME = means.memory.visited_ME
        self._seed = int(generator.integers(2**62))
        self.generation, self.draws = 0, 1
        self._scored_futures: dict[int, Futures] = {}  # by their rollout, which they keep alive
        slower = 1.0 if self.trust_s is None else float(np.clip(self.trust_s / _FULL_SPEED_S, 0.7, 1.0))
        wanted = means.settings.proposals
        self.proposals = replace(wanted, speed_share=slower * wanted.speed_share)

    @property
    def candidates(self) -> Candidates:
        """All so far."""
        return self._surveyed.candidates

    def propose(self, candidates: Candidates) -> None:
        """Begin with these, and with what is known to lie before the goal now."""
        goal, memory = self._goal, self._means.memory
        if isinstance(goal, Goal) and goal.path_M2 is None and self.proposals.ways > 0:
            self._way_left = memory.way_left(goal)
        self._surveyed = survey(candidates, memory, self._way_left)
        start_12 = self._start.pose_3[None, :2]
        self._left_m = None if self._way_left is None else float(self._way_left.at(start_12)[0])

    def futures(self, index_N: Index, rollout: Rollout) -> Futures:
        """Rows of candidates with what was imagined for them; once scored, with what critics worked out as well."""
        scored = self._scored_futures.get(id(rollout))
        return self._futures(self._surveyed.select(index_N), rollout) if scored is None else scored

    def _futures(self, some: Surveyed, rollout: Rollout) -> Futures:
        frames = rollout.collision_NF.shape[1]
        return Futures(
            start=self._start,
            candidates=some.candidates.first(frames),
            rollout=rollout,
            goal=self._goal,
            robot=self._means.robot,
            proposed=some.candidates,
            visited_ME=self._visited_ME,
            free_NF=some.free_NF[:, :frames],
            barred_NF=some.barred_NF,
            bumps_B2=self._means.memory.bumps_B2,
            left_NF=some.left_NF,
            left_m=self._left_m,
            trust_s=self.trust_s,
        )

    def search(self) -> None:
        """Imagine and halve the candidates; what was imagined for all is remembered."""
        self.found = self._searched(self._surveyed, self._means.settings.halving)
        first = self.found.rounds[0]
        fine = np.flatnonzero(np.isfinite(first.costs_N))
        if len(fine):
            rollout = first.rollout
            if len(fine) < len(first.costs_N):
                rollout = rollout.select(torch.from_numpy(fine))
            self._means.memory.imagined(self.futures(first.index_N[fine], rollout))

    def may_refine(self) -> bool:
        """Whether one more generation is wanted, and fits."""
        settings = self._means.settings
        if self.generation >= settings.refinement.generations or not self.found.complete:
            return False
        if not len(self._elites()):
            return False
        halving = settings.halving
        expected_s = duration_s(
            [one.horizon_s for one in self.found.rounds],
            settings.refinement.count,
            self._means.pace,
            period_s=float(self.candidates.times_F[0]),
            keep_fraction=halving.keep_fraction,
            keep_least=halving.keep_least,
        )
        scoring_s = self.found.score_s * settings.refinement.count / len(self.candidates)
        left_s = (self._deadline_s - self._means.clock()) / halving.margin
        return expected_s + scoring_s <= left_s

    def refine(self, *, with_ways: bool) -> None:
        """One generation around the best ones, joined to all others where it got as far as they."""
        means, settings = self._means, self._means.settings
        ways: list[FloatArray] = []
        if with_ways and self.generation == 0 and isinstance(self._goal, Goal) and self._goal.path_M2 is None:
            # The first plan knows ways only now that something was imagined.
            wanted = settings.proposals.counts(self._goal)["ways"]
            ways = means.memory.ways(self._start.pose_3, self._goal, wanted, self._generator)
        refined = refine(
            means.robot,
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
        surveyed = survey(refined, means.memory, self._way_left)
        joined = self.found.joined(self._searched(surveyed, halving), len(self.candidates))
        self.generation += 1
        if joined is not None:
            self._surveyed, self.found = Surveyed.cat([self._surveyed, surveyed]), joined

    def draw_again(self) -> bool:
        """Imagine the finalists with other noise while time allows. False: the model imagines the same with any."""
        means, last = self._means, self.found.rounds[-1]
        wanted = means.settings.draws
        if wanted < 2 or not np.isfinite(last.costs_N).all():
            return True
        some = self._surveyed.select(last.index_N)
        frames = last.rollout.collision_NF.shape[1]
        cameras = self._cameras(some.candidates)[:, :frames]
        costs, shares = [last.costs_N], [last.shares]
        for draw in range(1, wanted):
            expected_s = (means.pace.frame_s(len(some)) or 0.0) * frames * means.settings.halving.margin
            begin_s = means.clock()
            if begin_s + expected_s > self._deadline_s:
                break
            batch = self._context.fork(len(some))
            noise = torch.Generator().manual_seed(self._seed + draw)
            _, rollout = batch.imagine(cameras, steps=means.settings.steps, generator=noise)
            means.pace.observe(len(some), frames, means.clock() - begin_s)
            if alike(last.rollout, rollout):
                return False
            if not finite_rows(rollout).all():
                break
            cost, share = self._scored(some, rollout)
            costs.append(cost)
            shares.append(share)
        self.draws = len(costs)
        if self.draws > 1:
            all_draws = judged(costs, shares)
            self.found = self.found.rejudged(all_draws.costs_N, all_draws.shares)
        return True

    @torch.inference_mode()
    def whole(self, row: int) -> Futures:
        """One candidate imagined to the end of the horizon."""
        index_N = np.array([row])
        noise = torch.Generator().manual_seed(self._seed)
        batch, steps = self._context.fork(1), self._means.settings.steps
        _, rollout = batch.imagine(
            self._cameras(self.candidates.select(index_N)), steps=steps, generator=noise
        )
        return self.futures(index_N, rollout)

    def expect(self, best: int) -> None:
        """Keep what was imagined for the plan until the camera has seen it."""
        one = next(one for one in reversed(self.found.rounds) if best in one.index_N)
        row = int(np.flatnonzero(one.index_N == best)[0])
        frames = one.rollout.collision_NF.shape[1]
        self._means.trust.foretold(
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
        return np.array(rows[: self._means.settings.refinement.elites], dtype=np.int64)

    def _searched(self, surveyed: Surveyed, halving: HalvingSettings) -> Search:
        means, candidates = self._means, surveyed.candidates
        return search(
            candidates,
            self._cameras(candidates),
            self._context.fork(len(candidates)),
            lambda index_N, rollout: self._scored(surveyed.select(index_N), rollout),
            halving,
            deadline_s=self._deadline_s,
            clock=means.clock,
            generator=torch.Generator().manual_seed(self._seed),  # the same noise for every generation
            pace=means.pace,
            steps=means.settings.steps,
        )

    def _scored(self, some: Surveyed, rollout: Rollout) -> tuple[FloatArray, dict[str, FloatArray]]:
        futures = self._scored_futures[id(rollout)] = self._futures(some, rollout)
        costs_N, shares = self._means.critics.score(futures)
        asked = some.candidates
        for row in np.flatnonzero([origin == "last plan" for origin in asked.origins]):
            offset_F2 = asked.poses_NF3[row, asked.times_F <= _GOES[1], :2] - self._start.pose_3[:2]
            # A plan to stand is not worth keeping.
            if np.hypot(offset_F2[:, 0], offset_F2[:, 1]).max(initial=0.0) > _GOES[0]:
                costs_N[row] -= self._means.settings.steadiness
        return costs_N, shares

    def _cameras(self, candidates: Candidates) -> torch.Tensor:
        poses = camera_poses(candidates.poses_NF3, self._means.T_base_camera_44)
        return torch.from_numpy(poses).to(torch.float32)
