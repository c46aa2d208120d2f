"""A clock that counts work instead of time, so that an offline run plans the same on any machine, however busy.

Every latent frame that the model takes in or imagines moves the clock by a fixed step. The planner's deadlines,
its anytime search and its lateness then follow from what it does, as they do on a robot of that speed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sana_wm_ros.world_model.protocol import Batch, Context, Intrinsics, ModelSpec, Rollout, WorldModel


class WorkClock:
    """Seconds of work at ``frames_per_s`` latent frames of one candidate per second."""

    def __init__(self, frames_per_s: float) -> None:
        if not frames_per_s > 0:
            raise ValueError(f"{frames_per_s} frames per second; expected more than 0")
        self.frames_per_s, self._now_s = frames_per_s, 0.0

    def __call__(self) -> float:
        """The time so far."""
        return self._now_s

    def spend(self, frames: int) -> None:
        """Count work."""
        self._now_s += frames / self.frames_per_s


@dataclass(frozen=True, kw_only=True)
class ScheduledModel:
    """A world model whose work moves a clock; all else is the model's own."""

    model: WorldModel
    clock: WorkClock

    @property
    def spec(self) -> ModelSpec:
        """The model's own."""
        return self.model.spec

    def start(self, intrinsics: Intrinsics) -> ScheduledContext:
        """An empty context."""
        return ScheduledContext(inner=self.model.start(intrinsics), clock=self.clock)

    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Pictures for people; costs no planning time."""
        return self.model.decode(latents_FCHW)


@dataclass(frozen=True, kw_only=True)
class ScheduledContext:
    """A context that counts what it takes in."""

    inner: Context
    clock: WorkClock

    @property
    def latent_frames(self) -> int:
        """Latent frames seen so far."""
        return self.inner.latent_frames

    @property
    def last_latent_CHW(self) -> Tensor | None:
        """The newest observed latent."""
        return self.inner.last_latent_CHW

    def extend(self, frames_THWC: Tensor, poses_T44: Tensor) -> ScheduledContext:
        """Take in frames."""
        inner = self.inner.extend(frames_THWC, poses_T44)
        self.clock.spend(inner.latent_frames - self.inner.latent_frames)
        return ScheduledContext(inner=inner, clock=self.clock)

    def fork(self, candidates: int) -> ScheduledBatch:
        """Start futures."""
        return ScheduledBatch(inner=self.inner.fork(candidates), clock=self.clock)


@dataclass(frozen=True, kw_only=True)
class ScheduledBatch:
    """Futures that count what they imagine."""

    inner: Batch
    clock: WorkClock

    @property
    def size(self) -> int:
        """Candidates."""
        return self.inner.size

    def imagine(
        self, poses_NF44: Tensor, *, steps: int | None = None, generator: torch.Generator | None = None
    ) -> tuple[ScheduledBatch, Rollout]:
        """Go on."""
        inner, rollout = self.inner.imagine(poses_NF44, steps=steps, generator=generator)
        self.clock.spend(poses_NF44.shape[0] * poses_NF44.shape[1])
        return ScheduledBatch(inner=inner, clock=self.clock), rollout

    def select(self, index_N: Tensor) -> ScheduledBatch:
        """Keep some."""
        return ScheduledBatch(inner=self.inner.select(index_N), clock=self.clock)
