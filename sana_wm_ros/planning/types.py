"""The nouns of planning: robot, state, goal, candidates, futures, plan.

Dimension letters: N candidates, F latent frames, K sectors; a trailing 3 is (x, y, yaw) for poses and
(vx, vy, yaw rate) for twists. Poses are of the robot's base in ``odom``; metres, seconds, radians.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sana_wm_ros.world_model.protocol import Rollout

FloatArray = NDArray[np.float64]
Drive = Literal["differential", "ackermann", "omnidirectional"]


@dataclass(frozen=True, kw_only=True)
class Robot:
    """What the robot can do and how much room it takes (a disc around the base)."""

    drive: Drive = "differential"
    radius_m: float = 0.2
    max_speed_mps: float = 0.6
    max_reverse_mps: float = 0.2
    max_yaw_rate_radps: float = 1.2
    max_acceleration_mps2: float = 1.0
    max_yaw_acceleration_radps2: float = 3.0
    wheelbase_m: float = 0.26
    max_steering_rad: float = 0.45

    def __post_init__(self) -> None:
        if self.drive not in get_args(Drive):
            raise ValueError(
                f"drive = '{self.drive}' is not known; choose one of {', '.join(get_args(Drive))}"
            )
        for name, value in vars(self).items():
            least = 0.0 if name == "max_reverse_mps" else 1e-3
            if name != "drive" and not least <= value < math.inf:
                raise ValueError(f"{name} = {value} must be finite and at least {least:g}")
        if self.max_steering_rad >= 0.5 * math.pi:
            raise ValueError(f"max_steering_rad = {self.max_steering_rad} must be below pi / 2")


@dataclass(frozen=True, kw_only=True)
class RobotState:
    """Where the robot is and how it moves, at a time of the node's clock."""

    time_s: float
    pose_3: FloatArray
    twist_3: FloatArray


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A pose to reach in ``odom``; a yaw of None takes any heading.

    path_M2: points in ``odom`` to pass on the way, in order (None: any way will do).
    """

    x_m: float
    y_m: float
    yaw_rad: float | None = None
    tolerance_m: float = 0.3
    path_M2: FloatArray | None = None


@dataclass(frozen=True, kw_only=True)
class PlaceGoal:
    """A view to reach: its picture (H, W, 3), RGB, and the place embedding (E,) of that, of unit length.

    place_E None: the picture is still to be embedded. tolerance: reached where 1 - cos of embeddings is at most this.
    """

    picture_HWC: NDArray[np.uint8] | None = None
    place_E: Tensor | None = None
    tolerance: float = 0.15


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """N action sequences on the latent clock.

    times_F: seconds after the start state, the first one latent period on.
    poses_NF3: the base pose the commands ask for at the end of each latent frame.
    twists_NF3: the command held during each latent frame.
    origins: where each came from ("arc", "goal curve", "last plan", ...), for people.
    """

    times_F: FloatArray
    poses_NF3: FloatArray
    twists_NF3: FloatArray
    origins: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.origins)

    @staticmethod
    def cat(parts: list[Candidates]) -> Candidates:
        """All candidates of several, which have the same times."""
        return Candidates(
            times_F=parts[0].times_F,
            poses_NF3=np.concatenate([part.poses_NF3 for part in parts]),
            twists_NF3=np.concatenate([part.twists_NF3 for part in parts]),
            origins=tuple(origin for part in parts for origin in part.origins),
        )

    def select(self, index_N: NDArray[np.int64]) -> Candidates:
        """Keep the candidates that ``index_N`` names, in its order."""
        return Candidates(
            times_F=self.times_F,
            poses_NF3=self.poses_NF3[index_N],
            twists_NF3=self.twists_NF3[index_N],
            origins=tuple(self.origins[i] for i in index_N),
        )

    def first(self, frames: int) -> Candidates:
        """The same candidates up to a frame."""
        return Candidates(
            times_F=self.times_F[:frames],
            poses_NF3=self.poses_NF3[:, :frames],
            twists_NF3=self.twists_NF3[:, :frames],
            origins=self.origins,
        )


@dataclass(frozen=True, kw_only=True)
class Futures:
    """All that a critic may look at: the first F frames of candidates, and what was imagined for them.

    proposed: the same candidates to the end of their commands, most of which lies beyond the F frames while
    time is short (None: they end with the F frames). goal: None while exploring. visited_ME: place embeddings
    of where the robot has been. free_NF: how surely (0 to 1) the floor is free at the
    poses, as the robot was there or the camera saw it; barred_NF: how surely the camera saw something stand at the
    poses of all commands (None for both: nobody knows). bumps_B2: where something stopped it lately. left_NF and
    left_m: metres to the goal from the poses of all commands, and from the start, around what is known to be in the
    way, so never less than the straight line (None: that). trust_s: the trust horizon, beyond which imagination counts
    less. shared: what one critic worked out and others ask for as well.
    """

    start: RobotState
    candidates: Candidates
    rollout: Rollout
    goal: Goal | PlaceGoal | None
    robot: Robot
    proposed: Candidates | None = None
    visited_ME: Tensor | None = None
    free_NF: FloatArray | None = None
    barred_NF: FloatArray | None = None
    bumps_B2: FloatArray | None = None
    left_NF: FloatArray | None = None
    left_m: float | None = None
    trust_s: float | None = None
    shared: dict[object, Tensor] = field(default_factory=dict, init=False, compare=False)


class Critic(Protocol):
    """One cost. ``weight`` may change while planning runs; the planner multiplies by it.

    A critic that reads what only some models foretell (``world_model.protocol.FORETOLD``) says so in an attribute
    ``needs``, a tuple of those names; without one it needs latents and poses only.
    """

    name: str
    weight: float

    def score(self, futures: Futures) -> Tensor:
        """Cost of each candidate, shape (N,), finite, lower is better, unit as documented."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A validated way: poses in ``odom`` on the latent clock, with the commands that lead there."""

    start: RobotState
    times_F: FloatArray
    poses_F3: FloatArray
    twists_F3: FloatArray
    cost: float
    valid_until_s: float
    origin: str


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """What one planning cycle came to: a plan or the reason why there is none, and all that was imagined.

    futures holds all N candidates as far as all were imagined (the first round), ``finalists``
    the survivors as far as they got; ``finalist_index`` are their rows among the N, ``best`` is the row of the plan.
    costs_N and shares (a critic's name to its weighted cost of every candidate, shape (N,)) are each
    candidate's latest, at the horizon in ``horizons_N`` (seconds); a cost is inf where what was imagined
    was not finite.
    timings_s maps a stage ("propose", "imagine", "score", "validate") to its duration. rounds: how many
    candidates were imagined to which horizon, in seconds; refinements and draws: generations of refined
    candidates, and draws of noise for each finalist. trust_s: the trust horizon. place_away: 1 - cos between the
    place where the robot stands and a goal image's. bumped: the robot stands though it was to move.
    imagine_whole imagines one candidate of the N to the end of the horizon, with the noise of all others;
    explained is one for which that was done: its row and what came of it.
    """

    plan: Plan | None
    reason: str
    futures: Futures | None = None
    costs_N: FloatArray | None = None
    horizons_N: FloatArray | None = None
    finalists: Futures | None = None
    finalist_index: NDArray[np.int64] | None = None
    best: int | None = None
    shares: dict[str, FloatArray] = field(default_factory=dict)
    timings_s: dict[str, float] = field(default_factory=dict)
    horizon_s: float = 0.0
    deadline_met: bool = True
    rounds: tuple[tuple[float, int], ...] = ()
    refinements: int = 0
    draws: int = 1
    trust_s: float | None = None
    place_away: float | None = None
    bumped: bool = False
    imagine_whole: Callable[[int], Futures] | None = field(default=None, repr=False)
    explained: tuple[int, Futures] | None = None

    @property
    def how_far(self) -> str:
        """How far it got, for people: "16 to 8 s, 8 to 16 s; 1 refinements"."""
        parts = ", ".join(f"{count} to {horizon_s:g} s" for horizon_s, count in self.rounds)
        refined = f"; {self.refinements} refinements" if self.refinements else ""
        return f"{parts}{refined}; {self.draws} draws" if self.draws > 1 else f"{parts}{refined}"
