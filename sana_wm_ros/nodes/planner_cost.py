"""What a plan costs without its model: propose, score, halve and validate, with a model that does nothing."""

from __future__ import annotations

import time

import numpy as np
import torch

from sana_wm_ros.geometry.camera import base_to_optical
from sana_wm_ros.nodes.null_model import NullModel
from sana_wm_ros.planning.critic_manager import CriticManager, available
from sana_wm_ros.planning.planner import Planner, PlannerSettings
from sana_wm_ros.planning.proposals import ProposalSettings
from sana_wm_ros.planning.refinement import RefinementSettings
from sana_wm_ros.planning.types import Goal, Plan, Robot, RobotState
from sana_wm_ros.world_model.protocol import Intrinsics

_WARM_UP = 3


def measure_planner(*, candidates: int, runs: int) -> dict[str, dict[str, float]]:
    """Seconds of each stage, of the whole by the clock, and of its processor time: count, p50, p95, max.

    A robot drives towards a goal 9 m away and plans anew every half second from where its last plan led; no
    generation of refined candidates, as those come only while time is left.
    """
    model = NullModel()
    spec = model.spec
    focal = spec.image_width / 2
    lens = Intrinsics(fx=focal, fy=focal, cx=focal - 0.5, cy=spec.image_height / 2 - 0.5)
    pictures = torch.zeros(9, spec.image_height, spec.image_width, 3, dtype=torch.uint8)
    context = model.start(lens).extend(pictures, torch.eye(4).repeat(9, 1, 1))
    planner = Planner(
        Robot(),
        base_to_optical((0.1, 0.0, 0.3), (0.0, 0.1, 0.0)),
        CriticManager.load(sorted(available())),
        PlannerSettings(
            proposals=ProposalSettings(count=candidates), refinement=RefinementSettings(generations=0)
        ),
    )
    random, goal = np.random.default_rng(0), Goal(x_m=9.0, y_m=3.0)
    found: dict[str, list[float]] = {}
    plan: Plan | None = None
    state = RobotState(time_s=0.0, pose_3=np.zeros(3), twist_3=np.zeros(3))
    for run in range(_WARM_UP + runs):
        if plan is not None:
            state = RobotState(time_s=state.time_s + 0.5, pose_3=plan.poses_F3[0], twist_3=plan.twists_F3[0])
        if run % 20 == 0:  # before it arrives, it is set back
            plan, state = None, RobotState(time_s=state.time_s + 0.5, pose_3=np.zeros(3), twist_3=np.zeros(3))
        begin_s, begin_cpu_s = time.perf_counter(), time.process_time()
        result = planner.plan(context, state, goal, 10.0, random, plan, commit_s=0.3)
        spent = {
            "whole": time.perf_counter() - begin_s,
            "whole, processor": time.process_time() - begin_cpu_s,
        }
        plan = result.plan
        if run >= _WARM_UP:
            for name, seconds in (result.timings_s | spent).items():
                found.setdefault(name, []).append(seconds)
    return {name: _described(np.array(values)) for name, values in found.items()}


def _described(values: np.ndarray) -> dict[str, float]:  # type: ignore[type-arg]
    p50, p95 = np.percentile(values, (50, 95))
    return {"count": float(len(values)), "p50": float(p50), "p95": float(p95), "max": float(values.max())}
