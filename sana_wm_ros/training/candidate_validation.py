"""Would a planner choose well? The order of candidates by their imagined cost against that by their true one.

The true cost comes from an oracle behind the same protocol (the simulator), scored by the same critics. Beside
the model stands who imagines nothing: no contact, and the ranges at the start for ever.
Dimension letters: N candidates, F latent frames, K sectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sana_wm_ros.calibration import rank_correlation
from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.critic_manager import CriticManager, available
from sana_wm_ros.planning.proposals import ProposalSettings, propose
from sana_wm_ros.planning.types import Candidates, Futures, Goal, Robot, RobotState
from sana_wm_ros.training.episodes import Episode
from sana_wm_ros.training.futures import observe
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.protocol import Intrinsics, Rollout, WorldModel

Oracle = Callable[[Episode], WorldModel]
HORIZON_S = 15.0
COUNT = 24


def validate_candidates(
    model: NavigationModel, episodes: list[Episode], oracle: Oracle, *, robot: Robot, seen: int
) -> dict[str, Any]:
    """Spearman of costs over ``COUNT`` candidates at ``HORIZON_S`` after ``seen`` frames, mean over drives.

    The goal of each is where the drive itself went by then. regret: true cost of the candidate that the model
    takes for the best, over the best true one, as a share of the spread of true costs.
    """
    critics = CriticManager.load(sorted(available()))
    found: dict[str, list[float]] = {"model": [], "ranges at the start": []}
    regret: dict[str, list[float]] = {name: [] for name in found}
    period_s = model.spec.latent_period_s
    for episode in episodes:
        per = model.spec.frames_per_latent
        now = (seen - 1) * per
        then = min(len(episode) - 1, now + round(HORIZON_S / period_s) * per)
        x, y, _ = (float(v) for v in episode.poses_T3[then])
        start = RobotState(
            time_s=0.0,
            pose_3=episode.poses_T3[now].astype(np.float64),
            twist_3=episode.commands_T3[max(0, now - 1)].astype(np.float64),
        )
        settings = ProposalSettings(count=COUNT, frames=round(HORIZON_S / period_s), period_s=period_s)
        goal = Goal(x_m=x, y_m=y)
        candidates = propose(robot, start, goal, settings, np.random.default_rng(episode.seed))
        cameras = torch.from_numpy(camera_poses(candidates.poses_NF3, episode.T_base_camera_44)).float()
        _, imagined = observe(model, episode, seen).fork(len(candidates)).imagine(cameras)
        true = _truth(oracle(episode), episode, now, cameras)
        blank = _unimagined(episode.clearance_TK[now], imagined)

        def cost(
            rollout: Rollout, some: Candidates = candidates, at: RobotState = start, to: Goal = goal
        ) -> Any:
            futures = Futures(start=at, candidates=some, rollout=rollout, goal=to, robot=robot)
            return critics.score(futures)[0]

        true_N = cost(true)
        spread = max(float(np.ptp(true_N)), 1e-9)
        for name, rollout in (("model", imagined), ("ranges at the start", blank)):
            guess_N = cost(rollout)
            found[name].append(rank_correlation(guess_N, true_N))
            regret[name].append(float(true_N[int(guess_N.argmin())] - true_N.min()) / spread)
    return {
        "drives": len(episodes),
        "candidates": COUNT,
        "horizon_s": HORIZON_S,
        "spearman": round(float(np.nanmean(found["model"])), 3),
        "spearman_without_model": round(float(np.nanmean(found["ranges at the start"])), 3),
        "regret": round(float(np.mean(regret["model"])), 3),
        "regret_without_model": round(float(np.mean(regret["ranges at the start"])), 3),
    }


def _truth(oracle: WorldModel, episode: Episode, now: int, cameras_NF44: torch.Tensor) -> Rollout:
    fx, fy, cx, cy = map(float, episode.intrinsics_4)
    context = oracle.start(Intrinsics(fx=fx, fy=fy, cx=cx, cy=cy))
    pose = torch.from_numpy(camera_poses(episode.poses_T3[now : now + 1], episode.T_base_camera_44))
    context = context.extend(torch.from_numpy(episode.frames_THWC[now : now + 1]), pose)
    return context.fork(len(cameras_NF44)).imagine(cameras_NF44)[1]


def _unimagined(clearance_K: NDArray[np.floating], like: Rollout) -> Rollout:
    """No contact, the same ranges at all times, no doubt."""
    ranges = torch.from_numpy(np.asarray(clearance_K, np.float32)).expand_as(like.clearance_NFK)
    return Rollout(
        latents_NFCHW=like.latents_NFCHW,
        collision_NF=torch.zeros_like(like.collision_NF),
        clearance_NFK=ranges,
        uncertainty_NF=torch.zeros_like(like.uncertainty_NF),
        place_NFE=like.place_NFE,
    )
