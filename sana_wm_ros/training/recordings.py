"""A user's own recording as episodes to train on: what is not known of it is marked, what is no use is refused.

Dimension letters: T raw frames, K bearing sectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry import se2, se3
from sana_wm_ros.training.episodes import FRAME_RATE_HZ, Episode
from sana_wm_ros.world_model.protocol import Intrinsics

LEAST_S = 20.0
LEAST_WAY_M, LEAST_TURN_RAD = 1.0, 0.8
LEAST_CHANGE = 1.5
"""Grey levels by which a picture differs from the one half a second before, over all of a drive."""
HELD_OUT_SHARE, HELD_OUT_LEAST_S = 0.25, 8.0


class UnusableRecording(ValueError):
    """A recording that nothing can be learnt from; the message says why and what would do."""


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A recording on the model's frame grid, as ``evaluation.drive`` reads it through the node's buffer.

    poses_T44: measured camera poses. clearance_TK: metres, NaN where no range was measured (None: nowhere).
    """

    name: str
    frames_THWC: NDArray[np.uint8]
    poses_T44: NDArray[np.float64]
    intrinsics: Intrinsics
    T_base_camera_44: NDArray[np.float64]
    sectors: int
    clearance_TK: NDArray[np.float64] | None = None

    @property
    def seconds(self) -> float:
        return (len(self.frames_THWC) - 1) / FRAME_RATE_HZ


def to_episode(recording: Recording) -> Episode:
    """A recording as an episode; raises ``UnusableRecording`` where there is nothing to learn.

    What the robot did counts as what it was told: the commands are the twists between measured poses. Contact
    is not taught (who drives by hand reacts to it), ranges only where they were measured.
    """
    if recording.seconds < LEAST_S:
        raise UnusableRecording(
            f"{recording.name}: the longest stretch without a gap is {recording.seconds:.1f} s, at least "
            f"{LEAST_S:g} s are needed (a quarter is held out to tell whether training helped)"
        )
    poses_T3 = se3.to_planar(recording.poses_T44 @ se3.inverse(recording.T_base_camera_44))
    steps_T3 = se2.log(se2.between(poses_T3[:-1], poses_T3[1:]))
    way_m, turn_rad = float(np.abs(steps_T3[:, 0]).sum()), float(np.abs(steps_T3[:, 2]).sum())
    if way_m < LEAST_WAY_M and turn_rad < LEAST_TURN_RAD:
        raise UnusableRecording(
            f"{recording.name}: the robot drove {way_m:.2f} m and turned {np.degrees(turn_rad):.0f} degrees "
            f"altogether; a drive of {LEAST_WAY_M:g} m or {np.degrees(LEAST_TURN_RAD):.0f} degrees is the least"
        )
    later, earlier = recording.frames_THWC[4:].astype(np.int16), recording.frames_THWC[:-4]
    change = float(np.abs(later - earlier).mean())
    if change < LEAST_CHANGE:
        raise UnusableRecording(
            f"{recording.name}: the pictures hardly change ({change:.2f} grey levels in half a second) while "
            "the robot moves; is the camera covered, or its driver stuck?"
        )
    k, count = recording.intrinsics, len(poses_T3)
    clearance_TK = recording.clearance_TK
    if clearance_TK is None:
        clearance_TK = np.full((count, recording.sectors), np.nan)
    return Episode(
        frames_THWC=recording.frames_THWC,
        poses_T3=poses_T3.astype(np.float32),
        odom_T3=poses_T3.astype(np.float32),
        commands_T3=(np.concatenate([steps_T3, steps_T3[-1:]]) * FRAME_RATE_HZ).astype(np.float32),
        contact_T=np.zeros(count, np.bool_),
        clearance_TK=clearance_TK.astype(np.float32),
        intrinsics_4=np.array([k.fx, k.fy, k.cx, k.cy], np.float32),
        T_base_camera_44=recording.T_base_camera_44.astype(np.float32),
        seed=0,
        family="recording",
        driver=recording.name,
        open_loop=False,
    )


def mirrored(episode: Episode) -> Episode:
    """The same drive in a mirror: left is right, in pictures, poses, ranges and the camera's place."""
    flip_3 = np.array([1.0, -1.0, -1.0], np.float32)
    across = np.diag([-1.0, 1.0, 1.0, 1.0]).astype(np.float32)  # the optical frame's x
    sideways = np.diag([1.0, -1.0, 1.0, 1.0]).astype(np.float32)  # the base's y
    fx, fy, cx, cy = episode.intrinsics_4
    width, sectors = episode.frames_THWC.shape[2], episode.clearance_TK.shape[1]
    return replace(
        episode,
        frames_THWC=np.ascontiguousarray(episode.frames_THWC[:, :, ::-1]),
        poses_T3=episode.poses_T3 * flip_3,
        odom_T3=episode.odom_T3 * flip_3,
        commands_T3=episode.commands_T3 * flip_3,
        clearance_TK=episode.clearance_TK[:, -np.arange(sectors) % sectors],
        intrinsics_4=np.array([fx, fy, width - 1 - cx, cy], np.float32),
        T_base_camera_44=sideways @ episode.T_base_camera_44 @ across,
        driver=f"{episode.driver} mirrored",
    )


def training_frames(episode: Episode, per_latent: int) -> int:
    """How many raw frames of a recording are trained on; the rest is held out."""
    held = max(HELD_OUT_SHARE * len(episode), HELD_OUT_LEAST_S * FRAME_RATE_HZ)
    return 1 + per_latent * int((len(episode) - held - 1) // per_latent)


def beginning(episode: Episode, frames: int) -> Episode:
    """The first so many raw frames of a drive."""
    names = ("frames_THWC", "poses_T3", "odom_T3", "commands_T3", "contact_T", "clearance_TK")
    return replace(episode, **{name: getattr(episode, name)[:frames] for name in names})
