"""Ways to say where the camera goes: keys held for some frames, as in the published demo, or twists of a base.

Both become camera-to-world poses at the raw frame rate, which ``conditions.camera_conditions`` takes.
Axes of the camera: x right, y down, z forward. Metres, radians, seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from sana_wm_ros.geometry import se2
from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.geometry.se2 import FloatArray

FRAME_RATE_HZ = 16.0
# What a key asks for: forward, right, yaw to the right, pitch up, in units of the style's speeds.
_MOVES: dict[str, tuple[float, float, float, float]] = {
    "forward": (1.0, 0.0, 0.0, 0.0), "back": (-1.0, 0.0, 0.0, 0.0),
    "right": (0.0, 1.0, 0.0, 0.0), "left": (0.0, -1.0, 0.0, 0.0),
    "turn right": (0.0, 0.0, 1.0, 0.0), "turn left": (0.0, 0.0, -1.0, 0.0),
    "look up": (0.0, 0.0, 0.0, 1.0), "look down": (0.0, 0.0, 0.0, -1.0),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ActionStyle:
    """What keys mean. Releases differ: a and d turned into turning, j and l into strafing, all slower and smooth.

    press_s, coast_s: time constants with which speed follows keys that are held and let go (0: at once). A fresh
    press takes effect at once either way. saturates: pitch stops at its limit; otherwise a step beyond it is dropped.
    """

    keys: Mapping[str, str]
    speed_m: float
    turn_rad: float
    pitch_limit_rad: float
    saturates: bool
    press_s: float
    coast_s: float


CURRENT = ActionStyle(
    keys={
        "w": "forward", "s": "back", "a": "turn left", "d": "turn right", "i": "look up", "k": "look down",
        "j": "left", "l": "right",
    },
    speed_m=0.025, turn_rad=math.radians(0.6), pitch_limit_rad=math.radians(60.0), saturates=True,
    press_s=0.45, coast_s=1.0,
)  # fmt: skip
FIRST_RELEASE = ActionStyle(
    keys={
        "w": "forward", "s": "back", "a": "left", "d": "right", "i": "look up", "k": "look down",
        "j": "turn left", "l": "turn right",
    },
    speed_m=0.05, turn_rad=math.radians(1.2), pitch_limit_rad=math.radians(85.0), saturates=False,
    press_s=0.0, coast_s=0.0,
)  # fmt: skip


def parse_actions(actions: str, keys: Mapping[str, str]) -> list[frozenset[str]]:
    """Keys held in each raw frame, from segments like ``w-16, wd-8, none-4``. Raises ``ValueError``."""
    frames: list[frozenset[str]] = []
    for segment in "".join(actions.split()).split(","):
        held, _, count = segment.rpartition("-")
        if not held or not count.isascii() or not count.isdigit() or not 1 <= int(count) <= 100_000:
            raise ValueError(f"action {segment!r}: expected KEYS-FRAMES, for example w-16 or none-8")
        pressed = frozenset() if held.lower() == "none" else frozenset(held.lower())
        if not pressed <= set(keys):
            raise ValueError(f"action {segment!r}: knows the keys {''.join(sorted(keys))} and none")
        frames += [pressed] * int(count)
    return frames


def poses_of_actions(actions: str, style: ActionStyle = CURRENT) -> Tensor:
    """Camera poses (N + 1, 4, 4) in float64 for N frames of actions, the first one the identity.

    R' = rot_y(yaw) R rot_x(pitch); the camera moves level, along R's z and x axes with y set to 0.
    """
    scale = np.array([style.speed_m, style.speed_m, style.turn_rad, style.turn_rad])
    velocity: FloatArray = np.zeros(4)
    pitch, before = 0.0, frozenset[str]()
    pose: FloatArray = np.eye(4)
    poses = [pose]
    for held in parse_actions(actions, style.keys):
        wanted = scale * sum((np.array(_MOVES[style.keys[key]]) for key in held), np.zeros(4))
        velocity = wanted if held - before else _eased(velocity, wanted, style)
        before = held
        step = _pitch_step(pitch, float(velocity[3]), style)
        pitch += step
        turn = _rot_y(float(velocity[2])) @ pose[:3, :3] @ _rot_x(step)
        moved = _level(turn[:, 2]) * velocity[0] + _level(turn[:, 0]) * velocity[1]
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn, poses[-1][:3, 3] + moved
        poses.append(pose)
    return torch.from_numpy(np.stack(poses))


def poses_of_twists(
    twists_F3: ArrayLike, T_base_camera_44: ArrayLike, frame_rate_hz: float = FRAME_RATE_HZ
) -> Tensor:
    """Camera poses (F + 1, 4, 4) in float64 of a base that drives F twists (vx, vy, yaw rate), a frame each.

    The base starts at the origin of a level world; T_base_camera: where the camera's optical frame is on it.
    """
    twists = np.asarray(twists_F3, dtype=np.float64)
    if twists.ndim != 2 or twists.shape[1:] != (3,) or not np.isfinite(twists).all():
        raise ValueError(f"twists have shape {twists.shape}; expected (frames, 3), all of it finite")
    start = np.zeros(3)
    base = np.concatenate([start[None], se2.integrate(start, twists, 1.0 / frame_rate_hz)])
    return torch.from_numpy(camera_poses(base, T_base_camera_44))


def _eased(velocity: FloatArray, wanted: FloatArray, style: ActionStyle) -> FloatArray:
    """One frame of the way from a velocity to the wanted one."""
    constant = np.where(np.abs(wanted) > 1e-12, style.press_s, style.coast_s)
    share: FloatArray = np.where(
        constant > 0.0, 1.0 - np.exp(-1.0 / FRAME_RATE_HZ / np.maximum(constant, 1e-9)), 1.0
    )
    return velocity + share * (wanted - velocity)


def _pitch_step(pitch: float, step: float, style: ActionStyle) -> float:
    limit = style.pitch_limit_rad
    if style.saturates:
        return min(max(pitch + step, -limit), limit) - pitch
    return step if -limit <= pitch + step <= limit else 0.0


def _level(axis_3: FloatArray) -> FloatArray:
    """An axis turned level, of unit length."""
    flat = axis_3 * np.array([1.0, 0.0, 1.0])
    return flat / max(float(np.linalg.norm(flat)), 1e-9)


def _rot_x(angle: float) -> FloatArray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def _rot_y(angle: float) -> FloatArray:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
