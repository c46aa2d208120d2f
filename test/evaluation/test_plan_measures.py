"""Plans against a recorded drive, by a run whose every figure is known by hand."""

import numpy as np
import pytest

from sana_wm_ros.evaluation.plan_measures import (
    BEST,
    CONSTANT,
    PLAN,
    STAND,
    STRAIGHT,
    comfort_measures,
    contact_measures,
    displacement_measures,
    driven_at,
    ranking_measures,
    score_cycles,
    time_measures,
)
from sana_wm_ros.evaluation.run_record import CandidateSet, CommandRecord, CycleRecord, RunRecord
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import Goal, Plan, RobotState

TIMES = 0.5 * np.arange(1, 17)


def straight(speed: float, aside: float = 0.0) -> np.ndarray:
    """Poses on a line along x, ``aside`` metres to the left of the start."""
    return np.stack([speed * TIMES, np.full(16, aside), np.zeros(16)], axis=1)


# The robot drives 1 m/s along x for 20 s; odometry at 10 Hz.
PATH = np.stack([100 + 0.1 * np.arange(201), 0.1 * np.arange(201), np.zeros(201), np.zeros(201)], axis=1)


def cycle(
    start_s: float = 100.0, *, plan_aside: float = 0.5, scan=None, cycle_s=0.2, late=False
) -> CycleRecord:
    """At (0, 0) with 0.5 m/s ahead and the goal at (10, 0); three candidates 0, 0.5 and 2 m aside."""
    state = RobotState(time_s=start_s, pose_3=np.array([start_s - 100, 0, 0]), twist_3=np.array([0.5, 0, 0]))
    offset = [start_s - 100, 0, 0]
    plan = Plan(
        start=state,
        times_F=TIMES,
        poses_F3=straight(1.0, plan_aside) + offset,
        twists_F3=np.tile([1.0, 0.0, 0.0], (16, 1)),
        cost=1.0,
        valid_until_s=start_s + 3,
        origin="arc",
    )
    considered = CandidateSet(
        times_F=TIMES,
        poses_NF3=np.stack([straight(1.0, aside) + offset for aside in (0.0, 0.5, 2.0)]),
        origins=("a", "b", "c"),
        costs_N=np.array([2.0, 1.0, 3.0]),
        horizons_N=np.full(3, 8.0),
        contact=tuple(np.full(16, chance) for chance in (0.9, 0.2, 0.1)),
        uncertainty=tuple(np.full(16, 0.5) for _ in range(3)),
        clearance_K=np.full(24, 8.0),
        best=1,
        shares={"progress": np.array([-1.0, -2.0, -3.0])},
    )
    return CycleRecord(
        start_s=start_s,
        ready_s=start_s + cycle_s,
        state=state,
        goal=Goal(x_m=10.0, y_m=0.0),
        plan=plan,
        reason="ok",
        stop="",
        cycle_s=cycle_s,
        late=late,
        horizon_s=8.0,
        timings_s={},
        considered=considered,
        scan=scan,
    )


def run(*cycles: CycleRecord) -> RunRecord:
    return RunRecord(period_s=1.0, schedule="measured", cycles=list(cycles))


def value(measures, metric, who, at_s=None):
    (found,) = [m for m in measures if (m.metric, m.who, m.at_s) == (metric, who, at_s)]
    return found.value


def test_displacements_of_plan_candidates_and_guesses():
    measures = displacement_measures(score_cycles(run(cycle()), PATH), miss_m=1.0)
    assert value(measures, "ADE", PLAN, 4.0) == pytest.approx(0.5)
    assert value(measures, "FDE", PLAN, 8.0) == pytest.approx(0.5)
    assert value(measures, "ADE", BEST, 4.0) == pytest.approx(0.0, abs=1e-9)
    # Standing: 0.5, 1, 1.5, ... 4 m behind in 4 s, 2.25 m in the mean
    assert value(measures, "ADE", STAND, 4.0) == pytest.approx(2.25)
    assert value(measures, "FDE", STAND, 4.0) == pytest.approx(4.0)
    # At 0.5 m/s it falls behind half as fast; the goal lies straight ahead.
    assert value(measures, "FDE", CONSTANT, 4.0) == pytest.approx(2.0)
    assert value(measures, "FDE", STRAIGHT, 4.0) == pytest.approx(2.0)
    assert value(measures, "heading error", PLAN, 4.0) == pytest.approx(0.0, abs=1e-9)


def test_a_miss_is_an_end_beyond_the_threshold():
    scored = score_cycles(run(cycle(plan_aside=0.5), cycle(101.0, plan_aside=1.5)), PATH)
    assert value(displacement_measures(scored, miss_m=1.0), "miss rate", PLAN, 8.0) == 0.5
    assert value(displacement_measures(scored, miss_m=2.0), "miss rate", PLAN, 8.0) == 0.0


def test_the_end_of_the_recording_limits_what_is_compared():
    scored = score_cycles(run(cycle(115.0), cycle(119.8)), PATH)
    assert [one.reach_s for one in scored] == [5.0]  # the second one has no second left
    measures = displacement_measures(scored, miss_m=1.0)
    assert {m.at_s for m in measures} == {1.0, 2.0, 4.0}


def test_poses_in_gaps_of_odometry_are_not_known():
    gap = PATH[(PATH[:, 0] < 101.05) | (PATH[:, 0] > 102.55)]
    known = ~np.isnan(driven_at(gap, 100 + TIMES)[:, 0])
    assert known[:2].all() and not known[2:5].any() and known[5:].all()
    assert score_cycles(run(cycle()), gap)[0].reach_s == 1.0


def test_ranking_and_regret_in_hindsight():
    # By cost 1, 0, 2; in hindsight (0, 0.5 and 2 m off) 0, 1, 2: rho of (1, 0, 2) and (0, 1, 2) is 0.5.
    measures = ranking_measures(score_cycles(run(cycle()), PATH))
    assert value(measures, "rank correlation", "critics") == pytest.approx(0.5)
    assert value(measures, "regret", "critics") == pytest.approx(0.5)
    # After 8 s they are 2, 2.06 and 2.83 m from the goal: the order of hindsight.
    assert value(measures, "rank correlation", "distance to the goal") == pytest.approx(1.0)


def test_who_was_imagined_further_ranks_before_whoever_was_dropped():
    considered = cycle().considered
    assert considered.rank_N.tolist() == [1.0, 0.0, 2.0]
    dropped = CandidateSet(**{**vars(considered), "horizons_N": np.array([8.0, 4.0, 8.0])})
    assert dropped.rank_N.tolist() == [0.0, 2.0, 1.0]


def test_contact_is_what_the_scan_of_the_moment_says():
    # A post at (2, 0): within 3 s only the candidate straight ahead comes within 0.2 m of it.
    scan = Scan(points_M2=np.array([[2.0, 0.0]]))
    measures, (chance, label) = contact_measures(run(cycle(scan=scan)), radius_m=0.2)
    assert chance.tolist() == [0.9, 0.2, 0.1] and label.tolist() == [1.0, 0.0, 0.0]
    assert value(measures, "AUROC", "imagined") == 1.0
    # (0.1^2 + 0.2^2 + 0.1^2) / 3; always saying a third: (1/3)(2/3)
    assert value(measures, "Brier score", "imagined") == pytest.approx(0.02)
    assert value(measures, "Brier score", "base rate") == pytest.approx(2 / 9)
    assert value(measures, "contact rate", "scan") == pytest.approx(1 / 3)


def test_without_a_scan_nothing_is_said_of_contact():
    assert contact_measures(run(cycle()), radius_m=0.2) == ([], None)


def test_time_and_inputs():
    one = run(cycle(cycle_s=0.1), cycle(101.0, cycle_s=0.3, late=True))
    one.late, one.skipped, one.peak_memory_mib = 1, 2, 321.0
    one.received, one.refused, one.counts = {"image": 8}, {"/image": 2}, {"image duplicate": 1}
    stop = CommandRecord(time_s=100.0, twist_3=np.zeros(3), stop="no plan yet", sentence="", fault=True)
    one.commands = [stop, CommandRecord(time_s=100.05, twist_3=np.array([1.0, 0, 0]))]
    measures = time_measures(one)
    assert value(measures, "planning time p50", PLAN) == pytest.approx(0.2)
    assert value(measures, "planning time p95", PLAN) == pytest.approx(0.29)  # 0.1 + 0.95 * 0.2
    assert value(measures, "deadlines attained", PLAN) == 0.5
    assert value(measures, "turns skipped", PLAN) == 2.0
    assert value(measures, "peak memory", "process") == 321.0
    assert value(measures, "inputs dropped", "bag") == pytest.approx(0.3)  # 2 refused and 1 dropped of 10
    assert value(measures, "standing", "commanded") == 0.5
    assert one.stops == [(100.0, 100.0, "no plan yet", "")]


def test_comfort_of_plans_beside_the_drive():
    measures = comfort_measures(run(cycle()), PATH, np.tile([1.0, 0.0, 0.5], (201, 1)))
    assert value(measures, "acceleration", "plan") == pytest.approx(0.0, abs=1e-9)
    assert value(measures, "acceleration", "driven") == pytest.approx(0.5)  # 1 m/s at 0.5 rad/s
    assert value(measures, "yaw rate", "driven") == pytest.approx(0.5)


def test_ate_and_rpe_are_evos_and_those_of_the_hand():
    pytest.importorskip("evo", reason="evo is in the extra eval")
    from sana_wm_ros.evaluation.trajectory_errors import errors

    true = straight(1.0)
    # Half a metre aside all the way: ATE 0.5, and no error from one second to the next.
    assert errors(TIMES, true + [0, 0.5, 0], true) == pytest.approx((0.5, 0.0, 0.0), abs=1e-6)
    # A tenth too fast: 0.1 m per second of RPE; ATE is the root mean square of 0.05, 0.1, ... 0.8 m.
    ate = np.sqrt(np.mean((0.1 * TIMES) ** 2))
    assert errors(TIMES, straight(1.1), true) == pytest.approx((ate, 0.1, 0.0), abs=1e-6)
