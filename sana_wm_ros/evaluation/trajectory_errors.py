"""ATE and RPE of planned paths, by evo, with the alignment that they were taken under.

evo (github.com/MichaelGrupp/evo) is in the extra ``eval``; it is imported where it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from sana_wm_ros.evaluation.measure import Measure, mean_of
from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.plan_measures import PLAN, ScoredCycle
from sana_wm_ros.geometry import se3

RPE_DELTA_S = 1.0
ALIGNMENT = "none: plan and drive begin in the same measured pose"
NOT_AVAILABLE = "ATE and RPE: evo is not installed (pip install 'sana_wm_ros[eval]')"


def evo_is_there() -> bool:
    """Whether ATE and RPE can be had."""
    return find_spec("evo") is not None


def trajectory_measures(scored: Sequence[ScoredCycle]) -> list[Measure]:
    """ATE (root mean square, m) and RPE over one second (m, deg) of plans and guesses, over all that is known.

    Raises ImportError where evo is not installed.
    """
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for one in scored:
        plan = one.cycle.plan
        assert plan is not None
        frames = int(np.searchsorted(plan.times_F, one.reach_s + 1e-6))
        stamps = np.concatenate([[0.0], plan.times_F[:frames]])
        driven = np.concatenate([plan.start.pose_3[None], one.driven_F3[:frames]])
        for name, path in one.paths.items():
            asked = np.concatenate([plan.start.pose_3[None], path[:frames]])
            rows.setdefault(name, []).append(errors(stamps, asked, driven))
    found = []
    for name in sorted(rows, key=lambda name: name != PLAN):
        for metric, unit, values in zip(
            ("ATE", "RPE", "RPE rotation"), ("m", "m", "deg"), zip(*rows[name], strict=True), strict=True
        ):
            value, count = mean_of(values)
            found.append(
                Measure(
                    group="plan", metric=metric, who=name, value=value, unit=unit, better="lower", count=count
                )
            )
    return found


def errors(times_F: Floats, poses_F3: Floats, true_F3: Floats) -> tuple[float, float, float]:
    """ATE (m), RPE (m) and RPE rotation (deg) of one path against another, without alignment."""
    from evo.core import metrics, trajectory

    pair = tuple(
        trajectory.PoseTrajectory3D(poses_se3=list(_matrices(poses)), timestamps=times_F)
        for poses in (true_F3, poses_F3)
    )
    steps = max(1, round(RPE_DELTA_S / float(times_F[1] - times_F[0])))
    found = []
    for metric in (
        metrics.APE(metrics.PoseRelation.translation_part),
        metrics.RPE(metrics.PoseRelation.translation_part, delta=steps, delta_unit=metrics.Unit.frames),
        metrics.RPE(metrics.PoseRelation.rotation_angle_deg, delta=steps, delta_unit=metrics.Unit.frames),
    ):
        metric.process_data(pair)
        found.append(float(metric.get_statistic(metrics.StatisticsType.rmse)))
    return found[0], found[1], found[2]


def _matrices(poses_F3: Floats) -> list[Floats]:
    return [se3.from_planar(pose) for pose in poses_F3]
