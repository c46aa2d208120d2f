"""Keeps the model's context up to date with the observation buffer; anew after a gap or a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from sana_wm_ros.world_model.observation_buffer import NewFrames, ObservationBuffer
from sana_wm_ros.world_model.protocol import Context, WorldModel


@dataclass(frozen=True, kw_only=True)
class ContextLimits:
    """rebuild_s: how much of the past a context that is rebuilt after a failure takes in."""

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
        if self.context is None:
            again = self._buffer.rebuild(self._limits.rebuild_s, "after a failure")
            if again is not None:
                self._begin(again)

    def _begin(self, frames: NewFrames) -> None:
        self.context = None
        intrinsics = self._buffer.intrinsics
        if intrinsics is None:
            return
        self._extend(self._model.start(intrinsics), frames)

    def _extend(self, context: Context, frames: NewFrames) -> None:
        poses = torch.from_numpy(frames.poses_T44).to(torch.float32)
        self.context = context.extend(torch.from_numpy(frames.frames_THWC), poses)
        self._taken(frames, self.context)
