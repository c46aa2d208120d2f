"""Where a plan wants the robot to be at a time, and the feedback law that brings it there.

The law is the nonlinear tracking controller for unicycles of Samson (1993), in the form of De Luca, Oriolo
and Vendittelli ("Control of wheeled mobile robots: an experimental overview", 2001, section 4.3):

    v = v_r cos(e_yaw) + k_x e_x        w = w_r + k_y v_r sin(e_yaw)/e_yaw e_y + k_yaw e_yaw

with the error of the reference pose in the robot's frame. It is globally stable while the reference moves,
and, unlike Kanayama's, still corrects the heading of a robot that turns in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.types import FloatArray, Plan, Robot


@dataclass(frozen=True, kw_only=True)
class Gains:
    """Feedback gains: ``along`` and ``heading`` in 1/s, ``across`` in rad/m^2."""

    along: float = 1.5
    across: float = 8.0
    heading: float = 2.5


def plan_period_s(plan: Plan) -> float:
    """Seconds per frame of a plan."""
    return float(plan.times_F[0])


def reference(plan: Plan, elapsed_s: float) -> FloatArray:
    """The pose (3,) that a plan asks for ``elapsed_s`` after its start; it stands before and after itself."""
    return references(plan, np.array([elapsed_s]))[0]


def references(plan: Plan, elapsed_T: FloatArray) -> FloatArray:
    """The poses (T, 3) that a plan asks for at some times after its start."""
    period, frames = plan_period_s(plan), len(plan.times_F)
    elapsed = np.clip(elapsed_T, 0.0, frames * period)
    frame = np.minimum((elapsed / period).astype(np.int64), frames - 1)
    starts = np.concatenate([plan.start.pose_3[None], plan.poses_F3])
    return se2.compose(starts[frame], se2.exp(plan.twists_F3[frame], elapsed - frame * period))


def smooth_twist(plan: Plan, elapsed_s: float) -> FloatArray:
    """The mean twist (3,) of a plan over one period around ``elapsed_s``.

    Commands that step once per period ask for endless acceleration at each step; their running mean asks
    for what the plan was checked for, and is never late on the whole.
    """
    half = 0.5 * plan_period_s(plan)
    begin, end = max(0.0, elapsed_s - half), max(0.0, elapsed_s) + half
    return se2.log(se2.between(reference(plan, begin), reference(plan, end))) / (end - begin)


def track(
    robot: Robot, pose_3: FloatArray, wanted_pose_3: FloatArray, wanted_twist_3: FloatArray, gains: Gains
) -> FloatArray:
    """The twist (..., 3) that brings a robot to its moving reference; not yet limited to what it can do."""
    # se2.between(pose_3, wanted_pose_3), entry by entry: for some few robots the calls are what takes time.
    x, y, yaw = pose_3[..., 0], pose_3[..., 1], pose_3[..., 2]
    dx, dy = wanted_pose_3[..., 0] - x, wanted_pose_3[..., 1] - y
    cos, sin = np.cos(yaw), np.sin(yaw)
    ex, ey = cos * dx + sin * dy, cos * dy - sin * dx
    eyaw = se2.wrap_angle(wanted_pose_3[..., 2] - yaw)
    vx, vy, yaw_rate = wanted_twist_3[..., 0], wanted_twist_3[..., 1], wanted_twist_3[..., 2]
    if robot.drive == "omnidirectional":
        forward = np.cos(eyaw) * vx - np.sin(eyaw) * vy + gains.along * ex
        sideways = np.sin(eyaw) * vx + np.cos(eyaw) * vy + gains.along * ey
        return np.stack([forward, sideways, yaw_rate + gains.heading * eyaw], axis=-1)
    forward = vx * np.cos(eyaw) + gains.along * ex
    turn = yaw_rate + gains.across * vx * np.sinc(eyaw / np.pi) * ey + gains.heading * eyaw
    return np.stack([forward, np.zeros_like(forward), turn], axis=-1)
