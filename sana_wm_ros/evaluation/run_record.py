"""What a planner did on a recording, cycle by cycle and command by command, as arrays and words.

Dimension letters: N candidates, F latent frames, K sectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import Goal, Plan, PlanResult, RobotState


@dataclass(frozen=True, kw_only=True)
class CandidateSet:
    """All that was considered in one cycle.

    contact, uncertainty: per candidate, as far as it was imagined (at most F). costs_N: at the horizon in
    horizons_N (s); inf where what was imagined was not finite. best: row of the plan.
    """

    times_F: Floats
    poses_NF3: Floats
    origins: tuple[str, ...]
    costs_N: Floats
    horizons_N: Floats
    contact: tuple[Floats, ...]
    uncertainty: tuple[Floats, ...]
    clearance_K: Floats
    best: int | None
    shares: dict[str, Floats]

    @property
    def rank_N(self) -> Floats:
        """Place of each candidate, 0 the best; who was imagined further stands before whoever was dropped."""
        order = np.lexsort((self.costs_N, -self.horizons_N))
        return np.argsort(order, kind="stable").astype(np.float64)


@dataclass(frozen=True, kw_only=True)
class CycleRecord:
    """One planning cycle. Times are the recording's, in seconds; durations those of the planner's clock."""

    start_s: float
    ready_s: float
    state: RobotState | None
    goal: Goal | None
    plan: Plan | None
    reason: str
    stop: str
    cycle_s: float
    late: bool
    horizon_s: float
    timings_s: dict[str, float]
    considered: CandidateSet | None
    scan: Scan | None = None


@dataclass(frozen=True, kw_only=True)
class CommandRecord:
    """One turn of the command loop: a twist (vx, vy, yaw rate), or the reason to stand (then it is zero)."""

    time_s: float
    twist_3: Floats
    stop: str = ""
    sentence: str = ""
    fault: bool = False


@dataclass(kw_only=True)
class RunRecord:
    """The whole run.

    schedule: how the planner's time was counted ("measured", or latent frames per second). peak_memory_mib: of
    the process. counts, refused, received: by name, from the buffer and from sensing.
    """

    period_s: float
    schedule: str
    from_s: float = float("nan")
    to_s: float = float("nan")
    wall_s: float = float("nan")
    cycles: list[CycleRecord] = field(default_factory=list)
    commands: list[CommandRecord] = field(default_factory=list)
    goals: list[tuple[float, float, float]] = field(default_factory=list)
    late: int = 0
    skipped: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    max_range_m: float = 8.0
    peak_memory_mib: float = float("nan")

    @property
    def stops(self) -> list[tuple[float, float, str, str]]:
        """Stretches without motion: from, to (s), kind and the first sentence."""
        found: list[tuple[float, float, str, str]] = []
        for before, one in zip([None, *self.commands[:-1]], self.commands, strict=True):
            if one.stop and before is not None and before.stop == one.stop:
                found[-1] = (found[-1][0], one.time_s, *found[-1][2:])
            elif one.stop:
                found.append((one.time_s, one.time_s, one.stop, one.sentence))
        return found


def considered(result: PlanResult) -> CandidateSet | None:
    """The part of a cycle's outcome that is kept: no latents, which are most of it."""
    if result.futures is None or result.costs_N is None:
        return None
    proposed = result.futures.proposed or result.futures.candidates
    contact: dict[int, Floats] = {}
    uncertainty: dict[int, Floats] = {}
    parts = [(result.futures, np.arange(len(proposed)))]
    if result.finalists is not None and result.finalist_index is not None:
        parts.append((result.finalists, result.finalist_index))
    for futures, rows in parts:
        hit_NF = futures.rollout.collision_NF.double().cpu().numpy()
        doubt_NF = futures.rollout.uncertainty_NF.double().cpu().numpy()
        for place, row in enumerate(rows):
            contact[int(row)], uncertainty[int(row)] = hit_NF[place], doubt_NF[place]
    order = np.argsort(result.costs_N, kind="stable")
    shown = int(order[0]) if result.best is None else result.best
    return CandidateSet(
        times_F=proposed.times_F,
        poses_NF3=proposed.poses_NF3,
        origins=proposed.origins,
        costs_N=result.costs_N,
        horizons_N=np.zeros(len(proposed)) if result.horizons_N is None else result.horizons_N,
        contact=tuple(contact[row] for row in range(len(proposed))),
        uncertainty=tuple(uncertainty[row] for row in range(len(proposed))),
        clearance_K=result.futures.rollout.clearance_NFK[shown, 0].double().cpu().numpy(),
        best=result.best,
        shares=result.shares,
    )
