"""Candidate action sequences: primitives, curves and ways to the goal, openings, the last plan carried on.

All are within the robot's limits. Dimension letters: N candidates, F latent frames, M points of a way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from sana_wm_ros.planning.motion_models import from_knots, max_curvature
from sana_wm_ros.planning.recipes import Commitment, Recipe, along, drive
from sana_wm_ros.planning.types import Candidates, FloatArray, Goal, PlaceGoal, Plan, Robot, RobotState

_STANDS = 1e-3  # m/s and rad/s
KINDS = ("ways", "openings", "curves", "primitives")


@dataclass(frozen=True, kw_only=True)
class ProposalSettings:
    """How many candidates, how long, of which kinds, and the share of the robot's limits they use.

    ways, openings, curves, primitives: how the candidates divide (relative to each other) between ways to the
    goal through what clearance says is free, ways to where that ends, curves to the goal past random points,
    and motion primitives. Curves and primitives stand in for what there is too little of.
    What the limits' shares leave is the follower's room for feedback: a plan at full speed cannot be caught up with.
    """

    count: int = 16
    frames: int = 120
    period_s: float = 0.5
    ways: float = 0.3
    openings: float = 0.15
    curves: float = 0.3
    primitives: float = 0.25
    speed_share: float = 0.9
    acceleration_share: float = 0.8

    def __post_init__(self) -> None:
        if self.count < 1 or self.frames < 1 or not self.period_s > 0:
            raise ValueError(f"count, frames and period_s must be positive, got {self}")
        for name in ("speed_share", "acceleration_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)} must lie in (0, 1]")
        for name in KINDS:
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} = {getattr(self, name)} must be a share, 0 or more")
        if not self.curves + self.primitives > 0:
            raise ValueError("curves and primitives cannot both be 0: they stand in for the other kinds")

    def counts(self, goal: Goal | PlaceGoal | None) -> dict[str, int]:
        """How many of each kind are wanted, the ones that are always there aside."""
        shares = {kind: float(getattr(self, kind)) for kind in KINDS}
        if not isinstance(goal, Goal):  # nowhere to go to: only what leads on
            shares["openings"] += shares["ways"]
            shares["ways"] = shares["curves"] = 0.0
            shares["primitives"] = shares["primitives"] or 1.0
        total = sum(shares.values())
        counts = {kind: int(self.count * share / total) for kind, share in shares.items()}
        counts["primitives"] += self.count - sum(counts.values())
        return counts


def propose(
    robot: Robot,
    start: RobotState,
    goal: Goal | PlaceGoal | None,
    settings: ProposalSettings,
    generator: Generator,
    *,
    previous: Plan | None = None,
    commit_s: float = 0.0,
    ways: Sequence[FloatArray] = (),
    openings: Sequence[FloatArray] = (),
) -> Candidates:
    """``settings.count`` candidates from ``start``; the same generator state gives the same ones.

    The first ones are always: stop, straight to the goal (with a goal pose), the last plan carried on (with a
    ``previous`` plan that neither ended nor expired). ``commit_s``: what the robot does anyway while the
    planner thinks, which is carrying on with ``previous`` or, without one, standing; every candidate but
    "stop" begins so. ``ways`` to the goal and to ``openings``: points (M, 2) in ``odom``.
    """
    able, cruising = limits(robot, settings)
    commitment = Commitment(previous=not_over(previous, start), seconds=commit_s)
    recipes = _recipes(cruising, start, goal, settings, generator, commitment.previous, ways, openings)
    return drive(
        able,
        cruising,
        start,
        goal,
        recipes,
        commitment,
        frames=settings.frames,
        period_s=settings.period_s,
    )


def limits(robot: Robot, settings: ProposalSettings) -> tuple[Robot, Robot]:
    """The robot as candidates may use it: what it does, and what is asked of it."""
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
    return able, cruising


def not_over(previous: Plan | None, start: RobotState) -> Plan | None:
    """The last plan, unless it ended or expired."""
    if previous is None:
        return None
    over_s = min(previous.valid_until_s, previous.start.time_s + float(previous.times_F[-1]))
    return previous if start.time_s < over_s else None


def _recipes(
    robot: Robot,
    start: RobotState,
    goal: Goal | PlaceGoal | None,
    settings: ProposalSettings,
    generator: Generator,
    previous: Plan | None,
    ways: Sequence[FloatArray],
    openings: Sequence[FloatArray],
) -> list[Recipe]:
    stand_F3 = np.zeros((settings.frames, 3))
    fast = robot.max_speed_mps
    counts = settings.counts(goal)
    recipes = [Recipe(origin="stop", open_F3=stand_F3, until=settings.frames, commits=False)]
    if isinstance(goal, Goal):
        if goal.path_M2 is None:
            recipes.append(Recipe(origin="goal line", open_F3=stand_F3, speed_mps=fast))
        else:
            vias = along(np.concatenate([start.pose_3[None, :2], goal.path_M2]))
            recipes.append(Recipe(origin="given path", open_F3=stand_F3, vias_V2=vias, speed_mps=fast))
    if previous is not None:
        # Going on to the goal after a stand, beyond what is imagined, would look free and make waiting worth it.
        stands = np.abs(previous.twists_F3[-1]).max() < _STANDS
        until = settings.frames if stands else 0
        recipes.append(Recipe(origin="last plan", open_F3=stand_F3, until=until, speed_mps=fast))
    for way in ways[: counts["ways"]]:
        recipes.append(Recipe(origin="imagined way", open_F3=stand_F3, vias_V2=along(way), speed_mps=fast))
    for way in openings[: counts["openings"]]:
        end = None if isinstance(goal, Goal) else way[-1]
        recipes.append(
            Recipe(origin="opening", open_F3=stand_F3, vias_V2=along(way), end_2=end, speed_mps=fast)
        )
    rest = max(0, settings.count - len(recipes))
    curves = 0
    if isinstance(goal, Goal):
        curves = int(np.ceil(settings.curves / (settings.curves + settings.primitives) * rest))
        recipes += _goal_curves(robot, start, goal, curves, stand_F3, generator)
    forever = not isinstance(goal, Goal)
    recipes += [_primitive(robot, i, settings, generator, forever=forever) for i in range(rest - curves)]
    return recipes[: settings.count]


def _goal_curves(
    robot: Robot, start: RobotState, goal: Goal, count: int, stand_F3: FloatArray, generator: Generator
) -> list[Recipe]:
    begin, end = start.pose_3[:2], np.array([goal.x_m, goal.y_m])
    line = end - begin
    distance = max(float(np.linalg.norm(line)), 1.0)
    forward = line / distance if np.any(line) else np.array([1.0, 0.0])
    left = np.array([-forward[1], forward[0]])
    recipes = []
    for i in range(count):
        # Narrow, middle and wide detours in turn, to the left and to the right in turn.
        spread = (0.15, 0.35, 0.8)[(i // 2) % 3] * distance
        side = 1.0 if i % 2 == 0 else -1.0
        fractions = np.sort(generator.uniform(0.15, 0.85, size=1 + int(generator.random() < 0.35)))
        offsets = side * np.abs(generator.normal(0.0, spread, size=len(fractions))) + 0.1 * side
        vias_V2 = begin + (fractions * distance)[:, None] * forward + offsets[:, None] * left
        if goal.yaw_rad is not None and generator.random() < 0.5:
            heading = np.array([np.cos(goal.yaw_rad), np.sin(goal.yaw_rad)])
            vias_V2 = np.concatenate([vias_V2, end[None] - generator.uniform(0.5, 1.2) * heading])
        speed = robot.max_speed_mps * float(generator.uniform(0.6, 1.0))
        recipes.append(Recipe(origin="goal curve", open_F3=stand_F3, vias_V2=vias_V2, speed_mps=speed))
    return recipes


def _primitive(
    robot: Robot, i: int, settings: ProposalSettings, generator: Generator, *, forever: bool
) -> Recipe:
    kinds = ["arc", "s-curve", "turn then go", "arc", "straight", "back up"]
    if robot.drive == "omnidirectional":
        kinds[3] = "sideways"
    kind = kinds[i % 6]
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
    elif kind == "sideways":
        open_F3[:, 0], open_F3[:, 1] = 0.3 * speed, side * speed
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
    return Recipe(origin=kind, open_F3=open_F3, until=until, speed_mps=robot.max_speed_mps)
