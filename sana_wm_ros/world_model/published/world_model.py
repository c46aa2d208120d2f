"""Published SANA-WM weights behind the planning protocol: contexts that are extended, forked and imagined from.

The weights were trained on chunks that begin at latent frames 0, 4, 7, 10, ..., so only whole chunks enter the
state. What was seen or imagined since the last of them is kept beside it and leads the next chunk at timestep 0, as
the first frame of a published clip does; so a context may end at any latent frame. There are no heads: rollouts hold
latents, and say of contact, clearance, doubt and place that they are not known.
Dimension letters: N candidates, F latent frames, P pending ones, T raw frames, R per latent frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import interpolate, latent_intrinsics, relative_to
from sana_wm_ros.world_model.checks import (
    checked_choice,
    checked_frames,
    checked_intrinsics,
    checked_poses,
)
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.model import room_like
from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec, Rollout
from sana_wm_ros.world_model.published.conditions import CameraConditions, packed
from sana_wm_ros.world_model.published.sampling import Prompted, chunks_between, denoised, step_levels
from sana_wm_ros.world_model.published.video import EMPTY, LTXVideo, StreamState
from sana_wm_ros.world_model.sampler import noise_levels, shared_noise
from sana_wm_ros.world_model.state import ModelState
from sana_wm_ros.world_model.text import ReadText
from sana_wm_ros.world_model.transformer import TIMESTEPS, SanaTransformer

# Latent frames per pass over what was seen.
OBSERVE_FRAMES = 12


class PublishedModel:
    """Transformer, caption and video autoencoder behind ``protocol.WorldModel``."""

    def __init__(
        self, transformer: SanaTransformer, video: LTXVideo, text: ReadText, frame_rate_hz: float = 16.0
    ) -> None:
        config = transformer.config
        wanted = (config.latent_channels, config.latent_height, config.latent_width)
        if video.latent_shape != wanted or video.frames_per_latent != config.raw_per_latent:
            raise ValueError(
                f"the autoencoder gives latents {video.latent_shape} of {video.frames_per_latent} frames, "
                f"the transformer expects {wanted} of {config.raw_per_latent}"
            )
        if not config.causal_softmax:
            raise ValueError(
                "a bidirectional transformer sees whole clips only; plan with its streaming or chunk-causal form"
            )
        self.transformer, self.video = transformer, video
        self.prompted = Prompted(transformer=transformer, text=text)
        self.spec = ModelSpec(
            image_height=video.image_height,
            image_width=video.image_width,
            frame_rate_hz=frame_rate_hz,
            frames_per_latent=video.frames_per_latent,
            latent_shape=video.latent_shape,
            sectors=0,
            max_range_m=0.0,
            place_width=0,
            foretells=frozenset(),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.transformer.device

    def start(self, intrinsics: Intrinsics) -> PublishedContext:
        """An empty context for a camera."""
        k = checked_intrinsics(intrinsics, self.spec)
        image = (self.spec.image_height, self.spec.image_width)
        pixels = latent_intrinsics(k.fx, k.fy, k.cx, k.cy, image=image, latent=self.spec.latent_shape[1:])
        with torch.no_grad():
            stream = Stream(
                states=self.prompted.empty(1),
                pending_NPCHW=torch.zeros(1, 0, *self.spec.latent_shape, device=self.device),
                raw_NT44=torch.zeros(1, 0, 4, 4, dtype=torch.float64, device=self.device),
                last_N44=torch.eye(4, dtype=torch.float64, device=self.device)[None],
            )
        return PublishedContext(model=self, stream=stream, intrinsics_4=pixels.to(self.device))

    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Latents to pictures for people, uint8 (F * frames_per_latent, H, W, 3)."""
        return self.video.decode(latents_FCHW)

    def levels(self, steps: int | None) -> list[float]:
        """Noise levels of the steps, as whole timesteps: with 4 steps those of the distilled weights."""
        config = self.transformer.config
        steps = config.default_steps if steps is None else steps
        if steps < 1:
            raise ValueError(f"{steps} denoising steps; expected at least 1")
        levels = noise_levels(steps, config.flow_shift)
        # Many steps come closer together than whole timesteps do.
        return step_levels(sorted({round(level * TIMESTEPS) for level in levels[:-1]}, reverse=True))


@dataclass(frozen=True, kw_only=True)
class Stream:
    """The past: what whole chunks left, and the latents and raw camera poses (world, float64) since then.

    last_N44: the newest pose, which stays when nothing is pending.
    """

    states: tuple[ModelState, ...]
    pending_NPCHW: Tensor
    raw_NT44: Tensor
    last_N44: Tensor

    @property
    def written(self) -> int:
        """Latent frames that are in the state."""
        return self.states[0].next_frame

    @property
    def frames(self) -> int:
        """Latent frames so far."""
        return self.written + self.pending_NPCHW.shape[1]

    def expand(self, candidates: int) -> Stream:
        """One row shared by all candidates, without copies."""
        return Stream(
            states=tuple(state.expand(candidates) for state in self.states),
            pending_NPCHW=self.pending_NPCHW.expand(candidates, -1, -1, -1, -1),
            raw_NT44=self.raw_NT44.expand(candidates, -1, -1, -1),
            last_N44=self.last_N44.expand(candidates, -1, -1),
        )

    def select(self, index_N: Tensor) -> Stream:
        """Some candidates, in the order given."""
        return Stream(
            states=tuple(state.select(index_N) for state in self.states),
            pending_NPCHW=self.pending_NPCHW[index_N],
            raw_NT44=self.raw_NT44[index_N],
            last_N44=self.last_N44[index_N],
        )

    def camera(
        self, frames: int, anchor_44: Tensor, intrinsics_4: Tensor, config: TransformerConfig
    ) -> CameraConditions:
        """The camera of the first ``frames`` latent frames after the state, from the raw poses."""
        R, first = config.raw_per_latent, self.written == 0
        count = 1 + (frames - 1) * R if first else frames * R
        # The published packing shows latent frame 0 the rays of the raw frames that follow it, where there are any.
        raw = relative_to(anchor_44, self.raw_NT44[:, : max(count, R)])
        pixels = intrinsics_4.expand(*raw.shape[:2], 4)
        grid = (config.latent_height, config.latent_width)
        return packed(raw, pixels, grid, first=first, raw_per_latent=R).slice(0, frames)

    def after(self, states: tuple[ModelState, ...], raw_per_latent: int) -> Stream:
        """The stream once ``states`` hold more of its pending frames."""
        taken = states[0].next_frame - self.written
        raw = 1 + (taken - 1) * raw_per_latent if self.written == 0 else taken * raw_per_latent
        return replace(
            self, states=states, pending_NPCHW=self.pending_NPCHW[:, taken:], raw_NT44=self.raw_NT44[:, raw:]
        )

    def going_on(self, latents_NPCHW: Tensor, raw_NT44: Tensor) -> Stream:
        """The stream with more pending latents and raw poses."""
        return replace(
            self,
            pending_NPCHW=torch.cat([self.pending_NPCHW, latents_NPCHW], 1),
            raw_NT44=torch.cat([self.raw_NT44, raw_NT44], 1),
            last_N44=raw_NT44[:, -1],
        )


def whole_chunks(stream: Stream, size: int) -> tuple[int, ...]:
    """Chunks that the pending frames complete."""
    chunks = chunks_between(stream.written, stream.frames, size)
    complete = size if stream.written else size + 1
    return tuple(length for i, length in enumerate(chunks) if length == (complete if i == 0 else size))


@dataclass(frozen=True, kw_only=True)
class PublishedContext:
    """What the camera saw. The anchor is the first frame's camera pose."""

    model: PublishedModel
    stream: Stream
    intrinsics_4: Tensor
    encoder: StreamState = EMPTY
    anchor_44: Tensor | None = None
    last_latent_CHW: Tensor | None = None

    @property
    def latent_frames(self) -> int:
        """Latent frames seen so far."""
        return self.stream.frames

    @torch.no_grad()
    def extend(self, frames_THWC: Tensor, poses_T44: Tensor) -> PublishedContext:
        """Take in raw frames with their measured camera poses, T = 1 + 8 k at first and 8 k later."""
        model, first = self.model, self.latent_frames == 0
        frames = checked_frames(frames_THWC, model.spec, first)
        poses = checked_poses(poses_T44, (len(frames),)).to(model.device)
        latents, encoder = model.video.encode(frames, self.encoder)
        latents = latents.to(model.device)
        anchor = poses[0] if self.anchor_44 is None else self.anchor_44
        stream = self.stream.going_on(latents[None], poses[None])
        for chunks in _grouped(whole_chunks(stream, model.transformer.config.chunk_frames)):
            stream = written(model, stream, chunks, anchor, self.intrinsics_4)
        return replace(self, stream=stream, encoder=encoder, anchor_44=anchor, last_latent_CHW=latents[-1])

    def fork(self, candidates: int) -> PublishedBatch:
        """Start N futures here; they share the state until they differ."""
        if candidates < 1:
            raise ValueError(f"{candidates} candidates; expected at least 1")
        if self.anchor_44 is None:
            raise ValueError("nothing was seen yet; extend the context with a frame first")
        return PublishedBatch(
            model=self.model, stream=self.stream.expand(candidates), size=candidates,
            intrinsics_4=self.intrinsics_4, anchor_44=self.anchor_44,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PublishedBatch:
    """N futures from one context."""

    model: PublishedModel
    stream: Stream
    size: int
    intrinsics_4: Tensor
    anchor_44: Tensor

    @torch.no_grad()
    def imagine(
        self, poses_NF44: Tensor, *, steps: int | None = None, generator: torch.Generator | None = None
    ) -> tuple[PublishedBatch, Rollout]:
        """Go on by F latent frames along commanded camera poses (raw frames between them are interpolated).

        Calls cut where chunks end (latent frames 4, 7, 10, ... of the stream) give what one call gives.
        """
        model, config = self.model, self.model.transformer.config
        levels = model.levels(steps)
        poses = checked_poses(poses_NF44, (self.size, None)).to(model.device)
        frames = poses.shape[1]
        before = torch.cat([self.stream.last_N44[:, None], poses[:, :-1]], 1)
        raw = interpolate(before, poses, config.raw_per_latent).flatten(1, 2)
        stream = self.stream.going_on(self.stream.pending_NPCHW[:, :0], raw)
        rollout, done = None, 0
        for length in chunks_between(stream.written, stream.frames + frames, config.chunk_frames):
            given = stream.pending_NPCHW
            new = length - given.shape[1]
            noise = shared_noise(new, model.spec.latent_shape, stream.frames, generator)
            noise = noise.to(model.device).expand(self.size, -1, -1, -1, -1)
            camera = stream.camera(length, self.anchor_44, self.intrinsics_4, config)
            x = denoised(model.prompted, given, noise, camera, stream.states, levels)
            part = unjudged(x[:, given.shape[1] :])
            # Room for all of it once: pieces that are kept until the end leave holes in the heap.
            rollout = room_like(part, frames) if rollout is None else rollout
            for name, value in vars(part).items():
                getattr(rollout, name)[:, done : done + new] = value
            done += new
            stream = replace(stream, pending_NPCHW=x)
            for chunks in _grouped(whole_chunks(stream, config.chunk_frames)):
                stream = written(model, stream, chunks, self.anchor_44, self.intrinsics_4)
        assert rollout is not None
        return replace(self, stream=stream), rollout

    def select(self, index_N: Tensor) -> PublishedBatch:
        """Keep some candidates, in the order given."""
        index_N = checked_choice(index_N, self.size).to(self.model.device)
        return replace(self, stream=self.stream.select(index_N), size=len(index_N))


def written(
    model: PublishedModel, stream: Stream, chunks: tuple[int, ...], anchor_44: Tensor, intrinsics_4: Tensor
) -> Stream:
    """The stream after a pass at timestep 0 wrote its first pending chunks into the state."""
    config, frames = model.transformer.config, sum(chunks)
    x = stream.pending_NPCHW[:, :frames]
    camera = stream.camera(frames, anchor_44, intrinsics_4, config)
    _, states = model.prompted(x, x.new_zeros(1, 1), camera, stream.states, chunks)
    return stream.after(states, config.raw_per_latent)


def unjudged(latents_NFCHW: Tensor) -> Rollout:
    """A rollout of a model without heads: what nothing foretold is NaN, or of no width."""
    unknown = latents_NFCHW.new_full(latents_NFCHW.shape[:2], torch.nan)
    nothing = latents_NFCHW.new_zeros(*latents_NFCHW.shape[:2], 0)
    return Rollout(
        latents_NFCHW=latents_NFCHW, collision_NF=unknown, clearance_NFK=nothing, uncertainty_NF=unknown.clone(),
        place_NFE=nothing.clone(),
    )  # fmt: skip


def _grouped(chunks: Sequence[int]) -> list[tuple[int, ...]]:
    """Chunks in groups of about ``OBSERVE_FRAMES``, one pass each."""
    groups: list[tuple[int, ...]] = []
    for length in chunks:
        if groups and sum(groups[-1]) + length <= OBSERVE_FRAMES:
            groups[-1] = (*groups[-1], length)
        else:
            groups.append((length,))
    return groups
