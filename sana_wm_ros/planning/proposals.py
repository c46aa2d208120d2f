"""Candidate action sequences: primitives, curves to the goal, the last plan carried on; all within limits.

Dimension letters: N candidates, F latent frames, V via points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.motion_models import from_knots, max_curvature, roll_out
from sana_wm_ros.planning.pursuit import Pursuit
from sana_wm_ros.planning.tracking import Gains, plan_period_s, reference, track
from sana_wm_ros.planning.types import Candidates, FloatArray, Goal, Plan, Robot, RobotState

_MAX_VIAS = 3
# At two commands per second feedback must be gentler than the follower's at twenty.
_CARRY_ON_GAINS = Gains(along=0.8, across=2.0, heading=1.0)


@dataclass(frozen=True, kw_only=True)
class ProposalSettings:
    """How many candidates, how long, and the share of the robot's limits they use.

    What they leave is the follower's room for feedback: a plan at full speed cannot be caught up with.
    """

    count: int = 16
    frames: int = 120
    period_s: float = 0.5
    speed_share: float = 0.9
    acceleration_share: float = 0.8

    def __post_init__(self) -> None:
        if self.count < 1 or self.frames < 1 or not self.period_s > 0:
            raise ValueError(f"count, frames and period_s must be positive, got {self}")
        for name in ("speed_share", "acceleration_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)} must lie in (0, 1]")


@dataclass(kw_only=True)
class _Recipe:
    """One candidate: twists asked for until frame ``until``, then the via points, then the goal."""

    origin: str
    open_F3: FloatArray
    until: int = 0
    vias_V2: tuple[FloatArray, ...] = ()
    speed_mps: float = 0.0
    commits: bool = True


def propose(
    robot: Robot,
    start: RobotState,
    goal: Goal | None,
    settings: ProposalSettings,
    generator: Generator,
    *,
    previous: Plan | None = None,
    commit_s: float = 0.0,
) -> Candidates:
    """``settings.count`` candidates from ``start``; the same generator state gives the same ones.

    The first ones are always: stop, straight to the goal (with a goal), the last plan carried on (with a
    ``previous`` plan that neither ended nor expired). ``commit_s``: what the robot does anyway while the
    planner thinks, which is carrying on with ``previous`` or, without one, standing; every candidate but
    "stop" begins so.
    """
    able = replace(
        robot,
        max_acceleration_mps2=robot.max_acceleration_mps2 * settings.acceleration_share,
        max_yaw_acceleration_radps2=robot.max_yaw_acceleration_radps2 * settings.acceleration_share,
    )
    # Only what is asked for is slower: a robot that is faster now must not have to brake harder than it can.
    cruising = replace(
        able,
        max_speed_mps=robot.max_speed_mps * settings.speed_share,
        max_reverse_mps=robot.max_reverse_mps * settings.speed_share,
        max_yaw_rate_radps=robot.max_yaw_rate_radps * settings.speed_share,
    )
    if previous is not None:
        over_s = min(previous.valid_until_s, previous.start.time_s + float(previous.times_F[-1]))
        previous = previous if start.time_s < over_s else None
    recipes = _recipes(cruising, start, goal, settings, generator, previous)
    command = _commander(cruising, start, goal, settings, recipes, previous, commit_s)
    twists, poses = roll_out(
        able,
        start.pose_3,
        start.twist_3,
        command,
        size=len(recipes),
        frames=settings.frames,
        period_s=settings.period_s,
    )
    return Candidates(
        times_F=settings.period_s * np.arange(1, settings.frames + 1, dtype=np.float64),
        poses_NF3=poses,
        twists_NF3=twists,
        origins=tuple(recipe.origin for recipe in recipes),
    )


def _recipes(
    robot: Robot,
    start: RobotState,
    goal: Goal | None,
    settings: ProposalSettings,
    generator: Generator,
    previous: Plan | None,
) -> list[_Recipe]:
    stand_F3 = np.zeros((settings.frames, 3))
    recipes = [_Recipe(origin="stop", open_F3=stand_F3, until=settings.frames, commits=False)]
    if goal is not None:
        recipes.append(_Recipe(origin="goal line", open_F3=stand_F3, speed_mps=robot.max_speed_mps))
    if previous is not None:
        recipes.append(_Recipe(origin="last plan", open_F3=stand_F3, speed_mps=robot.max_speed_mps))
    rest = max(0, settings.count - len(recipes))
    curves = 0 if goal is None else int(np.ceil(0.6 * rest))
    for i in range(curves):
        assert goal is not None
        recipes.append(_goal_curve(robot, start, goal, i, stand_F3, generator))
    for i in range(rest - curves):
        recipes.append(_primitive(robot, i, settings, generator, forever=goal is None))
    return recipes[: settings.count]


def _goal_curve(
    robot: Robot, start: RobotState, goal: Goal, i: int, stand_F3: FloatArray, generator: Generator
) -> _Recipe:
    end = np.array([goal.x_m, goal.y_m])
    line = end - start.pose_3[:2]
    distance = max(float(np.linalg.norm(line)), 1.0)
    forward = line / distance if np.any(line) else np.array([1.0, 0.0])
    left = np.array([-forward[1], forward[0]])
    # Narrow, middle and wide detours in turn, to the left and to the right in turn.
    spread = (0.15, 0.35, 0.8)[(i // 2) % 3] * distance
    side = 1.0 if i % 2 == 0 else -1.0
    fractions = np.sort(generator.uniform(0.15, 0.85, size=1 + int(generator.random() < 0.35)))
    offsets = side * np.abs(generator.normal(0.0, spread, size=len(fractions))) + 0.1 * side
    vias = [
        start.pose_3[:2] + f * distance * forward + o * left for f, o in zip(fractions, offsets, strict=True)
    ]
    if goal.yaw_rad is not None and generator.random() < 0.5:
        heading = np.array([np.cos(goal.yaw_rad), np.sin(goal.yaw_rad)])
        vias.append(end - generator.uniform(0.5, 1.2) * heading)
    speed = robot.max_speed_mps * float(generator.uniform(0.6, 1.0))
    return _Recipe(origin="goal curve", open_F3=stand_F3, vias_V2=tuple(vias[:_MAX_VIAS]), speed_mps=speed)


def _primitive(
    robot: Robot, i: int, settings: ProposalSettings, generator: Generator, *, forever: bool
) -> _Recipe:
    kind = ("arc", "s-curve", "turn then go", "arc", "straight", "back up")[i % 6]
    seconds = float(generator.uniform(2.0, 8.0))
    side = 1.0 if generator.random() < 0.5 else -1.0
    speed = robot.max_speed_mps * float(generator.uniform(0.4, 1.0))
    rate = side * robot.max_yaw_rate_radps * float(generator.uniform(0.1, 0.8))
    if robot.drive == "ackermann":
        rate = float(np.clip(rate, -max_curvature(robot) * speed, max_curvature(robot) * speed))
    times: FloatArray = settings.period_s * np.arange(settings.frames, dtype=np.float64)
    open_F3 = np.zeros((settings.frames, 3))
    open_F3[:, 0] = speed
    if kind == "arc":
        open_F3[:, 2] = rate
    elif kind == "s-curve":
        bends = np.array([0.0, rate, -rate, 0.0])
        knots_K3 = np.stack([np.full(4, speed), np.zeros(4), bends], axis=-1)
        open_F3[:] = from_knots(seconds * np.array([0.0, 0.25, 0.75, 1.0]), knots_K3, times)
    elif kind == "turn then go":
        turning = times < min(seconds, np.pi / max(abs(rate), 0.1))
        on_the_spot = 0.0 if robot.drive != "ackermann" else 0.5 * speed
        open_F3[turning, 0] = on_the_spot
        open_F3[turning, 2] = side * robot.max_yaw_rate_radps * 0.8
    elif kind == "back up":
        backing = times < 0.5 * seconds
        open_F3[backing, 0] = -robot.max_reverse_mps
        open_F3[backing, 2] = 0.5 * rate
        open_F3[~backing, 2] = rate
    until = settings.frames if forever else int(np.ceil(seconds / settings.period_s))
    return _Recipe(origin=kind, open_F3=open_F3, until=until, speed_mps=robot.max_speed_mps)


def _commander(
    robot: Robot,
    start: RobotState,
    goal: Goal | None,
    settings: ProposalSettings,
    recipes: list[_Recipe],
    previous: Plan | None,
    commit_s: float,
) -> Callable[[int, FloatArray, FloatArray], FloatArray]:
    size, period = len(recipes), settings.period_s
    open_NF3 = np.stack([recipe.open_F3 for recipe in recipes])
    until_N = np.array([recipe.until for recipe in recipes])
    carries_on_N = np.array([recipe.origin == "last plan" for recipe in recipes])
    commits_N = np.array([recipe.commits for recipe in recipes])
    committed = int(np.ceil(commit_s / period - 1e-9))
    elapsed_s = 0.0 if previous is None else start.time_s - previous.start.time_s
    carried = 0
    if previous is not None:
        carried = int((previous.times_F[-1] - elapsed_s) / plan_period_s(previous) + 1e-9)
    pursuit = None if goal is None else _pursuit(robot, goal, recipes, period)

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
        pursuing_N = (own >= until_N) & ~(carries_on_N & (k < carried))
        wanted = open_NF3[np.arange(size), np.clip(own, 0, settings.frames - 1)]
        wanted = np.where((own < until_N)[:, None], wanted, 0.0)
        if pursuit is not None:
            chased = pursuit.command(poses_N3, pursuing_N)
            wanted = np.where(pursuing_N[:, None], chased, wanted)
        if k < committed:
            wanted = np.where(commits_N[:, None], 0.0, wanted)
        if previous is not None and k < carried:
            follows_N = carries_on_N | (commits_N & (k < committed))
            wanted = np.where(follows_N[:, None], carry_on(k, poses_N3), wanted)
        return wanted

    return command


def _pursuit(robot: Robot, goal: Goal, recipes: list[_Recipe], period_s: float) -> Pursuit:
    vias = np.zeros((len(recipes), _MAX_VIAS, 2))
    for row, recipe in zip(vias, recipes, strict=True):
        row[: len(recipe.vias_V2)] = np.reshape(recipe.vias_V2, (-1, 2))
    counts = np.array([len(recipe.vias_V2) for recipe in recipes])
    speeds = np.array([recipe.speed_mps for recipe in recipes])
    return Pursuit(robot, goal, vias, counts, speeds, period_s)
