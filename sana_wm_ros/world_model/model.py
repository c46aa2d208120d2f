"""The world model that planning drives: contexts that grow, fork into candidates and are imagined on.

Implements ``protocol.WorldModel``. Contexts and batches never change; every call returns a new one that
shares with the old one all that stayed the same.
Dimension letters: N candidates, F latent frames, T raw frames, C channels, H and W rows and columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.anchor import anchored_pieces, moved
from sana_wm_ros.world_model.autoencoder import Autoencoder
from sana_wm_ros.world_model.camera import CameraTrack, latent_intrinsics, relative_to
from sana_wm_ros.world_model.checks import (
    checked_choice,
    checked_frames,
    checked_intrinsics,
    checked_poses,
)
from sana_wm_ros.world_model.graphs import Recorder
from sana_wm_ros.world_model.heads import Heads
from sana_wm_ros.world_model.precision import use_precision
from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec, Rollout
from sana_wm_ros.world_model.sampler import denoise, noise_levels, shared_noise
from sana_wm_ros.world_model.state import ModelState
from sana_wm_ros.world_model.transformer import SanaTransformer

# Latent frames per pass: enough to keep the processor busy, few enough to stay in its caches.
OBSERVE_FRAMES, IMAGINE_FRAMES = 24, 8


class NavigationModel(nn.Module):
    """Autoencoder, transformer and heads behind the protocol."""

    def __init__(
        self, transformer: SanaTransformer, heads: Heads, autoencoder: Autoencoder, frame_rate_hz: float = 8.0
    ) -> None:
        super().__init__()
        self.transformer, self.heads, self.autoencoder = transformer, heads, autoencoder
        self.recorder = Recorder()
        images, config = autoencoder.config, transformer.config
        wanted = (config.latent_channels, config.latent_height, config.latent_width)
        if images.latent_shape != wanted:
            raise ValueError(
                f"the autoencoder's latents are {images.latent_shape}, the transformer's {wanted}"
            )
        if images.frames_per_latent != config.raw_per_latent:
            raise ValueError("the autoencoder and the transformer differ in raw frames per latent frame")
        self.spec = ModelSpec(
            image_height=images.image_height,
            image_width=images.image_width,
            frame_rate_hz=frame_rate_hz,
            frames_per_latent=images.frames_per_latent,
            latent_shape=images.latent_shape,
            sectors=heads.config.sectors,
            max_range_m=heads.config.max_range_m,
            place_width=heads.config.place_width,
        )
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.transformer.x_embedder.proj.weight.device

    def ready_on(self, device: torch.device | str, precision: str = "auto") -> NavigationModel:
        """This model on a device, in the type that imagines fastest there: bfloat16 blocks on a GPU, else float32.

        ``ValueError`` where a ``precision`` other than auto (``precision.PRECISIONS``) is not possible.
        """
        self.to(device)
        self.transformer.to(torch.bfloat16 if self.device.type == "cuda" else torch.float32)
        use_precision(self.transformer, precision)
        return self

    def start(self, intrinsics: Intrinsics) -> NavigationContext:
        """An empty context for a camera."""
        k = checked_intrinsics(intrinsics, self.spec)
        image = (self.spec.image_height, self.spec.image_width)
        pixels = latent_intrinsics(k.fx, k.fy, k.cx, k.cy, image=image, latent=self.spec.latent_shape[1:])
        with torch.no_grad():
            state = self.transformer.empty_state(1)
        return NavigationContext(model=self, state=state, intrinsics_4=pixels.to(self.device))

    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Latents to pictures for people, uint8 (F * frames_per_latent, H, W, 3)."""
        return self.autoencoder.decode(latents_FCHW.to(self.device))

    def pieces(self, frames: int, most: int) -> list[tuple[int, ...]]:
        """Chunks of the preset's length, grouped into segments of at most about ``most`` frames."""
        chunks = self.transformer.chunk_lengths(frames)
        per_segment = max(1, most // self.transformer.config.chunk_frames)
        return [chunks[i : i + per_segment] for i in range(0, len(chunks), per_segment)]

    def rollout(self, latents_NFCHW: Tensor, features_NFSC: Tensor) -> Rollout:
        """What the heads say about imagined frames."""
        said = self.heads(features_NFSC.float())
        return Rollout(
            latents_NFCHW=latents_NFCHW,
            collision_NF=said.collision_BF,
            clearance_NFK=said.clearance_BFK,
            uncertainty_NF=said.uncertainty_BF,
            place_NFE=said.place_BFE,
        )


@dataclass(frozen=True, kw_only=True)
class NavigationContext:
    """What the camera saw, as a state of constant size.

    The anchor is the first frame's camera pose; its place follows the camera in steps of the preset's reach.
    """

    model: NavigationModel
    state: ModelState
    intrinsics_4: Tensor
    anchor_44: Tensor | None = None
    last_pose_44: Tensor | None = None
    last_latent_CHW: Tensor | None = None

    @property
    def latent_frames(self) -> int:
        """Latent frames seen so far."""
        return self.state.next_frame

    @torch.no_grad()
    def extend(self, frames_THWC: Tensor, poses_T44: Tensor) -> NavigationContext:
        """Take in raw frames with their measured camera poses, T = 1 + 4 k at first and 4 k later.

        Frames fall into chunks of the preset's length as they come, a shorter one last; a context may
        end anywhere. Raises ``TypeError`` or ``ValueError`` naming what is wrong.
        """
        model, first = self.model, self.latent_frames == 0
        group = model.spec.frames_per_latent
        frames = checked_frames(frames_THWC, model.spec, first)
        poses = checked_poses(poses_T44, (len(frames),))
        poses_F44 = poses[0 if first else group - 1 :: group]
        latents = model.autoencoder.encode(frames.to(model.device), first=first)
        return self.extend_latents(latents, poses_F44)

    @torch.no_grad()
    def extend_latents(
        self, latents_FCHW: Tensor, poses_F44: Tensor, *, seen: bool = True
    ) -> NavigationContext:
        """``extend`` for frames that are encoded already, with the camera poses at their ends.

        Where the camera has got further than the preset's reach from the anchor, the anchor follows it.
        seen: false for frames that were imagined; they are remembered as having happened, but never kept as
        keyframes, which they would wear out.
        """
        model, config, first = self.model, self.model.transformer.config, self.latent_frames == 0
        poses = checked_poses(poses_F44, (len(latents_FCHW),)).to(model.device)
        here = poses[0] if self.last_pose_44 is None else self.last_pose_44
        anchor = poses[0] if self.anchor_44 is None else self.anchor_44
        # The first frame is a chunk of its own, as it is when a context begins with nothing else.
        lengths = model.transformer.chunk_lengths(len(poses) - first)
        lengths = (1, *lengths) if first else lengths
        pieces = anchored_pieces(lengths, poses, here, anchor, reach_m=config.reach_m, most=OBSERVE_FRAMES)
        state, start, clean = self.state, 0, latents_FCHW.new_zeros(1, 1)
        for piece in pieces:
            stop, anchor = start + sum(piece.chunk_lengths), piece.anchor_44
            if piece.by_3 is not None:
                state = moved(config, state, piece.by_3)
            track = CameraTrack(
                poses_BF44=relative_to(anchor, poses[start:stop])[None],
                before_B44=relative_to(anchor, here)[None],
                intrinsics_B4=self.intrinsics_4[None],
            )
            latents = latents_FCHW[None, start:stop]
            _, _, state = model.transformer(
                latents, clean, track, state, piece.chunk_lengths, observed=stop - start if seen else 0
            )
            here, start = poses[stop - 1], stop
        return replace(
            self, state=state, anchor_44=anchor, last_pose_44=here, last_latent_CHW=latents_FCHW[-1]
        )

    def fork(self, candidates: int) -> NavigationBatch:
        """Start N futures here; they share the state until they differ."""
        if candidates < 1:
            raise ValueError(f"{candidates} candidates; expected at least 1")
        if self.anchor_44 is None or self.last_pose_44 is None:
            raise ValueError("nothing was seen yet; extend the context with a frame first")
        return NavigationBatch(
            model=self.model,
            state=self.state.expand(candidates),
            size=candidates,
            intrinsics_4=self.intrinsics_4,
            anchor_44=self.anchor_44,
            last_poses_N44=self.last_pose_44.expand(candidates, 4, 4),
        )


@dataclass(frozen=True, kw_only=True)
class NavigationBatch:
    """N futures from one context."""

    model: NavigationModel
    state: ModelState
    size: int
    intrinsics_4: Tensor
    anchor_44: Tensor
    last_poses_N44: Tensor

    @torch.no_grad()
    def imagine(
        self, poses_NF44: Tensor, *, steps: int | None = None, generator: torch.Generator | None = None
    ) -> tuple[NavigationBatch, Rollout]:
        """Go on by F latent frames along commanded camera poses.

        One step: each pass makes several chunks and leaves their state. More steps: each chunk is
        denoised by passes that leave nothing, then written clean. Calls cut at chunk boundaries (whole
        chunks of the preset, 1 s for ``nano``) give what one call gives.
        """
        model, config = self.model, self.model.transformer.config
        steps = config.default_steps if steps is None else steps
        if steps < 1:
            raise ValueError(f"{steps} denoising steps; expected at least 1")
        poses = checked_poses(poses_NF44, (self.size, None)).to(model.device)
        track = CameraTrack(
            poses_BF44=relative_to(self.anchor_44, poses),
            before_B44=relative_to(self.anchor_44, self.last_poses_N44),
            intrinsics_B4=self.intrinsics_4.expand(self.size, 4),
        )
        state, start, rollout = self.state, 0, None
        for chunks in model.pieces(poses.shape[1], IMAGINE_FRAMES if steps == 1 else config.chunk_frames):
            stop = start + sum(chunks)
            noise = shared_noise(stop - start, model.spec.latent_shape, state.next_frame, generator)
            noise = noise.to(model.device).expand(self.size, -1, -1, -1, -1)
            state, part = self._imagine_segment(noise, track.slice(start, stop), state, chunks, steps)
            # Room for all of it once: pieces that are kept until the end leave holes in the heap.
            rollout = room_like(part, poses.shape[1]) if rollout is None else rollout
            for name, value in vars(part).items():
                getattr(rollout, name)[:, start:stop] = value
            start = stop
        assert rollout is not None
        return replace(self, state=state, last_poses_N44=poses[:, -1]), rollout

    def _imagine_segment(
        self, noise: Tensor, track: CameraTrack, state: ModelState, chunks: tuple[int, ...], steps: int
    ) -> tuple[ModelState, Rollout]:
        """One segment from noise to latents, and the state it leaves."""
        transformer, config = self.model.transformer, self.model.transformer.config
        left = state

        def network(x: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
            nonlocal left
            output, features, left = self.model.recorder(transformer, x, sigma, track, state, chunks)
            return output, features

        levels = noise_levels(steps, config.flow_shift)
        latents, features = denoise(noise, levels, config.prediction, network)
        if steps > 1:
            # Only clean frames may be remembered: a state written from noise is a large error.
            _, _, left = self.model.recorder(transformer, latents, 0.0, track, state, chunks)
        return left, self.model.rollout(latents, features)

    def select(self, index_N: Tensor) -> NavigationBatch:
        """Keep some candidates, in the order given."""
        index_N = checked_choice(index_N, self.size).to(self.model.device)
        return replace(
            self,
            state=self.state.select(index_N),
            size=len(index_N),
            last_poses_N44=self.last_poses_N44[index_N],
        )


def room_like(part: Rollout, frames: int) -> Rollout:
    """An unfilled rollout of the kind and the candidates of ``part``, ``frames`` long."""
    return Rollout(
        **{
            name: value.new_empty(value.shape[0], frames, *value.shape[2:])
            for name, value in vars(part).items()
        }
    )
