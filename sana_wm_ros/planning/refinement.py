"""Better candidates around the best ones: coloured noise on control knots, as iCEM draws it.

Source: Pinneri et al., "Sample-efficient cross-entropy method for real-time planning", 2020: noise that is
correlated in time, elites kept, a spread that shrinks from generation to generation.
Dimension letters: N candidates, F latent frames, K knots.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from sana_wm_ros.planning.motion_models import from_knots
from sana_wm_ros.planning.proposals import ProposalSettings, limits
from sana_wm_ros.planning.recipes import Commitment, Recipe, along, drive
from sana_wm_ros.planning.types import Candidates, FloatArray, Goal, PlaceGoal, Robot, RobotState


@dataclass(frozen=True, kw_only=True)
class RefinementSettings:
    """generations: at most so many, each as time allows; count: candidates of each; elites: drawn around so many.

    knot_s: seconds between knots; until_s: knots end there, and the elite's own way is taken up again;
    spread: standard deviation as a share of the robot's limits; correlation: of knots that follow each other;
    shrink: of the spread per generation.
    """

    generations: int = 1
    count: int = 8
    elites: int = 3
    knot_s: float = 1.0
    until_s: float = 8.0
    spread: float = 0.2
    correlation: float = 0.7
    shrink: float = 0.6

    def __post_init__(self) -> None:
        if self.generations < 0 or self.count < 1 or self.elites < 1:
            raise ValueError(f"generations, count and elites must be positive, got {self}")
        if not (self.knot_s > 0 and self.until_s > 0 and self.spread > 0 and 0 < self.shrink <= 1):
            raise ValueError(f"knot_s, until_s, spread and shrink must be positive, got {self}")
        if not 0 <= self.correlation < 1:
            raise ValueError(f"correlation = {self.correlation} must lie in [0, 1)")


def refine(
    robot: Robot,
    start: RobotState,
    goal: Goal | PlaceGoal | None,
    elites: Candidates,
    proposals: ProposalSettings,
    settings: RefinementSettings,
    generator: Generator,
    *,
    generation: int,
    commit_s: float,
    ways: Sequence[FloatArray] = (),
) -> Candidates:
    """``settings.count`` candidates: the given ``ways`` to the goal, and noise around the elites in turn.

    Nothing changes before ``commit_s``, which all share.
    """
    able, cruising = limits(robot, proposals)
    period_s = proposals.period_s
    commitment = Commitment(previous=None, seconds=commit_s)
    fixed = commitment.frames(period_s)
    until = min(proposals.frames, fixed + max(1, round(settings.until_s / period_s)))
    spread = settings.spread * settings.shrink**generation
    stand_F3 = np.zeros((proposals.frames, 3))
    recipes = []
    for way in ways[: settings.count // 2]:
        begin = elites.twists_NF3[0]  # the commitment is the same for all but "stop"
        vias = along(way)
        recipes.append(
            Recipe(
                origin="imagined way",
                open_F3=begin,
                until=fixed,
                vias_V2=vias,
                speed_mps=cruising.max_speed_mps,
                commits=False,
            )
        )
    for i in range(settings.count - len(recipes)):
        row = i % len(elites)
        noise_F3 = stand_F3.copy()
        noise_F3[fixed:until] = _noise(cruising, until - fixed, period_s, spread, settings, generator)
        rest = elites.poses_NF3[row, until:, :2]
        speed = float(np.abs(elites.twists_NF3[row, :, 0]).max())
        recipes.append(
            Recipe(
                origin="refined",
                open_F3=elites.twists_NF3[row] + noise_F3,
                until=until,
                vias_V2=along(rest, 0.0) if len(rest) else None,
                end_2=elites.poses_NF3[row, -1, :2],
                speed_mps=max(speed, 0.3 * cruising.max_speed_mps),
                commits=False,
            )
        )
    return drive(
        able,
        cruising,
        start,
        goal,
        recipes,
        commitment,
        frames=proposals.frames,
        period_s=period_s,
    )


def _noise(
    robot: Robot,
    frames: int,
    period_s: float,
    spread: float,
    settings: RefinementSettings,
    generator: Generator,
) -> FloatArray:
    """Twists (F, 3) between knots that follow an autoregressive process; none at the beginning."""
    times: FloatArray = period_s * np.arange(frames, dtype=np.float64)
    knots = 2 + int(times[-1] / settings.knot_s)
    scale = spread * np.array(
        [
            robot.max_speed_mps,
            robot.max_speed_mps if robot.drive == "omnidirectional" else 0.0,
            robot.max_yaw_rate_radps,
        ]
    )
    values = np.zeros((knots, 3))
    keep = settings.correlation
    for k in range(1, knots):
        values[k] = keep * values[k - 1] + np.sqrt(1 - keep**2) * generator.normal(size=3) * scale
    return from_knots(settings.knot_s * np.arange(knots, dtype=np.float64), values, times)
