"""From what a candidate is asked to do to the commands and poses of a robot that can do no more than it can.

Dimension letters: N candidates, F latent frames, V via points, M points of a way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.motion_models import Command, roll_out
from sana_wm_ros.planning.pursuit import Pursuit
from sana_wm_ros.planning.tracking import Gains, plan_period_s, references, track
from sana_wm_ros.planning.types import Candidates, FloatArray, Goal, PlaceGoal, Plan, Robot, RobotState

# At two commands per second feedback must be gentler than the follower's at twenty.
_CARRY_ON_GAINS = Gains(along=0.8, across=2.0, heading=1.0)
_FEEDBACK_FRAMES = 16
_VIA_APART_M = 0.45
_MAX_VIAS = 48


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One candidate: twists asked for until frame ``until``, then the via points, then the end.

    end_2 None: the goal, or nowhere without one. commits: it begins with what the robot does anyway.
    """

    origin: str
    open_F3: FloatArray
    until: int = 0
    vias_V2: FloatArray | None = None
    end_2: FloatArray | None = None
    speed_mps: float = 0.0
    commits: bool = True


@dataclass(frozen=True, kw_only=True)
class Commitment:
    """What the robot does while the planner thinks: it carries on with ``previous``, or stands without one."""

    previous: Plan | None
    seconds: float

    def frames(self, period_s: float) -> int:
        """Latent frames that are spent by then."""
        return int(np.ceil(self.seconds / period_s - 1e-9))


def along(way_M2: FloatArray, skip_m: float = 0.3) -> FloatArray:
    """Via points (V, 2) at even distances along a way, without its first metres; its end is the last one."""
    x_M, y_M = way_M2[:, 0], way_M2[:, 1]
    reached_M = np.zeros(len(way_M2))
    np.cumsum(np.hypot(x_M[1:] - x_M[:-1], y_M[1:] - y_M[:-1]), out=reached_M[1:])
    end_m = float(reached_M[-1])
    if end_m <= skip_m:
        return way_M2[-1:]
    count = min(_MAX_VIAS, max(1, int((end_m - skip_m) / _VIA_APART_M)))
    at_V = end_m - (end_m - skip_m) / count * np.arange(count - 1, -1, -1)
    vias_V2 = np.empty((count, 2))
    vias_V2[:, 0], vias_V2[:, 1] = np.interp(at_V, reached_M, x_M), np.interp(at_V, reached_M, y_M)
    return vias_V2


def drive(
    able: Robot,
    cruising: Robot,
    start: RobotState,
    goal: Goal | PlaceGoal | None,
    recipes: Sequence[Recipe],
    commitment: Commitment,
    *,
    frames: int,
    period_s: float,
) -> Candidates:
    """Candidates from recipes. ``cruising`` limits what is asked for, ``able`` what is done."""
    command = _commander(cruising, start, goal, recipes, commitment, frames, period_s)
    twists, poses = roll_out(
        able, start.pose_3, start.twist_3, command, size=len(recipes), frames=frames, period_s=period_s
    )
    return Candidates(
        times_F=period_s * np.arange(1, frames + 1, dtype=np.float64),
        poses_NF3=poses,
        twists_NF3=twists,
        origins=tuple(recipe.origin for recipe in recipes),
    )


def _commander(
    robot: Robot,
    start: RobotState,
    goal: Goal | PlaceGoal | None,
    recipes: Sequence[Recipe],
    commitment: Commitment,
    frames: int,
    period: float,
) -> Command:
    committed = min(frames, commitment.frames(period))
    commits_N = np.array([recipe.commits for recipe in recipes])
    # A primitive that waits for a commitment to end begins at its own beginning.
    begins_N = np.where(commits_N, committed, 0)
    ends_N = np.minimum(frames, begins_N + [recipe.until for recipe in recipes])
    own_FN = np.arange(frames)[:, None] < ends_N
    own_F3N = np.zeros((frames, 3, len(recipes)))
    for n in np.flatnonzero(ends_N > begins_N):
        begin, end = begins_N[n], ends_N[n]
        own_F3N[begin:end, :, n] = recipes[n].open_F3[: end - begin]
    carried = _Carried(commitment.previous, start, frames, period)
    last_plan_N = np.array([recipe.origin == "last plan" for recipe in recipes])
    carries_FN = np.zeros_like(own_FN)
    carries_FN[: carried.frames, last_plan_N] = True
    carries_FN[: min(committed, carried.frames), commits_N] = True
    # By then robots near the plan are on it and only do what it says.
    later = slice(_FEEDBACK_FRAMES, carried.frames)
    np.copyto(own_F3N[later], carried.twists_F3[later, :, None], where=carries_FN[later, None])
    followed = [np.flatnonzero(row) for row in carries_FN[:_FEEDBACK_FRAMES]]
    goes_on_N, pursuit = _pursuit(robot, goal, recipes, period)
    pursues_FN = ~own_FN & ~carries_FN & goes_on_N
    pursued = pursues_FN.any(axis=1).tolist()

    def command(k: int, poses_3N: FloatArray, twists_3N: FloatArray) -> FloatArray:
        wanted = own_F3N[k]
        if pursuit is not None and pursued[k]:
            np.copyto(wanted, pursuit.command(poses_3N, pursues_FN[k]), where=pursues_FN[k])
        if k < _FEEDBACK_FRAMES and len(rows := followed[k]):
            wanted[:, rows] = carried.command(robot, k, poses_3N[:, rows])
        return wanted

    return command


class _Carried:
    """The last plan from now on: what it asks for in each frame, and the feedback that keeps a robot on it."""

    def __init__(self, previous: Plan | None, start: RobotState, frames: int, period_s: float) -> None:
        self.frames = 0
        self.twists_F3: FloatArray = np.zeros((0, 3))
        if previous is None:
            return
        elapsed_s = start.time_s - previous.start.time_s
        left = int((previous.times_F[-1] - elapsed_s) / plan_period_s(previous) + 1e-9)
        self.frames = max(0, min(frames, left))
        self._poses_F3 = references(
            previous, elapsed_s + period_s * np.arange(self.frames + 1, dtype=np.float64)
        )
        if self.frames:
            self.twists_F3 = se2.log(se2.between(self._poses_F3[:-1], self._poses_F3[1:])) / period_s

    def command(self, robot: Robot, k: int, poses_3N: FloatArray) -> FloatArray:
        """Twists (3, N) of frame k for robots near the plan."""
        return track(robot, poses_3N.T, self._poses_F3[k], self.twists_F3[k], _CARRY_ON_GAINS).T


def _pursuit(
    robot: Robot, goal: Goal | PlaceGoal | None, recipes: Sequence[Recipe], period_s: float
) -> tuple[NDArray[np.bool_], Pursuit | None]:
    """Who goes on to an end after its own commands, and what leads them there."""
    home = np.array([goal.x_m, goal.y_m]) if isinstance(goal, Goal) else None
    ends = [recipe.end_2 if recipe.end_2 is not None else home for recipe in recipes]
    goes_on_N = np.array([end is not None for end in ends])
    if not goes_on_N.any():
        return goes_on_N, None
    counts_N = np.array([0 if recipe.vias_V2 is None else len(recipe.vias_V2) for recipe in recipes])
    vias_NV2 = np.zeros((len(recipes), max(1, int(counts_N.max())), 2))
    for row, recipe in zip(vias_NV2, recipes, strict=True):
        if recipe.vias_V2 is not None:
            row[: len(recipe.vias_V2)] = recipe.vias_V2
    return goes_on_N, Pursuit(
        robot,
        vias_NV2,
        counts_N,
        np.array([np.zeros(2) if end is None else end for end in ends]),
        np.array([recipe.speed_mps for recipe in recipes]),
        period_s,
        arrive_m=min(0.15, 0.5 * goal.tolerance_m) if isinstance(goal, Goal) else 0.15,
        yaw_rad=goal.yaw_rad if isinstance(goal, Goal) else None,
    )
