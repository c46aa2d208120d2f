"""What a robot can do: the nearest twist its drive and limits allow, and where a sequence of them leads.

Dimension letters: N candidates, F latent frames; a trailing 3 is (vx, vy, yaw rate) or (x, y, yaw).
A differential drive has no vy; a car (Ackermann) turns only as tightly as its steering allows, so never in
place; an omnidirectional base has its speed limit on the length of (vx, vy).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.types import FloatArray, Robot

# Rounding of poses and messages, not a licence: a thousandth of a limit.
_SLACK = 1e-3

Command = Callable[[int, FloatArray, FloatArray], FloatArray]
"""Frame, poses (3, N), twists (3, N) -> wanted twists (3, N)."""

Limit = Callable[[FloatArray, FloatArray, FloatArray], None]
"""Wanted and previous twists (3, N), the latter within all limits; writes into the last what can be done."""


def max_curvature(robot: Robot) -> float:
    """The tightest curve of a car in 1/m: tan(steering) / wheelbase (kinematic bicycle model)."""
    return float(np.tan(robot.max_steering_rad) / robot.wheelbase_m)


def feasible(robot: Robot, twists_3: FloatArray) -> FloatArray:
    """Twists (..., 3) brought within the velocity limits of the drive, accelerations aside."""
    vx, vy, yaw_rate = np.moveaxis(np.asarray(twists_3, dtype=np.float64), -1, 0)
    vx = np.clip(vx, -robot.max_reverse_mps, robot.max_speed_mps)
    yaw_limit = np.full_like(vx, robot.max_yaw_rate_radps)
    if robot.drive == "omnidirectional":
        speed = np.hypot(vx, vy)
        shrink = np.where(speed > robot.max_speed_mps, robot.max_speed_mps / np.maximum(speed, 1e-12), 1.0)
        vx, vy = vx * shrink, vy * shrink
    else:
        vy = np.zeros_like(vx)
    if robot.drive == "ackermann":
        yaw_limit = np.minimum(yaw_limit, max_curvature(robot) * np.abs(vx))
    return np.stack([vx, vy, np.clip(yaw_rate, -yaw_limit, yaw_limit)], axis=-1)


def step_towards(robot: Robot, wanted_3: FloatArray, previous_3: FloatArray, period_s: float) -> FloatArray:
    """The twist nearest to ``wanted`` that can follow ``previous`` after ``period_s``.

    Both have shape (..., 3). A previous twist beyond the limits (a measured one may be) counts as the
    nearest one within.
    """
    wanted, previous = feasible(robot, wanted_3), feasible(robot, previous_3)
    dv = robot.max_acceleration_mps2 * period_s
    dw = robot.max_yaw_acceleration_radps2 * period_s
    change = wanted[..., :2] - previous[..., :2]
    length = np.linalg.norm(change, axis=-1, keepdims=True)
    velocity = previous[..., :2] + change * np.minimum(1.0, dv / np.maximum(length, 1e-12))
    yaw_rate = np.clip(wanted[..., 2], previous[..., 2] - dw, previous[..., 2] + dw)
    if robot.drive == "ackermann":
        velocity, yaw_rate = _steerable(robot, velocity, yaw_rate, previous, dw)
    return np.concatenate([velocity, yaw_rate[..., None]], axis=-1)


def _steerable(
    robot: Robot, velocity: FloatArray, yaw_rate: FloatArray, previous: FloatArray, dw: float
) -> tuple[FloatArray, FloatArray]:
    # A car that brakes harder than its yaw rate may fall would need more steering than it has; so its speed
    # keeps the floor at which the slowest allowed change of yaw rate is still steerable.
    curvature = max_curvature(robot)
    floor = np.maximum(0.0, np.abs(previous[..., 2]) - dw) / curvature
    vx = velocity[..., 0]
    vx = np.where(np.abs(vx) < floor, np.copysign(floor, previous[..., 0]), vx)
    limit = curvature * np.abs(vx)
    return np.stack([vx, np.zeros_like(vx)], axis=-1), np.clip(yaw_rate, -limit, limit)


def roll_out(
    robot: Robot,
    pose_3: FloatArray,
    twist_3: FloatArray,
    command: Command,
    *,
    size: int,
    frames: int,
    period_s: float,
) -> tuple[FloatArray, FloatArray]:
    """Twists and poses (N, F, 3) of N robots that start alike and are each told what to do, frame by frame.

    ``command(k, poses_3N, twists_3N)`` gives the wanted twists (3, N) of frame k from where the robots are at
    its beginning (yaw is not wrapped). The answer keeps all limits, and its poses are the exact integral of
    its twists. Components come first in here: with a hundred short steps the calls are what takes time.
    """
    limit = (
        _differential(robot, size, period_s) if robot.drive == "differential" else _any_drive(robot, period_s)
    )
    aside = robot.drive == "omnidirectional"
    twists_F3N, poses_F3N = np.empty((frames, 3, size)), np.empty((frames, 3, size))
    twists = np.repeat(feasible(robot, twist_3)[:, None], size, axis=1)
    poses = np.repeat(np.asarray(pose_3, dtype=np.float64)[:, None], size, axis=1)
    for k in range(frames):
        limit(command(k, poses, twists), twists, twists_F3N[k])
        twists, before, poses = twists_F3N[k], poses, poses_F3N[k]
        # A constant twist leads along a chord that is turned by half the angle, sin(half) / half as long as the arc.
        half = (0.5 * period_s) * twists[2]
        middle = before[2] + half
        np.add(middle, half, out=poses[2])
        half += 1e-300
        chord = np.sin(half)
        chord /= half
        chord *= period_s
        cos, sin = np.cos(middle), np.sin(middle)
        cos *= chord
        sin *= chord
        np.multiply(cos, twists[0], out=poses[0])
        np.multiply(sin, twists[0], out=poses[1])
        poses[:2] += before[:2]
        if aside:
            poses[0] -= sin * twists[1]
            poses[1] += cos * twists[1]
    poses_F3N[:, 2] = se2.wrap_angle(poses_F3N[:, 2])
    return (
        np.ascontiguousarray(twists_F3N.transpose(2, 0, 1)),
        np.ascontiguousarray(poses_F3N.transpose(2, 0, 1)),
    )


def _differential(robot: Robot, size: int, period_s: float) -> Limit:
    """``step_towards`` for two wheels, where each axis has limits of its own.

    In whole arrays (3, N), as broadcasting one number to N takes longer than N of them.
    """
    of_all = partial(np.repeat, repeats=size, axis=1)
    change_3N = of_all(
        period_s * np.array([[robot.max_acceleration_mps2], [0.0], [robot.max_yaw_acceleration_radps2]])
    )
    most_3N = of_all(np.array([[robot.max_speed_mps], [0.0], [robot.max_yaw_rate_radps]]))
    least_3N = of_all(-np.array([[robot.max_reverse_mps], [0.0], [robot.max_yaw_rate_radps]]))

    def limit(wanted_3N: FloatArray, previous_3N: FloatArray, out_3N: FloatArray) -> None:
        np.minimum(wanted_3N, most_3N, out=out_3N)
        np.maximum(out_3N, least_3N, out=out_3N)
        np.maximum(out_3N, previous_3N - change_3N, out=out_3N)
        np.minimum(out_3N, previous_3N + change_3N, out=out_3N)

    return limit


def _any_drive(robot: Robot, period_s: float) -> Limit:
    def limit(wanted_3N: FloatArray, previous_3N: FloatArray, out_3N: FloatArray) -> None:
        out_3N[:] = step_towards(robot, wanted_3N.T, previous_3N.T, period_s).T

    return limit


def from_knots(knot_times_K: FloatArray, knots_K3: FloatArray, times_F: FloatArray) -> FloatArray:
    """Commands (F, 3) at ``times_F``, linear between knots (K, 3) and held outside of them."""
    return np.stack([np.interp(times_F, knot_times_K, knots_K3[:, i]) for i in range(3)], axis=-1)


def violation(robot: Robot, twists_F3: FloatArray, before_3: FloatArray, period_s: float) -> str | None:
    """The first limit that a sequence of twists breaks, in words, or None.

    before_3 is the twist that the robot has now (brought within the limits, as a robot cannot undo it).
    """
    allowed = feasible(robot, twists_F3)
    over = np.abs(twists_F3 - allowed) > _SLACK
    if over.any():
        frame, axis = np.argwhere(over)[0]
        name = ("forward velocity", "sideways velocity", "yaw rate")[axis]
        return (
            f"{name} {twists_F3[frame, axis]:.3f} at {frame * period_s:.1f} s is beyond the "
            f"{robot.drive} robot's limit {allowed[frame, axis]:.3f}"
        )
    change = np.diff(np.concatenate([feasible(robot, before_3)[None], twists_F3]), axis=0) / period_s
    for values, limit, name in (
        (np.linalg.norm(change[:, :2], axis=-1), robot.max_acceleration_mps2, "acceleration"),
        (np.abs(change[:, 2]), robot.max_yaw_acceleration_radps2, "yaw acceleration"),
    ):
        if (values > limit * (1 + _SLACK) + _SLACK).any():
            frame = int(np.argmax(values > limit * (1 + _SLACK) + _SLACK))
            return f"{name} {values[frame]:.3f} at {frame * period_s:.1f} s is beyond the limit {limit:.3f}"
    return None
