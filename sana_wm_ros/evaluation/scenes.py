"""Which planning moments a report shows, and what was known at each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from sana_wm_ros.evaluation.drive import RecordedDrive
from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.plan_picture import PlanScene
from sana_wm_ros.evaluation.recording import CandidatesShown, Recording

T = TypeVar("T")


def planning_moments(
    recording: Recording,
    recorded: RecordedDrive | None,
    *,
    count: int = 6,
    robot_radius_m: float = 0.2,
    at_s: Mapping[str, float] | None = None,
) -> list[PlanScene]:
    """At most ``count`` scenes, evenly spread over the cycles that have candidates; empty where none has.

    at_s: title to time, for scenes of certain cycles instead.
    """
    cycles = [cycle for cycle in recording.candidates if cycle.paths]
    if not cycles:
        return []
    odometry_T4 = _odometry(recording, recorded)
    begin_s = odometry_T4[0, 0] if len(odometry_T4) else cycles[0].stamp_s
    if at_s:
        chosen = [(title, _nearest(cycles, time)) for title, time in at_s.items()]
    else:
        spread = sorted({round(i) for i in np.linspace(0, len(cycles) - 1, min(count, len(cycles)))})
        chosen = [("", cycles[index]) for index in spread]
    scenes = []
    for title, cycle in chosen:
        scene = _scene(cycle, recording, odometry_T4, begin_s, robot_radius_m=robot_radius_m)
        scenes.append(replace(scene, title=f"{title} ({scene.title})" if title else scene.title))
    return scenes


def _nearest(cycles: list[CandidatesShown], time_s: float) -> CandidatesShown:
    return min(cycles, key=lambda cycle: abs(cycle.stamp_s - time_s))


def _odometry(recording: Recording, recorded: RecordedDrive | None) -> Floats:
    if recorded is not None:
        return recorded.odometry_T4
    return np.array(recording.odometry, dtype=np.float64).reshape(-1, 4)


def _scene(
    cycle: CandidatesShown,
    recording: Recording,
    odometry_T4: Floats,
    begin_s: float,
    *,
    robot_radius_m: float,
) -> PlanScene:
    now = cycle.stamp_s
    before = odometry_T4[:, 0] <= now
    pose_3 = odometry_T4[before][-1, 1:] if before.any() else _start_of(cycle)
    plan = _latest(recording.plans, now, within_s=1.5)
    clearance = _latest(recording.clearances, now, within_s=1.5)
    goal = _latest([(time, (x, y)) for time, x, y in recording.goals], now, within_s=np.inf)
    return PlanScene(
        pose_3=pose_3,
        radius_m=robot_radius_m,
        path_T3=odometry_T4[before][:, 1:] if before.any() else None,
        later_T3=odometry_T4[~before][:, 1:] if (~before).any() else None,
        candidates=cycle.paths,
        costs_N=cycle.costs_N,
        contacts=cycle.contacts,
        imagined=cycle.imagined,
        plan_F2=plan,
        goal_xy=goal,
        clearance_K=clearance,
        title=f"{now - begin_s:.0f} s, {len(cycle.paths)} candidates",
    )


def _start_of(cycle: CandidatesShown) -> Floats:
    first, second = cycle.paths[0][0], cycle.paths[0][1]
    yaw = np.arctan2(second[1] - first[1], second[0] - first[0])
    return np.array([first[0], first[1], yaw])


def _latest(entries: list[tuple[float, T]], now_s: float, *, within_s: float) -> T | None:
    """The entry nearest to now, which may be a little later: the plan follows its candidates."""
    near = [(abs(time - now_s), value) for time, value in entries if time <= now_s + 1.5]
    if not near:
        return None
    distance, value = min(near, key=lambda entry: entry[0])
    return value if distance <= within_s else None
