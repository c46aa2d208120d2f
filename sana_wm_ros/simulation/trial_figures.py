"""From how trials ended to the figures of a group: success, SPL, contacts, times, with their uncertainty."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sana_wm_ros.simulation.trials import Ending, Trial


def row(trial: Trial, ending: Ending) -> dict[str, Any]:
    """One trial of one group, ready for JSON."""
    return {
        "seed": trial.seed,
        "seen": trial.seen,
        "doors": trial.doors,
        "tour_s": trial.tour_s,
        "way_m": trial.way_m,
        "success": ending.success,
        "reason": ending.reason,
        "time_s": ending.time_s,
        "path_m": ending.path_m,
        "contacts": ending.contacts,
        "hard_contact": ending.hard_contact,
        "least_clearance_m": ending.least_clearance_m,
        "end_distance_m": ending.end_distance_m,
        "measured_distance_m": ending.measured_distance_m,
        **ending.figures,
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of a group.

    spl: success weighted by path length (Anderson et al., "On evaluation of embodied navigation agents", 2018):
    mean of success times shortest over driven way. success_low, success_high: Wilson's 95 % interval.
    plan_cpu_s: processor seconds per plan, which a busy machine does not change.
    """
    if not rows:
        return {"trials": 0}
    won = [bool(one["success"]) for one in rows]
    low, high = wilson(sum(won), len(won))
    driven_m = sum(one["path_m"] for one in rows)
    spl = [one["way_m"] / max(one["way_m"], one["path_m"]) if one["success"] else 0.0 for one in rows]
    found: dict[str, Any] = {
        "trials": len(rows),
        "success": float(np.mean(won)),
        "success_low": low,
        "success_high": high,
        "spl": float(np.mean(spl)),
        "contacts_per_100_m": 100 * sum(one["contacts"] for one in rows) / max(driven_m, 1e-9),
        "hard_contact": float(np.mean([one["hard_contact"] for one in rows])),
        "time_s": _median(one["time_s"] for one in rows if one["success"]),
        "least_clearance_m": float(np.median([one["least_clearance_m"] for one in rows])),
        "reasons": {name: sum(one["reason"] == name for one in rows) for name in {r["reason"] for r in rows}},
    }
    for name in ("seen", "not seen"):
        part = [bool(one["success"]) for one in rows if one["seen"] == (name == "seen")]
        found[f"success, goal {name}"] = float(np.mean(part)) if part else None
        found[f"trials, goal {name}"] = len(part)
    seconds = [second for one in rows for second in one.get("plan_cpu_s", [])]
    if seconds:
        p50, p95, p99 = np.percentile(seconds, (50, 95, 99))
        found["plan_cpu_s"] = {"count": len(seconds), "p50": float(p50), "p95": float(p95), "p99": float(p99)}
    return found


def beside(rows: Sequence[Mapping[str, Any]], whole: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole planner's figures on the trials of an ablation, as those are often fewer."""
    seeds = {one["seed"] for one in rows}
    found = summary([one for one in whole if one["seed"] in seeds])
    return {name: found[name] for name in ("trials", "success", "spl", "contacts_per_100_m") if name in found}


def wilson(won: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    if of == 0:
        return 0.0, 1.0
    share, weight = won / of, z * z / of
    middle = (share + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(share * (1 - share) / of + weight / (4 * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.median(found)) if found else None
