"""How likely the robot is stopped by something, and where: shared by the critics that ask.

Dimension letters: N candidates, F latent frames, K sectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sana_wm_ros.planning.types import FloatArray, Futures, Goal

_MOVING_MPS = 0.02
_ALWAYS_S = 3.0  # so far ahead costs count in full, trusted or not: doubt is no reason to look away
_BUMP_MARGIN_M, _BUMP_NEARER_M = 0.03, 0.02
_CONE_RAD = 0.5236  # a disc about to touch something does so within 30 degrees of its way


@dataclass(frozen=True, kw_only=True)
class ContactModel:
    """Turns what was imagined into the probability of contact in a frame.

    floor, certain: probabilities of the collision head up to ``floor`` are its noise, from ``certain`` on they
    count as contact. Heads are trained on drives in which contact is rare and say less than they know: of the
    futures in which nano's head said 0.3 or more within 4 s, 103 of 104 touched something, and a third of those
    with 0.1. margin_m: an imagined clearance of radius + margin begins to count as contact, the radius fully;
    trust_s: what is imagined for t seconds ahead counts exp(-t / trust_s), as imagination drifts.

    missed: what a head overlooks, per frame, where nobody knows: walls that are imagined half a metre off look
    like free floor. known_free: the share of what is imagined that does not count where the floor is surely free, as
    heads see contact in every doorway; what stands there now, the validator's look ahead is for. barred: the
    probability of contact, per frame, where the camera has surely seen something stand, whatever is imagined.
    """

    floor: float = 0.02
    certain: float = 0.4
    margin_m: float = 0.15
    missed: float = 0.012
    known_free: float = 0.95
    barred: float = 0.5
    trust_s: float = 20.0

    def hazard(self, futures: Futures) -> Tensor:
        """Probability of contact in each frame, shape (N, F): the highest of head, clearance and experience."""
        head = ((futures.rollout.collision_NF - self.floor) / (self.certain - self.floor)).clamp(0, 1)
        head = head * moves(futures)  # whoever stands beside a wall does not run into it
        gap = futures.robot.radius_m + self.margin_m - ahead_clearance(futures)
        blocked = (gap / self.margin_m).clamp(0, 1)
        imagined = torch.maximum(head, blocked) * self.weights(futures)
        if futures.free_NF is not None:
            free = like_rollout(futures, futures.free_NF)
            imagined = imagined * (1 - self.known_free * free)
            imagined = 1 - (1 - imagined) * (1 - self.missed * moves(futures) * (1 - free))
        imagined = 1 - (1 - imagined) * (1 - self.seen(futures)[:, : imagined.shape[1]])
        return torch.maximum(imagined, bumped(futures)) if len(known_bumps(futures)) else imagined

    def seen(self, futures: Futures) -> Tensor:
        """Probability of contact with what the camera saw, in each frame of all commands (N, all)."""
        return once(futures, ("seen", self), lambda: self._seen(futures))

    def _seen(self, futures: Futures) -> Tensor:
        proposed = futures.proposed or futures.candidates
        if futures.barred_NF is None:
            return like_rollout(futures, np.zeros(proposed.poses_NF3.shape[:2]))
        moving_NF = np.hypot(proposed.twists_NF3[..., 0], proposed.twists_NF3[..., 1]) > _MOVING_MPS
        return like_rollout(futures, self.barred * moving_NF * futures.barred_NF)

    def weights(self, futures: Futures) -> Tensor:
        """How much each frame counts, shape (F,)."""
        return discount(futures, self.trust_s)

    def survival(self, futures: Futures) -> Tensor:
        """Probability that nothing was touched up to the end of each frame, shape (N, F)."""
        return once(futures, ("survival", self), lambda: torch.cumprod(1 - self.hazard(futures), dim=1))

    def survival_to_the_end(self, futures: Futures) -> Tensor:
        """The same for all commands, shape (N, all).

        Beyond what was imagined the way is taken to be free, but for what the camera saw: not to know is no
        reason to stay, and the next plan will know more.
        """
        return once(futures, ("survival to the end", self), lambda: self._survival_to_the_end(futures))

    def _survival_to_the_end(self, futures: Futures) -> Tensor:
        survival = self.survival(futures)
        beyond = torch.cumprod(1 - self.seen(futures)[:, survival.shape[1] :], dim=1)
        return torch.cat([survival, survival[:, -1:] * beyond], dim=1)

    def stops(self, futures: Futures) -> Tensor:
        """Probability that the first contact comes in each frame of all commands, shape (N, all)."""
        survival = self.survival_to_the_end(futures)
        return once(futures, ("stops", self), lambda: drops(survival))

    def expected(self, futures: Futures, value_NF: Tensor) -> Tensor:
        """Expectation (N, all) of a value of the pose, for a robot that stays where it touches something."""
        stopped = torch.cumsum(self.stops(futures) * value_NF, dim=1)
        return stopped + self.survival_to_the_end(futures) * value_NF

    def goal_distance(self, futures: Futures) -> Tensor:
        """Expected metres (N, F) to the goal, to the end of the commands, for a robot that stays where it touches."""
        key = ("expected goal distance", self)
        return once(futures, key, lambda: self.expected(futures, goal_distance(futures)))


def drops(survival_NF: Tensor) -> Tensor:
    """By how much survival (N, F) falls in each frame; it begins at 1."""
    before_NF = torch.cat([torch.ones_like(survival_NF[:, :1]), survival_NF[:, :-1]], dim=1)
    return before_NF - survival_NF


def once(futures: Futures, key: object, work: Callable[[], Tensor]) -> Tensor:
    """What several critics ask for is worked out by the first of them; nobody may write into it."""
    found = futures.shared.get(key)
    if found is None:
        found = futures.shared[key] = work()
    return found


def like_rollout(futures: Futures, values: FloatArray) -> Tensor:
    """An array of the candidates as a tensor of the rollout's type, on its device."""
    collision = futures.rollout.collision_NF
    return torch.as_tensor(values, dtype=collision.dtype, device=collision.device)


def discount(futures: Futures, trust_s: float) -> Tensor:
    """How much the end of each frame counts, shape (F,): exp(-t / trust_s), as any imagination drifts.

    Beyond the trust horizon, where one is known and at least 3 s, exp(-(t - horizon) / (horizon / 2)) on top.
    """
    return once(futures, ("discount", trust_s), lambda: _discount(futures, trust_s))


def _discount(futures: Futures, trust_s: float) -> Tensor:
    times_F = like_rollout(futures, futures.candidates.times_F)
    weight_F = torch.exp(-times_F / trust_s)
    if futures.trust_s is not None:
        horizon_s = max(futures.trust_s, _ALWAYS_S)
        weight_F = weight_F * torch.exp(-(times_F - horizon_s).clamp(min=0.0) / (0.5 * horizon_s))
    return weight_F


def trusted_mean(futures: Futures, value_NF: Tensor) -> Tensor:
    """Mean over the frames, shape (N,); those beyond the trust horizon count less."""
    weight_F = discount(futures, float("inf"))
    return (value_NF * weight_F).sum(dim=1) / weight_F.sum()


def ahead_clearance(futures: Futures) -> Tensor:
    """Free metres (N, F) in the direction in which the robot goes on from each frame; inf while it stands.

    The least of the sectors that reach into a cone of 30 degrees to both sides of that direction.
    """
    twists, moving = twists_like_rollout(futures), moves(futures) > 0
    following = torch.cat([twists[:, 1:, :2], twists[:, -1:, :2]], dim=1)
    moving = torch.cat([moving[:, 1:], moving[:, -1:]], dim=1)
    bearing = torch.atan2(following[..., 1], following[..., 0])
    clearance_NFK = futures.rollout.clearance_NFK
    sectors = clearance_NFK.shape[-1]
    width = 2 * torch.pi / sectors
    # A sector counts when its centre lies in the cone, and the nearest one always does.
    half = max(_CONE_RAD, 0.5 * width) + 1e-6
    first = torch.ceil((bearing - half) / width)
    last = torch.floor((bearing + half) / width)
    most = min(sectors, int(2 * half / width) + 1)
    inside = torch.minimum(first[..., None] + torch.arange(most, device=first.device), last[..., None])
    free = clearance_NFK.gather(-1, torch.remainder(inside.to(torch.int64), sectors)).amin(dim=-1)
    return free.masked_fill(~moving, torch.inf)


def twists_like_rollout(futures: Futures) -> Tensor:
    """The candidates' twists (N, F, 3) as a tensor of the rollout's type, on its device."""
    return once(futures, "twists", lambda: like_rollout(futures, futures.candidates.twists_NF3))


def moves(futures: Futures) -> Tensor:
    """1 in frames (N, F) in which the robot drives, 0 where it stands or turns on the spot."""
    return once(futures, "moves", lambda: _moves(twists_like_rollout(futures)))


def _moves(twists_NF3: Tensor) -> Tensor:
    speed_NF = torch.hypot(twists_NF3[..., 0], twists_NF3[..., 1])
    return (speed_NF > _MOVING_MPS).to(twists_NF3.dtype)


def known_bumps(futures: Futures) -> FloatArray:
    """Points (B, 2) where something stopped the robot lately."""
    return np.zeros((0, 2)) if futures.bumps_B2 is None else futures.bumps_B2


def bumped(futures: Futures) -> Tensor:
    """1 in frames (N, F) in which the robot's disc is over a known bump, and nearer to it than it is now; else 0."""
    poses = futures.candidates.poses_NF3[..., None, :2]
    away_NFB = np.hypot(*np.moveaxis(poses - known_bumps(futures), -1, 0))
    now_B = np.hypot(*(futures.start.pose_3[:2] - known_bumps(futures)).T)
    near = np.minimum(futures.robot.radius_m + _BUMP_MARGIN_M, now_B - _BUMP_NEARER_M)
    return like_rollout(futures, (away_NFB < near).any(axis=-1).astype(np.float64))


def goal_distance(futures: Futures) -> Tensor:
    """Metres (N, F) to the goal from each pose that the commands ask for, to the end of the commands.

    Where it is known what lies between, the way around that.
    """
    return once(futures, "goal distance", lambda: like_rollout(futures, _goal_distance(futures)))


def _goal_distance(futures: Futures) -> FloatArray:
    if futures.left_NF is not None:
        return futures.left_NF
    return _straight(futures, (futures.proposed or futures.candidates).poses_NF3)


def start_distance(futures: Futures) -> float:
    """The same from where the robot is; the goal's tolerance, where that is more."""
    assert isinstance(futures.goal, Goal)
    left_m = futures.left_m
    away_m = float(_straight(futures, futures.start.pose_3)) if left_m is None else left_m
    return max(away_m, futures.goal.tolerance_m)


def _straight(futures: Futures, poses_3: FloatArray) -> FloatArray:
    assert isinstance(futures.goal, Goal)
    return np.hypot(poses_3[..., 0] - futures.goal.x_m, poses_3[..., 1] - futures.goal.y_m)


def zeros(futures: Futures) -> Tensor:
    """No cost for anyone."""
    return torch.zeros_like(futures.rollout.collision_NF[:, 0])
