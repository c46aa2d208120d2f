"""From what a candidate is asked to do to the commands and poses of a robot that can do no more than it can.

Dimension letters: N candidates, F latent frames, V via points, M points of a way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.motion_models import roll_out
from sana_wm_ros.planning.pursuit import Pursuit
from sana_wm_ros.planning.tracking import Gains, plan_period_s, reference, track
from sana_wm_ros.planning.types import Candidates, FloatArray, Goal, PlaceGoal, Plan, Robot, RobotState

# At two commands per second feedback must be gentler than the follower's at twenty.
_CARRY_ON_GAINS = Gains(along=0.8, across=2.0, heading=1.0)
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
    steps = np.hypot(*np.diff(way_M2, axis=0).T)
    reached = np.concatenate([[0.0], np.cumsum(steps)])
    if reached[-1] <= skip_m:
        return way_M2[-1:]
    count = min(_MAX_VIAS, max(1, int((reached[-1] - skip_m) / _VIA_APART_M)))
    at = np.linspace(reached[-1], skip_m, count, endpoint=False)[::-1]
    return np.stack([np.interp(at, reached, way_M2[:, i]) for i in (0, 1)], axis=-1)


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
) -> Callable[[int, FloatArray, FloatArray], FloatArray]:
    size, previous = len(recipes), commitment.previous
    open_NF3 = np.stack([recipe.open_F3 for recipe in recipes])
    until_N = np.array([recipe.until for recipe in recipes])
    carries_on_N = np.array([recipe.origin == "last plan" for recipe in recipes])
    commits_N = np.array([recipe.commits for recipe in recipes])
    committed = commitment.frames(period)
    elapsed_s = 0.0 if previous is None else start.time_s - previous.start.time_s
    carried = 0
    if previous is not None:
        carried = int((previous.times_F[-1] - elapsed_s) / plan_period_s(previous) + 1e-9)
    goes_on_N, pursuit = _pursuit(robot, goal, recipes, period)

    def carry_on(k: int, poses_N3: FloatArray) -> FloatArray:
        assert previous is not None
        here = reference(previous, elapsed_s + k * period)
        there = reference(previous, elapsed_s + (k + 1) * period)
        twist = se2.log(se2.between(here, there)) / period
        return track(
            robot,
            poses_N3,
            np.broadcast_to(here, poses_N3.shape),
            np.broadcast_to(twist, poses_N3.shape),
            _CARRY_ON_GAINS,
        )

    def command(k: int, poses_N3: FloatArray, twists_N3: FloatArray) -> FloatArray:
        # A primitive that waits for a commitment to end begins at its own beginning.
        own = np.where(commits_N, k - committed, k)
        over_N = (own >= until_N) & ~(carries_on_N & (k < carried))
        wanted = open_NF3[np.arange(size), np.clip(own, 0, frames - 1)]
        wanted = np.where((own < until_N)[:, None], wanted, 0.0)
        if pursuit is not None:
            pursuing_N = over_N & goes_on_N
            wanted = np.where(pursuing_N[:, None], pursuit.command(poses_N3, pursuing_N), wanted)
        if k < committed:
            wanted = np.where(commits_N[:, None], 0.0, wanted)
        if previous is not None and k < carried:
            follows_N = carries_on_N | (commits_N & (k < committed))
            if follows_N.any():
                wanted = np.where(follows_N[:, None], carry_on(k, poses_N3), wanted)
        return wanted

    return command


def _pursuit(
    robot: Robot, goal: Goal | PlaceGoal | None, recipes: Sequence[Recipe], period_s: float
) -> tuple[np.ndarray, Pursuit | None]:
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
