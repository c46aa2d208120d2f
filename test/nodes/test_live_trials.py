"""Navigation in real time: simulator and planner as processes, a tour by hand, a goal, figures that add up."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator is the extra 'sim': pip install 'sana_wm_ros[sim]'")

from sana_wm_ros.nodes.live_trials import Cycles, LoopConfig, long_loop, node_trial
from sana_wm_ros.simulation.gl import NoPictures, open_gl_context
from sana_wm_ros.simulation.trials import TrialConfig, draw_trial

SEED = 900_002
QUICK = ("planner.candidates:=4", "planner.horizon_s:=4.0", "model.threads:=1")
pytestmark = pytest.mark.timeout(600)  # starts processes that import torch, on a machine that may be busy


@pytest.fixture
def config(model_folder: Path, tmp_path: Path) -> LoopConfig:
    try:
        open_gl_context(96, 64)
    except NoPictures as error:
        pytest.skip(str(error))
    return LoopConfig(out=tmp_path, model=str(model_folder), parameters=QUICK)


def test_a_trial_through_the_node_is_the_trial_of_its_seed(config: LoopConfig) -> None:
    trial = draw_trial(SEED, TrialConfig(tour_s=(4.0, 5.0), limit_s=6.0, least_way_m=1.0))
    assert trial is not None
    stages: set[str] = set()
    ending, cycles = node_trial(trial, config, lambda stage, done, total: stages.add(stage))
    assert {"robot and planner start", "guided tour"} < stages
    # The same driver in the same building: the tour led about where the drawn one did.
    assert math.dist(ending.path_T3[0, :2], trial.tour_T3[-1, :2]) < 0.7
    steps = np.hypot(*np.diff(ending.path_T3[:, :2], axis=0).T)
    assert steps.max() < 0.3 and ending.path_m == pytest.approx(steps.sum())
    assert abs(ending.measured_distance_m - ending.end_distance_m) < 0.3
    assert ending.time_s <= 7.5 and ending.reason in ("reached", "timed out", "hard contact")
    assert cycles.plans >= 1 and 0 <= cycles.late <= cycles.plans and min(cycles.seconds) > 0


def test_a_long_loop_goes_on_to_new_goals_and_counts_deadlines(config: LoopConfig) -> None:
    found = long_loop(SEED, 10.0, LoopConfig(**{**vars(config), "goal_s": 4.0}), lambda *told: None)
    assert found["seconds"] >= 10.0 and found["plans"] >= 2
    assert found["goals_given_up"] + found["goals_reached"] >= 1
    assert found["deadline_attainment"] == 1 - found["late"] / found["plans"]
    assert 0.3 < found["times_real_time"] < 1.1


def test_cycles_add_up_by_hand() -> None:
    both = Cycles(plans=3, late=1, skipped=1, seconds=(0.1, 0.3)) + Cycles(plans=1, seconds=(0.2,))
    assert both.figures["deadline_attainment"] == 0.75 and both.figures["skipped_turns"] == 1
    assert both.figures["cycle_s"] == pytest.approx({"count": 3, "p50": 0.2, "p95": 0.29, "p99": 0.298})
    assert Cycles().figures["deadline_attainment"] is None
