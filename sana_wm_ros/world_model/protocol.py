"""What planning sees of a world model: a context that is extended, forked and imagined from.

Dimension letters: N candidates, F latent frames, T raw frames, K bearing sectors, C latent channels,
E embedding width, H and W rows and columns.

All poses are camera-to-world matrices (camera axes: x right, y down, z forward; world: the ``odom``
frame, metres). Models move them to an anchor of their own; callers never do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

# What heads may say about imagined frames, beside the latents that every model gives.
FORETOLD = ("collision", "clearance", "uncertainty", "place")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Facts about a model that its callers need.

    Times are seconds, lengths metres, sizes pixels. ``frames_per_latent`` raw frames at
    ``frame_rate_hz`` make one latent frame; the first latent frame is a single raw frame.
    foretells: which of ``FORETOLD`` the model's rollouts hold; of the others they hold NaN or nothing.
    """

    image_height: int
    image_width: int
    frame_rate_hz: float
    frames_per_latent: int
    latent_shape: tuple[int, int, int]
    sectors: int
    max_range_m: float
    place_width: int
    foretells: frozenset[str] = frozenset(FORETOLD)

    def require(self, *needed: str) -> None:
        """Raise ``ValueError`` unless the model foretells all of these."""
        missing = [name for name in needed if name not in self.foretells]
        if missing:
            known = ", ".join(sorted(self.foretells)) or "latents only: it has no heads"
            raise ValueError(
                f"this needs a world model that foretells {', '.join(missing)}; this one foretells {known} "
                "(published SANA-WM weights imagine, but do not judge: plan with a preset that has heads)"
            )

    @property
    def latent_period_s(self) -> float:
        """Seconds from one latent frame to the next (0.5 for every preset)."""
        return self.frames_per_latent / self.frame_rate_hz


@dataclass(frozen=True, kw_only=True)
class Intrinsics:
    """Pinhole intrinsics in pixels of the model's own image size (integer pixel centres)."""

    fx: float
    fy: float
    cx: float
    cy: float

    def half_view_rad(self, image_width: int) -> float:
        """Half the horizontal field of view, for a principal point in the middle of the picture."""
        return math.atan(0.5 * image_width / self.fx)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What one call of ``imagine`` foretold, one row per candidate and one column per latent frame.

    latents_NFCHW: normalised latents; ``model.decode`` turns them into pictures.
    collision_NF: probability in [0, 1] that the robot is in contact during the frame.
    clearance_NFK: free distance in metres from the robot's centre in K bearing sectors; sector k is
        centred on bearing ``2 pi k / K`` counter-clockwise from the robot's forward axis.
    uncertainty_NF: expected latent error (standard deviations), not negative.
    place_NFE: place embedding of unit length.
    Where the model has no head for one of these (``ModelSpec.foretells``), collision and uncertainty are NaN,
    clearance has no sectors and place no width.
    """

    latents_NFCHW: Tensor
    collision_NF: Tensor
    clearance_NFK: Tensor
    uncertainty_NF: Tensor
    place_NFE: Tensor

    @staticmethod
    def cat(parts: list[Rollout]) -> Rollout:
        """Join rollouts that follow each other in time."""
        names = ("latents_NFCHW", "collision_NF", "clearance_NFK", "uncertainty_NF", "place_NFE")
        return Rollout(**{name: torch.cat([getattr(part, name) for part in parts], dim=1) for name in names})

    def select(self, index_N: Tensor) -> Rollout:
        """Keep the candidates that ``index_N`` names, in its order."""
        return Rollout(**{name: value[index_N] for name, value in vars(self).items()})


class Batch(Protocol):
    """N futures that start from one context. Immutable: ``imagine`` returns the batch one step on."""

    @property
    def size(self) -> int:
        """The number of candidates N."""
        ...

    def imagine(
        self, poses_NF44: Tensor, *, steps: int | None = None, generator: torch.Generator | None = None
    ) -> tuple[Batch, Rollout]:
        """Go on by F latent frames along the commanded camera poses.

        poses_NF44 holds the camera pose at the end of each latent frame. ``steps`` is the number of
        denoising steps (None: the preset's own). All candidates share the noise that ``generator``
        draws; two calls with F1 and F2 frames equal one with F1 + F2.
        """
        ...

    def select(self, index_N: Tensor) -> Batch:
        """Keep some candidates, in the order given; dropping the others costs the rest nothing."""
        ...


class Context(Protocol):
    """What the model remembers of what the camera saw: a state of constant size. Immutable."""

    @property
    def latent_frames(self) -> int:
        """Latent frames seen so far."""
        ...

    @property
    def last_latent_CHW(self) -> Tensor | None:
        """The newest observed latent, or None while nothing was seen."""
        ...

    def extend(self, frames_THWC: Tensor, poses_T44: Tensor) -> Context:
        """Take in raw frames (uint8 RGB at the model's size) with their measured camera poses.

        The first call begins with the single first frame: T = 1 + k * frames_per_latent; later calls
        bring T = k * frames_per_latent. Costs O(T), however long the past is.
        """
        ...

    def fork(self, candidates: int) -> Batch:
        """Start N futures here without copying what they share."""
        ...


@runtime_checkable
class WorldModel(Protocol):
    """A world model: starts contexts and decodes what was imagined."""

    @property
    def spec(self) -> ModelSpec: ...

    def start(self, intrinsics: Intrinsics) -> Context:
        """An empty context for a camera."""
        ...

    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Latents to pictures for people, uint8 (F * frames_per_latent, H, W, 3)."""
        ...
