"""The plans of a run against what was then driven: displacement, ranking, contact, comfort, time and inputs.

Dimension letters: N candidates, F latent frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sana_wm_ros.calibration import auroc, brier_score, calibration_error, rank_correlation
from sana_wm_ros.evaluation import path_metrics
from sana_wm_ros.evaluation.measure import Measure, mean_of
from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.run_record import CandidateSet, CycleRecord, RunRecord
from sana_wm_ros.geometry import se2
from sana_wm_ros.geometry.interpolation import interpolate_poses
from sana_wm_ros.planning.scan import Scan, first_contact

PLAN_HORIZONS_S = (1.0, 2.0, 4.0, 8.0)
CONTACT_S = 3.0  # how far ahead a scan of now is taken to tell about contact
_MAX_GAP_S = 0.6
PLAN, BEST = "plan", "best candidate"
CONSTANT, STAND, STRAIGHT = "constant velocity", "standing still", "straight to the goal"


@dataclass(frozen=True, kw_only=True)
class ScoredCycle:
    """A cycle beside what was driven afterwards.

    driven_F3: the recorded pose at each of the plan's times, NaN where the recording does not tell. paths: the
    plan and the guesses that need no model, (F, 3) each. ade_m: the plan's, over ``reach_s`` seconds.
    """

    cycle: CycleRecord
    driven_F3: Floats
    paths: dict[str, Floats]
    reach_s: float
    ade_m: float


def score_cycles(run: RunRecord, path_T4: Floats) -> list[ScoredCycle]:
    """All cycles that gave a plan and whose future the recording knows for a second at least."""
    found = []
    for cycle in run.cycles:
        plan = cycle.plan
        if plan is None:
            continue
        driven_F3 = driven_at(path_T4, plan.start.time_s + plan.times_F)
        known = _known(driven_F3)
        reach = min(known, int(np.searchsorted(plan.times_F, PLAN_HORIZONS_S[-1] + 1e-6)))
        if reach == 0 or plan.times_F[reach - 1] < PLAN_HORIZONS_S[0] - 1e-6:
            continue
        found.append(
            ScoredCycle(
                cycle=cycle,
                driven_F3=driven_F3,
                paths={PLAN: plan.poses_F3, **_guesses(cycle, plan.times_F)},
                reach_s=float(plan.times_F[reach - 1]),
                ade_m=float(path_metrics.average_displacement(plan.poses_F3[:reach], driven_F3[:reach])),
            )
        )
    return found


def driven_at(path_T4: Floats, times_F: Floats) -> Floats:
    """Recorded poses (F, 3) at times; NaN outside of the recording and in gaps of more than 0.6 s."""
    poses_F3 = np.full((len(times_F), 3), np.nan)
    if len(path_T4) < 2:
        return poses_F3
    stamps = path_T4[:, 0]
    right = np.clip(np.searchsorted(stamps, times_F), 1, len(stamps) - 1)
    known = (times_F >= stamps[0]) & (times_F <= stamps[-1])
    known &= stamps[right] - stamps[right - 1] <= _MAX_GAP_S
    if known.any():
        poses_F3[known] = interpolate_poses(stamps, path_T4[:, 1:], times_F[known], max_gap_s=_MAX_GAP_S)
    return poses_F3


def _known(driven_F3: Floats) -> int:
    """Frames before the first unknown pose."""
    unknown = np.flatnonzero(np.isnan(driven_F3[:, 0]))
    return int(unknown[0]) if len(unknown) else len(driven_F3)


def _guesses(cycle: CycleRecord, times_F: Floats) -> dict[str, Floats]:
    """Where the robot would be without a plan: going on as now, standing, or straight to the goal as fast as now."""
    assert cycle.plan is not None
    start = cycle.plan.start
    twists = np.broadcast_to(start.twist_3, (len(times_F), 3))
    guesses = {
        CONSTANT: se2.compose(start.pose_3, se2.exp(twists, times_F)),
        STAND: np.broadcast_to(start.pose_3, (len(times_F), 3)).copy(),
    }
    if cycle.goal is not None:
        towards = np.array([cycle.goal.x_m, cycle.goal.y_m]) - start.pose_3[:2]
        distance = float(np.hypot(*towards))
        gone_F = np.minimum(distance, float(np.hypot(*start.twist_3[:2])) * times_F)
        heading = float(np.arctan2(towards[1], towards[0]))
        line = start.pose_3[:2] + gone_F[:, None] * np.array([np.cos(heading), np.sin(heading)])
        guesses[STRAIGHT] = np.concatenate([line, np.full((len(times_F), 1), heading)], axis=1)
    return guesses


def displacement_measures(scored: Sequence[ScoredCycle], *, miss_m: float) -> list[Measure]:
    """ADE, FDE, heading error and miss rate at each horizon, of the plan, the best candidate and the guesses."""
    found: list[Measure] = []
    for horizon_s in PLAN_HORIZONS_S:
        reached = [one for one in scored if _frames(one, horizon_s)]
        rows: dict[str, list[tuple[float, float, float]]] = {}
        for one in reached:
            frames = _frames(one, horizon_s)
            driven = one.driven_F3[:frames]
            for name, path in one.paths.items():
                rows.setdefault(name, []).append(_errors(path[:frames], driven))
            considered = one.cycle.considered
            if considered is not None and len(considered.times_F) >= frames:
                rows.setdefault(BEST, []).append(_best(considered.poses_NF3[:, :frames], driven))
        for name, values in rows.items():
            ade, fde, heading = np.array(values).T
            common = {"who": name, "at_s": horizon_s, "better": "lower", "count": len(values)}
            found += [
                Measure(group="plan", metric="ADE", value=float(ade.mean()), unit="m", **common),
                Measure(group="plan", metric="FDE", value=float(fde.mean()), unit="m", **common),
                Measure(group="plan", metric="miss rate", value=float((fde > miss_m).mean()), **common),
            ]
            if name != BEST:
                heading_deg = float(np.degrees(heading.mean()))
                found.append(
                    Measure(group="plan", metric="heading error", value=heading_deg, unit="deg", **common)
                )
    return found


def _frames(one: ScoredCycle, horizon_s: float) -> int:
    """Frames up to a horizon, 0 where the recording or the plan ends before."""
    assert one.cycle.plan is not None
    times = one.cycle.plan.times_F
    frames = int(np.searchsorted(times, horizon_s + 1e-6))
    reaches = frames > 0 and abs(times[frames - 1] - horizon_s) < 1e-6
    return frames if reaches and _known(one.driven_F3) >= frames else 0


def _errors(path_F3: Floats, driven_F3: Floats) -> tuple[float, float, float]:
    return (
        float(path_metrics.average_displacement(path_F3, driven_F3)),
        float(path_metrics.final_displacement(path_F3, driven_F3)),
        float(path_metrics.heading_error(path_F3, driven_F3)),
    )


def _best(paths_NF3: Floats, driven_F3: Floats) -> tuple[float, float, float]:
    ade_N = path_metrics.average_displacement(paths_NF3, driven_F3)
    fde_N = path_metrics.final_displacement(paths_NF3, driven_F3)
    return float(ade_N.min()), float(fde_N.min()), float("nan")


def ranking_measures(scored: Sequence[ScoredCycle]) -> list[Measure]:
    """Do the critics order the candidates as hindsight does? Spearman's rho per cycle, and the regret in metres."""
    critics, goals, regrets = [], [], []
    for one in scored:
        considered, plan = one.cycle.considered, one.cycle.plan
        if considered is None or plan is None or considered.best is None:
            continue
        frames = min(_known(one.driven_F3), int(np.searchsorted(plan.times_F, one.reach_s + 1e-6)))
        hindsight_N = path_metrics.average_displacement(
            considered.poses_NF3[:, :frames], one.driven_F3[:frames]
        )
        critics.append(rank_correlation(considered.rank_N, hindsight_N))
        goal = one.cycle.goal
        if goal is not None:
            ends = considered.poses_NF3[:, frames - 1, :2]
            goals.append(
                rank_correlation(np.hypot(ends[:, 0] - goal.x_m, ends[:, 1] - goal.y_m), hindsight_N)
            )
        regrets.append(float(hindsight_N[considered.best] - hindsight_N.min()))
    found = []
    for who, values in (("critics", critics), ("distance to the goal", goals)):
        value, count = mean_of(values)
        found.append(
            Measure(
                group="ranking", metric="rank correlation", who=who, value=value, better="higher", count=count
            )
        )
    value, count = mean_of(regrets)
    found.append(
        Measure(
            group="ranking",
            metric="regret",
            who="critics",
            value=value,
            unit="m",
            better="lower",
            count=count,
        )
    )
    return found


def contact_measures(run: RunRecord, radius_m: float) -> tuple[list[Measure], tuple[Floats, Floats] | None]:
    """Foretold contact of all candidates against the scan of the moment, and the pairs behind it.

    A candidate is in contact when a disc of the robot's radius on its path reaches a point of the scan within
    3 s. None where the recording has no scan.
    """
    chances: list[float] = []
    labels: list[float] = []
    for cycle in run.cycles:
        if cycle.considered is None or cycle.scan is None or cycle.state is None:
            continue
        chance_N, label_N = _contacts(cycle.considered, cycle.scan, cycle.state.pose_3, radius_m)
        chances += chance_N
        labels += label_N
    if not labels:
        return [], None
    chance, label = np.array(chances), np.array(labels)
    rate = float(label.mean())
    common = {"group": "contact", "count": len(label)}
    measures = [
        Measure(metric="AUROC", who="imagined", value=auroc(chance, label), better="higher", **common),
        Measure(metric="AUROC", who="base rate", value=0.5, better="higher", **common),
        Measure(
            metric="Brier score", who="imagined", value=brier_score(chance, label), better="lower", **common
        ),
        Measure(metric="Brier score", who="base rate", value=rate * (1 - rate), better="lower", **common),
        Measure(
            metric="calibration error",
            who="imagined",
            value=calibration_error(chance, label),
            better="lower",
            **common,
        ),
        Measure(metric="contact rate", who="scan", value=rate, **common),
    ]
    return measures, (chance, label)


def _contacts(
    considered: CandidateSet, scan: Scan, pose_3: Floats, radius_m: float
) -> tuple[list[float], list[float]]:
    frames = int(np.searchsorted(considered.times_F, CONTACT_S + 1e-6))
    here = float(scan.distances(pose_3[None])[0])
    chances, labels = [], []
    for row, hit_F in enumerate(considered.contact):
        if len(hit_F) < frames:
            continue
        path = np.concatenate([pose_3[None], considered.poses_NF3[row, :frames]])[:, :2]
        fine = np.linspace(0, frames, 5 * frames + 1)
        dense = np.stack([np.interp(fine, np.arange(frames + 1), path[:, axis]) for axis in (0, 1)], axis=1)
        touched = first_contact(scan.distances(dense), here, radius_m)
        chances.append(float(hit_F[:frames].max()))
        labels.append(float(touched is not None))
    return chances, labels


def comfort_measures(run: RunRecord, path_T4: Floats, motion_T3: Floats) -> list[Measure]:
    """Acceleration, jerk and yaw rate of the plans, of what was commanded, and of the recorded drive."""
    plans = [
        path_metrics.comfort(cycle.plan.times_F, cycle.plan.twists_F3)
        for cycle in run.cycles
        if cycle.plan is not None
    ]
    moving = [command for command in run.commands if not command.stop]
    parts = {
        "plan": plans,
        "commanded": [
            path_metrics.comfort([c.time_s for c in moving], np.array([c.twist_3 for c in moving]))
            if moving
            else None
        ],
        "driven": [path_metrics.comfort(path_T4[:, 0], motion_T3)],
    }
    found = []
    quantities: tuple[tuple[str, str, Callable[[path_metrics.Comfort], float]], ...] = (
        ("acceleration", "m/s²", lambda one: one.acceleration_mps2),
        ("jerk", "m/s³", lambda one: one.jerk_mps3),
        ("yaw rate", "rad/s", lambda one: one.yaw_rate_radps),
    )
    for metric, unit, get in quantities:
        for who, values in parts.items():
            value, count = mean_of(get(one) for one in values if one is not None)
            if count:
                found.append(
                    Measure(group="comfort", metric=metric, who=who, value=value, unit=unit, count=count)
                )
    return found


def time_measures(run: RunRecord) -> list[Measure]:
    """Planning time, deadlines, turns, horizon, memory; and what of the input was dropped."""
    cycles = np.array([cycle.cycle_s for cycle in run.cycles])
    plans = sum(cycle.plan is not None for cycle in run.cycles)
    found = []
    if len(cycles):
        found += [
            Measure(
                group="time",
                metric=f"planning time p{percent}",
                who="plan",
                value=float(np.percentile(cycles, percent)),
                unit="s",
                better="lower",
                count=len(cycles),
            )
            for percent in (50, 95, 99)
        ]
        attained = 1.0 - run.late / len(cycles)
        horizon = float(np.median([cycle.horizon_s for cycle in run.cycles]))
        common = {"group": "time", "who": "plan", "count": len(cycles)}
        found += [
            Measure(metric="deadlines attained", value=attained, better="higher", **common),
            Measure(metric="cycles with a plan", value=plans / len(cycles), better="higher", **common),
            Measure(metric="horizon reached p50", value=horizon, unit="s", better="higher", **common),
            Measure(metric="turns skipped", value=float(run.skipped), better="lower", **common),
        ]
    found.append(
        Measure(
            group="time",
            metric="peak memory",
            who="process",
            value=run.peak_memory_mib,
            unit="MiB",
            better="lower",
        )
    )
    came = sum(run.received.values()) + sum(run.refused.values())
    dropped = sum(run.refused.values()) + sum(run.counts.values())
    if came:
        found.append(
            Measure(
                group="inputs",
                metric="inputs dropped",
                who="bag",
                value=dropped / came,
                better="lower",
                count=came,
            )
        )
    if run.commands:
        standing = float(np.mean([bool(command.stop) for command in run.commands]))
        found.append(
            Measure(
                group="inputs", metric="standing", who="commanded", value=standing, count=len(run.commands)
            )
        )
    return found
