"""What a driver can do, piece by piece: follow a path, turn, wait, arc about, back off.

A behaviour is a generator: it yields the (speed, yaw rate) it wants and is sent what the robot senses.
The same behaviours drive the robot itself (closed loop) or, ahead of time, a robot that never meets
anything (open loop).
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Twist2 = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Sense:
    """What a driver knows: its pose, and whether the robot touched something since the last command."""

    time_s: float
    pose_3: FloatArray
    contact: bool


Behaviour = Generator[Twist2, Sense, Sense]
"""Returns what was sensed last."""

_LOOK_AHEAD_M = 0.45
_TURN_FIRST_RAD = 0.9


def wrap(angle: float) -> float:
    """The same angle in (-pi, pi]."""
    return math.remainder(angle, 2 * math.pi)


def follow(
    sense: Sense, path_P2: FloatArray, speed: float, *, wobble: float, rng: np.random.Generator
) -> Behaviour:
    """Pure pursuit of a path, with a hand that is not quite steady; gives up on contact."""
    nearest, sway = 0, 0.0
    while True:
        x, y, yaw = sense.pose_3
        away_P = np.hypot(path_P2[nearest : nearest + 12, 0] - x, path_P2[nearest : nearest + 12, 1] - y)
        nearest += int(np.argmin(away_P))
        ahead = nearest
        while ahead < len(path_P2) - 1 and math.dist(path_P2[ahead], (x, y)) < _LOOK_AHEAD_M:
            ahead += 1
        gap = math.dist(path_P2[ahead], (x, y))
        if (ahead == len(path_P2) - 1 and gap < 0.15) or sense.contact:
            return sense
        error = wrap(math.atan2(path_P2[ahead, 1] - y, path_P2[ahead, 0] - x) - yaw)
        if abs(error) > _TURN_FIRST_RAD:
            sense = yield 0.0, math.copysign(min(1.1, 2.0 * abs(error)), error)
            continue
        sway = 0.9 * sway + wobble * rng.normal()
        pace = min(speed, 1.2 * gap) * max(0.25, math.cos(error) ** 2)
        sense = yield pace, 2 * speed * math.sin(error) / max(gap, 0.3) + sway


def turn(sense: Sense, angle: float, rate: float) -> Behaviour:
    """Turn in place by an angle (signed; more than a full turn is fine)."""
    left, yaw = angle, sense.pose_3[2]
    while abs(left) > 0.04 and not sense.contact:
        sense = yield 0.0, math.copysign(min(rate, 2.5 * abs(left)), left)
        left -= wrap(sense.pose_3[2] - yaw)
        yaw = sense.pose_3[2]
    return sense


def wait(sense: Sense, duration_s: float) -> Behaviour:
    """Stand still."""
    end = sense.time_s + duration_s
    while sense.time_s < end - 1e-9:
        sense = yield 0.0, 0.0
    return sense


def arcs(sense: Sense, duration_s: float, rng: np.random.Generator) -> Behaviour:
    """Random arcs, one after the other, without looking."""
    end = sense.time_s + duration_s
    while sense.time_s < end - 1e-9:
        speed = rng.uniform(0.15, 0.6) if rng.random() < 0.85 else rng.uniform(-0.2, 0.0)
        rate = rng.normal() * 0.35 if rng.random() < 0.8 else rng.normal() * 0.9
        until = min(end, sense.time_s + rng.uniform(0.8, 4.0))
        while sense.time_s < until - 1e-9:
            sense = yield speed, rate
    return sense


def back_off(sense: Sense, rng: np.random.Generator) -> Behaviour:
    """After a bump: stay against it for a moment, reverse, turn away."""
    push, until = rng.uniform(0.0, 0.3), sense.time_s + rng.uniform(0.2, 1.2)
    while sense.time_s < until - 1e-9:
        sense = yield push, 0.0
    until = sense.time_s + rng.uniform(1.0, 2.5)
    while sense.time_s < until - 1e-9:
        sense = yield -0.2, 0.0
    left = rng.choice([-1.0, 1.0]) * rng.uniform(0.7, 2.6)
    until = sense.time_s + abs(left) / 0.8
    while sense.time_s < until - 1e-9:
        sense = yield 0.0, math.copysign(0.8, left)
    return sense
