"""The last look before the robot moves: is this a way that it can drive, from here, and is it free.

Dimension letters: F latent frames, K bearing sectors, P poses along the way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning import motion_models
from sana_wm_ros.planning.scan import Scan, first_contact
from sana_wm_ros.planning.types import FloatArray, Robot, RobotState


@dataclass(frozen=True, kw_only=True)
class ValidatorSettings:
    """check_s: the first seconds must be free; margin_m: room kept beyond the robot's radius;
    start_m, start_rad: how far a plan may begin from where the robot is; trust_imagination: refuse what
    was imagined to touch something, besides what the scan sees.
    """

    check_s: float = 2.0
    margin_m: float = 0.02
    start_m: float = 0.1
    start_rad: float = 0.2
    trust_imagination: bool = True


def invalid(
    robot: Robot,
    start: RobotState,
    poses_F3: FloatArray,
    twists_F3: FloatArray,
    period_s: float,
    settings: ValidatorSettings,
    *,
    clearance_FK: FloatArray | None = None,
    scan: Scan | None = None,
) -> str | None:
    """The first thing that is wrong with a way, in words, or None when it may be driven.

    poses_F3 and twists_F3 are on the latent clock, one period after ``start`` first; clearance_FK is what
    was imagined for (some of) them.
    """
    if not (np.isfinite(poses_F3).all() and np.isfinite(twists_F3).all()):
        return "its poses or commands are not finite"
    return (
        motion_models.violation(robot, twists_F3, start.twist_3, period_s)
        or _starts_elsewhere(start, poses_F3, twists_F3, period_s, settings)
        or _hits_scan(robot, start, twists_F3, period_s, settings, scan)
        or _imagined_contact(robot, twists_F3, period_s, settings, clearance_FK)
    )


def _starts_elsewhere(
    start: RobotState,
    poses_F3: FloatArray,
    twists_F3: FloatArray,
    period_s: float,
    settings: ValidatorSettings,
) -> str | None:
    # Going back along the first command must lead to where the robot is.
    begin = se2.compose(poses_F3[0], se2.inverse(se2.exp(twists_F3[0], period_s)))
    x, y, yaw = se2.between(start.pose_3, begin)
    if np.hypot(x, y) > settings.start_m:
        return f"it starts {np.hypot(x, y):.2f} m from the robot (at most {settings.start_m} m)"
    if abs(yaw) > settings.start_rad:
        return f"it starts turned {yaw:.2f} rad from the robot (at most {settings.start_rad} rad)"
    expected = se2.integrate(begin, twists_F3, period_s)
    offset = se2.between(expected, poses_F3)
    if np.abs(offset).max() > 1e-3:
        frame = int(np.abs(offset).max(axis=1).argmax())
        return f"its poses do not follow from its commands at {(frame + 1) * period_s:.1f} s"
    return None


def _hits_scan(
    robot: Robot,
    start: RobotState,
    twists_F3: FloatArray,
    period_s: float,
    settings: ValidatorSettings,
    scan: Scan | None,
) -> str | None:
    if scan is None:
        return None
    frames = max(1, int(np.ceil(settings.check_s / period_s - 1e-9)))
    radius = robot.radius_m + settings.margin_m
    fine = max(1, int(np.ceil(period_s * robot.max_speed_mps / 0.05)))
    twists_P3 = np.repeat(twists_F3[:frames], fine, axis=0)
    distances = scan.distances(se2.integrate(start.pose_3, twists_P3, period_s / fine))
    contact = first_contact(distances, float(scan.distances(start.pose_3[None])[0]), radius)
    if contact is None:
        return None
    seconds = (contact + 1) * period_s / fine
    return f"the scan sees something {distances[contact]:.2f} m from its centre at {seconds:.1f} s"


def _imagined_contact(
    robot: Robot,
    twists_F3: FloatArray,
    period_s: float,
    settings: ValidatorSettings,
    clearance_FK: FloatArray | None,
) -> str | None:
    if clearance_FK is None or not settings.trust_imagination:
        return None
    frames = min(len(clearance_FK), max(1, int(np.ceil(settings.check_s / period_s - 1e-9))))
    sectors = clearance_FK.shape[1]
    for frame in range(frames):
        vx, vy, _ = twists_F3[min(frame + 1, len(twists_F3) - 1)]
        if np.hypot(vx, vy) < 0.02:
            continue
        ahead = round(np.arctan2(vy, vx) / (2 * np.pi) * sectors)
        # The neighbours too: a heading between two sectors belongs to both.
        free = min(clearance_FK[frame, (ahead + side) % sectors] for side in (-1, 0, 1))
        if free < robot.radius_m + settings.margin_m:
            seconds = (frame + 1) * period_s
            return f"it imagines only {free:.2f} m free ahead at {seconds:.1f} s (radius {robot.radius_m} m)"
    return None
