"""Navigation trials: repeatable, fair to everybody, and their figures by hand."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="extra sim is not installed")

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.contestants import GoStraight, LocalMppi, MppiSettings
from sana_wm_ros.simulation.trial_benchmark import BenchmarkConfig, TrialBenchmark
from sana_wm_ros.simulation.trial_figures import beside, summary, wilson
from sana_wm_ros.simulation.trial_groups import ABLATIONS, Budget, groups, known_names
from sana_wm_ros.simulation.trial_store import POINTS_PER_S
from sana_wm_ros.simulation.trials import TrialConfig, draw_trial, run_trial

SEED = 900002
SHORT = TrialConfig(tour_s=(4.0, 5.0), limit_s=4.0, least_way_m=1.0)


@pytest.fixture(scope="module")
def trial():
    return draw_trial(SEED, SHORT)


def test_a_trial_is_the_same_for_the_same_seed_and_its_goal_is_out_of_sight(trial):
    again = draw_trial(SEED, SHORT)
    assert np.array_equal(trial.tour_T3, again.tour_T3) and np.array_equal(trial.goal_2, again.goal_2)
    plan, end = trial.scene.plan, trial.tour_T3[-1]
    assert plan.room_of(*trial.goal_2) != plan.room_of(*end[:2]) and trial.doors >= 1
    assert np.allclose(trial.way_M2[0], end[:2], atol=0.2) and math.dist(trial.way_M2[-1], trial.goal_2) < 0.2


def test_everybody_starts_where_the_tour_ended_and_time_is_limited(trial):
    endings = [
        run_trial(trial, lambda trial, simulator, who=who: who, pictures=False)
        for who in (GoStraight(Robot()), LocalMppi(MppiSettings(batch=40)))
    ]
    for ending in endings:
        assert np.allclose(ending.path_T3[0], trial.tour_T3[-1])
        assert ending.time_s <= SHORT.limit_s and not ending.success and ending.reason == "timed out"
        assert ending.path_m == pytest.approx(np.hypot(*np.diff(ending.path_T3[:, :2], axis=0).T).sum())
        # Odometry measures the goal from where it is, and drifts a little within the few seconds after that.
        assert 0 < abs(ending.measured_distance_m - ending.end_distance_m) < 0.3


def config(*names, limit_s=60.0, **budget):
    return BenchmarkConfig(
        names=names,
        model=Path("models/nano"),
        trial=TrialConfig(tour_s=SHORT.tour_s, limit_s=limit_s, least_way_m=1.0),
        budget=Budget(**{"candidates": 8, "rounds_s": (8.0, 16.0, 30.0)} | budget),
    )


def test_the_oracle_reaches_its_goal_and_keeps_off_the_walls(tmp_path):
    bench = TrialBenchmark(config("oracle"), tmp_path / "store", pictures=tmp_path / "pictures")
    done = list(bench.run(SEED, 1))
    assert done[-1].trial_over and done[-1].count == 1 and "oracle: reached" in done[-1].text
    found = bench.results()["groups"]["oracle"]
    assert found["success"] == 1.0 and found["contacts_per_100_m"] == 0.0 and found["least_clearance_m"] > 0
    assert found["plan_cpu_s"]["count"] > 3
    seed = bench.results()["trials"]["oracle"][0]["seed"]
    picture = cv2.imread(str(tmp_path / "pictures" / f"trial_{seed}.png"))
    margin = np.concatenate([picture[:, -4:].reshape(-1, 3), picture[:4].reshape(-1, 3)])
    assert picture.std() > 10 and (margin == 255).all(), "something is cut off at the rim"
    film = cv2.VideoCapture(str(tmp_path / "pictures" / "worst_oracle.mp4"))
    frames = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
    time_s = bench.results()["trials"]["oracle"][0]["time_s"]
    assert abs(frames - time_s * POINTS_PER_S) <= 2
    film.set(cv2.CAP_PROP_POS_FRAMES, frames - 1)
    assert film.read()[1].std() > 10


def test_a_run_that_was_cut_short_goes_on_where_it_was(tmp_path):
    short = config("straight", "mppi", limit_s=2.0)
    first = next(iter(TrialBenchmark(short, tmp_path).run(SEED, 2)))  # one drive, then cut short
    assert "straight" in first.text
    whole = list(TrialBenchmark(short, tmp_path).run(SEED, 2))
    assert [done.text.split(":")[0].split()[1] for done in whole if not done.trial_over] == [
        "mppi",
        "straight",
        "mppi",
    ]
    assert whole[-1].count == 3
    results = TrialBenchmark(short, tmp_path).results()
    assert {name: entry["trials"] for name, entry in results["groups"].items()} == {"straight": 2, "mppi": 2}
    assert not [done for done in TrialBenchmark(short, tmp_path).run(SEED, 2) if not done.trial_over]
    none = list(TrialBenchmark(config("oracle", limit_s=2.0), tmp_path).run(SEED, 2, minutes=0.0))
    assert none == []


def test_processes_share_the_trials_and_find_the_same(tmp_path):
    short = config("straight", limit_s=2.0)
    alone, shared = TrialBenchmark(short, tmp_path / "a"), TrialBenchmark(short, tmp_path / "b")
    list(alone.run(SEED, 2))
    done = list(shared.run(SEED, 2, workers=2))
    assert done[-1].count == 2
    assert shared.results() == alone.results()


def test_drives_that_were_made_otherwise_are_not_mixed(tmp_path):
    TrialBenchmark(config("straight"), tmp_path)
    with pytest.raises(ValueError, match=r"holds drives with candidates = 8 \(now 9\); name another folder"):
        TrialBenchmark(config("straight", candidates=9), tmp_path)


def test_the_figures_of_a_group_by_hand():
    # Two of three arrive: one on the shortest way of 4 m, one on 8 m instead of 4: SPL (1 + 0.5 + 0) / 3. Three
    # contacts on 4 + 8 + 3 = 15 m: 20 per 100 m.
    rows = [
        dict(
            success=True,
            path_m=4.0,
            way_m=4.0,
            contacts=0,
            time_s=10.0,
            seen=True,
            plan_cpu_s=[1.0, 2.0, 3.0],
        ),
        dict(success=True, path_m=8.0, way_m=4.0, contacts=1, time_s=20.0, seen=False),
        dict(success=False, path_m=3.0, way_m=9.0, contacts=2, time_s=120.0, seen=False),
    ]
    rows = [
        dict(
            hard_contact=False, least_clearance_m=0.1, reason="reached" if r["success"] else "timed out", **r
        )
        for r in rows
    ]
    found = summary(rows)
    assert found["success"] == pytest.approx(2 / 3) and found["spl"] == pytest.approx(0.5)
    assert found["contacts_per_100_m"] == pytest.approx(20.0) and found["time_s"] == 15.0
    assert found["success, goal seen"] == 1.0 and found["success, goal not seen"] == 0.5
    assert found["plan_cpu_s"]["p50"] == 2.0 and found["reasons"] == {"reached": 2, "timed out": 1}
    assert summary([]) == {"trials": 0}


def test_an_ablation_stands_beside_the_whole_planner_on_its_own_trials():
    def one(seed, success):
        return dict(
            seed=seed, success=success, path_m=2.0, way_m=2.0, contacts=0, time_s=1.0, seen=True, reason="",
            hard_contact=False, least_clearance_m=0.1,
        )  # fmt: skip

    found = beside([one(2, False)], [one(1, True), one(2, True), one(3, False)])
    assert found == {"trials": 1, "success": 1.0, "spl": 1.0, "contacts_per_100_m": 0.0}


def test_wilson_interval_by_hand():
    # 19 of 20: centre (0.95 + 0.09604) / 1.19208, half width 1.96 / 1.19208 * sqrt(0.0475 / 20 + 3.8416 / 1600)
    low, high = wilson(19, 20)
    assert low == pytest.approx(0.7639, abs=1e-3) and high == pytest.approx(0.9911, abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


def test_groups_that_do_not_exist_are_refused_by_name():
    with pytest.raises(ValueError, match="there is no group 'orakel'; choose from: oracle, straight"):
        groups(["orakel"], None, "nano", Budget())
    with pytest.raises(ValueError, match="'nano' needs a model"):
        groups(["nano"], None, "nano", Budget())
    assert {f"oracle, {part}" for part in ABLATIONS} < set(known_names("nano"))
