"""Keeps the model's context up to date with the observation buffer; anew when it grew old, far or broke."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from sana_wm_ros.planning.types import FloatArray
from sana_wm_ros.world_model.observation_buffer import NewFrames, ObservationBuffer
from sana_wm_ros.world_model.protocol import Context, WorldModel


@dataclass(frozen=True, kw_only=True)
class ContextLimits:
    """max_age_s, max_distance_m: a context that began longer ago or further away is rebuilt; rebuild_s: how much
    of the past a rebuilt one takes in.
    """

    max_age_s: float = 60.0
    max_distance_m: float = 20.0
    rebuild_s: float = 20.0


class ContextKeeper:
    """``context`` after ``update`` is what the model knows; ``drop`` it when the model failed.

    taken: told of the frames that were taken in (camera poses, latents of what was observed come with the
    context). say: takes a sentence for the log.
    """

    def __init__(
        self,
        model: WorldModel,
        buffer: ObservationBuffer,
        limits: ContextLimits | None = None,
        *,
        taken: Callable[[NewFrames, Context], object] = lambda frames, context: None,
        say: Callable[[str], object] = lambda sentence: None,
    ) -> None:
        self._model, self._buffer, self._limits = model, buffer, limits or ContextLimits()
        self._taken, self._say = taken, say
        self.context: Context | None = None
        self._start_s = 0.0
        self._start_xy: FloatArray = np.zeros(2)

    def drop(self) -> None:
        """Forget the context; the next update rebuilds it from the buffer."""
        self.context = None

    @torch.inference_mode()
    def update(self) -> None:
        """Bring the context up to date with the buffer."""
        frames = self._buffer.take()
        if frames is not None:
            if frames.restart:
                self._begin(frames)
                self._say(f"context starts anew: {frames.reason}")
            elif self.context is not None:
                self._extend(self.context, frames)
        again = self._renewal() if self.context is not None else self._rebuilt("after a failure")
        if again is not None:
            self._begin(again)

    def _rebuilt(self, reason: str, seconds: float | None = None) -> NewFrames | None:
        return self._buffer.rebuild(self._limits.rebuild_s if seconds is None else seconds, reason)

    def _renewal(self) -> NewFrames | None:
        """Frames to rebuild an old or far context from; moving its anchor instead is left to a later version."""
        motion, limits = self._buffer.latest_motion, self._limits
        if motion is None:
            return None
        age_s = motion.stamp_s - self._start_s
        away_m = float(np.hypot(*(motion.pose_3[:2] - self._start_xy)))
        if age_s > limits.max_age_s:
            return self._rebuilt(f"it began {age_s:.0f} s ago")
        if away_m > limits.max_distance_m:
            # Less of the past while driving fast, or the rebuilt context would be too far again at once.
            share = 0.5 * limits.max_distance_m / max(away_m / max(age_s, 1.0), 1e-6)
            return self._rebuilt(f"it began {away_m:.0f} m away", min(limits.rebuild_s, share))
        return None

    def _begin(self, frames: NewFrames) -> None:
        self.context = None
        intrinsics = self._buffer.intrinsics
        if intrinsics is None:
            return
        self._extend(self._model.start(intrinsics), frames)
        self._start_s = float(frames.stamps_T[0])
        self._start_xy = frames.poses_T44[0, :2, 3]

    def _extend(self, context: Context, frames: NewFrames) -> None:
        poses = torch.from_numpy(frames.poses_T44).to(torch.float32)
        self.context = context.extend(torch.from_numpy(frames.frames_THWC), poses)
        self._taken(frames, self.context)
