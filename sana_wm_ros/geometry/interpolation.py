"""Planar poses at times between their stamps, and a refusal where that would be a guess."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sana_wm_ros.geometry.se2 import FloatArray, wrap_angle


class NoPose(ValueError):
    """A pose was asked for at a time that the stamped poses do not cover."""


def interpolate_poses(
    stamps_T: ArrayLike,
    poses_T3: ArrayLike,
    at_Q: ArrayLike,
    *,
    max_gap_s: float = 0.5,
    max_extrapolation_s: float = 0.0,
) -> FloatArray:
    """Poses (Q, 3) at times ``at_Q``, linear in position and along the shorter turn in yaw.

    Raises NoPose where the two neighbours of a time are further apart than ``max_gap_s``, or where it lies
    more than ``max_extrapolation_s`` before the first or after the last stamp (within it, the motion
    between the two outermost poses is carried on). Raises ValueError for stamps that do not increase.
    """
    stamps = np.asarray(stamps_T, dtype=np.float64)
    poses = np.asarray(poses_T3, dtype=np.float64)
    at = np.atleast_1d(np.asarray(at_Q, dtype=np.float64))
    if stamps.ndim != 1 or poses.shape != (len(stamps), 3):
        raise ValueError(f"expected stamps (T,) and poses (T, 3), got {stamps.shape} and {poses.shape}")
    if not (np.isfinite(stamps).all() and np.isfinite(poses).all() and np.isfinite(at).all()):
        raise ValueError("stamps, poses and times must be finite")
    if len(stamps) == 0:
        raise NoPose("no pose was received yet")
    if (np.diff(stamps) <= 0).any():
        raise ValueError("stamps must increase; sort the poses and drop duplicates first")
    if len(at) == 0:
        return np.zeros((0, 3))
    beyond = np.maximum(stamps[0] - at, at - stamps[-1])
    if beyond.max() > max_extrapolation_s + 1e-9:
        worst = int(beyond.argmax())
        raise NoPose(
            f"time {at[worst]:.3f} s lies {beyond[worst]:.3f} s outside the poses from {stamps[0]:.3f} s to "
            f"{stamps[-1]:.3f} s; at most {max_extrapolation_s:.3f} s is allowed"
        )
    if len(stamps) == 1:
        return np.repeat(poses, len(at), axis=0)
    right = np.clip(np.searchsorted(stamps, at, side="left"), 1, len(stamps) - 1)
    left = right - 1
    gap = stamps[right] - stamps[left]
    # A time that falls on a stamp needs no neighbour, however far that is.
    needs_both = (at != stamps[left]) & (at != stamps[right])
    if (needs_both & (gap > max_gap_s)).any():
        worst = int(np.where(needs_both, gap, 0).argmax())
        raise NoPose(
            f"poses are missing around {at[worst]:.3f} s: neighbours are {gap[worst]:.3f} s apart, "
            f"at most {max_gap_s:.3f} s is allowed"
        )
    share = ((at - stamps[left]) / gap)[:, None]
    delta = poses[right] - poses[left]
    delta[:, 2] = wrap_angle(delta[:, 2])
    result = poses[left] + share * delta
    result[:, 2] = wrap_angle(result[:, 2])
    return result
