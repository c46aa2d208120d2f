"""SANA-WM's hybrid linear diffusion transformer, one forward for training, observing and imagining.

A forward pass takes a segment of several chunks at once and the state that earlier frames left, and
returns the state that this segment leaves: a minute is a few segments, and never costs more memory.
Dimension letters: B batch, F latent frames, C channels, H and W latent rows and columns, S tokens.
Inside, time comes first: tokens are (F, B, S, C).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.camera import Camera, CameraTrack
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.delta_attention import DeltaAttention
from sana_wm_ros.world_model.guide import guide_width
from sana_wm_ros.world_model.keyframes import Keyframes, recall
from sana_wm_ros.world_model.layers import RMSNorm, rms_normalised
from sana_wm_ros.world_model.mlp import GatedConvMLP
from sana_wm_ros.world_model.segment import Segment, make_segment
from sana_wm_ros.world_model.state import DeltaState, ModelState, WindowState
from sana_wm_ros.world_model.text import (
    CAPTION_SCALE,
    CaptionEmbed,
    ReadText,
    TextAttention,
    checked_caption,
)
from sana_wm_ros.world_model.window_attention import WindowAttention

# Timesteps run from 0 (clean) to 1000 (pure noise), as in the published weights.
TIMESTEPS = 1000.0


def normalised(x: Tensor) -> Tensor:
    """Layer norm over channels without learned weights."""
    return nn.functional.layer_norm(x, x.shape[-1:], eps=1e-6)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm, then scale and shift."""
    if shift.shape[:-1].numel() == 1:
        return nn.functional.layer_norm(x, x.shape[-1:], 1.0 + scale.flatten(), shift.flatten(), 1e-6)
    return torch.addcmul(shift, normalised(x), 1.0 + scale)


class Embed(nn.Module):
    """A 1 x 1 x 1 patch embedding under its published shape (out, in, 1, 1, 1)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, width, 1)

    @property
    def weight(self) -> Tensor:
        """The embedding as a matrix (out, in)."""
        return self.proj.weight.flatten(1)


class TimeEmbed(nn.Module):
    """Sinusoid of a timestep, cosines first, then two layers."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.mlp = nn.Sequential(
            nn.Linear(config.timestep_width, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )

    def forward(self, timestep_FB: Tensor) -> Tensor:
        """(F, B) timesteps to (F, B, C)."""
        half = self.config.timestep_width // 2
        # A whole timestep that came through a noise level may be one rounding below itself.
        t = (timestep_FB + 2e-4).trunc() if self.config.truncate_timesteps else timestep_FB
        steps = torch.arange(half, device=t.device, dtype=torch.float32)
        angle = t.float()[..., None] * torch.exp(-math.log(10_000.0) * steps / half)
        return self.mlp(torch.cat([angle.cos(), angle.sin()], -1).to(next(self.mlp.parameters()).dtype))


class Block(nn.Module):
    """Attention, the camera's rays, the caption, the gated convolution; each adds to the hidden tokens."""

    def __init__(self, config: TransformerConfig, index: int) -> None:
        super().__init__()
        self.attn: DeltaAttention | WindowAttention
        self.attn = WindowAttention(config) if config.is_softmax(index) else DeltaAttention(config)
        self.cross_attn = TextAttention(config) if config.text_width else None
        self.mlp = GatedConvMLP(config)
        self.plucker_proj = nn.Linear(config.width, config.width)
        self.scale_shift_table = nn.Parameter(torch.randn(6, config.width) / config.width**0.5)

    def empty(self, batch: int) -> DeltaState | WindowState:
        """The state before the first frame."""
        tail = self.mlp.empty(batch)
        if isinstance(self.attn, WindowAttention):
            return self.attn.empty(batch, tail)
        memory, normaliser, keys = self.attn.empty(batch)
        return DeltaState(
            memory_BHRD=memory, normaliser_BH1D=normaliser, key_tail_EBSC=keys, mlp_tail_1BSC=tail
        )

    def forward(
        self,
        h_FBSC: Tensor,
        t0_FB6C: Tensor,
        plucker: tuple[Tensor, Embed],
        segment: Segment,
        state: DeltaState | WindowState,
        caption: tuple[tuple[Tensor, Tensor], Tensor | None] | None,
    ) -> tuple[Tensor, DeltaState | WindowState]:
        """Returns the hidden tokens and the block's new state."""
        parts = (self.scale_shift_table + t0_FB6C)[:, :, :, None].unbind(2)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = parts
        x = modulated(h_FBSC, shift_a, scale_a)
        if isinstance(self.attn, WindowAttention):
            assert isinstance(state, WindowState)
            attended, window = self.attn(x, segment, state)
        else:
            assert isinstance(state, DeltaState)
            attended, (memory, normaliser, tail) = self.attn(x, segment, state)
        h = torch.addcmul(h_FBSC, gate_a, attended)

        # Two linear maps in a row are one: rays go straight to the hidden width.
        rays, embed = plucker
        weight = self.plucker_proj.weight @ embed.weight
        bias = self.plucker_proj(embed.proj.bias)
        h = h + nn.functional.linear(rays, weight, bias)
        if self.cross_attn is not None:
            assert caption is not None
            h = h + self.cross_attn(h, *caption)

        mixed, mlp_tail = self.mlp(modulated(h, shift_m, scale_m), segment, state.mlp_tail_1BSC)
        h = torch.addcmul(h, gate_m, mixed)
        if isinstance(self.attn, WindowAttention):
            return h, replace(window, mlp_tail_1BSC=mlp_tail)
        return h, DeltaState(
            memory_BHRD=memory, normaliser_BH1D=normaliser, key_tail_EBSC=tail, mlp_tail_1BSC=mlp_tail
        )


class FinalLayer(nn.Module):
    """Tokens to latent channels."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.scale_shift_table = nn.Parameter(torch.randn(2, config.width) / config.width**0.5)
        self.linear = nn.Linear(config.width, config.latent_channels)

    def forward(self, h_FBSC: Tensor, t_FBC: Tensor) -> Tensor:
        """(F, B, S, C) to (F, B, S, latent channels)."""
        shift, scale = (self.scale_shift_table + t_FBC[:, :, None])[:, :, :, None].unbind(2)
        return self.linear(modulated(h_FBSC, shift, scale))


class SanaTransformer(nn.Module):
    """The transformer of every preset; attribute names follow the published state dict."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.x_embedder = Embed(config.latent_channels, config.width)
        self.plucker_embedder = Embed(6 * config.raw_per_latent, config.width)
        self.t_embedder = TimeEmbed(config)
        self.t_block = nn.Sequential(nn.SiLU(), nn.Linear(config.width, 6 * config.width))
        self.blocks = nn.ModuleList(Block(config, index) for index in range(config.depth))
        self.final_layer = FinalLayer(config)
        if config.keyframe_guide:
            # Begins as nothing, so that a model trained without it can be trained on with it.
            self.guide_embedder = nn.Linear(guide_width(config), config.width, bias=False)
            nn.init.zeros_(self.guide_embedder.weight)
        if config.text_width:
            self.y_embedder = CaptionEmbed(config)
            self.attention_y_norm = RMSNorm(config.width)
            nn.init.constant_(self.attention_y_norm.weight, CAPTION_SCALE)

    def read(self, caption_BLE: Tensor, mask_BL: Tensor | None = None) -> ReadText:
        """Make captions ready for the blocks; one row serves all rows of a batch.

        caption_BLE: the text encoder's embeddings. mask_BL: not 0 where there is a token (None: everywhere).
        """
        if not self.config.text_width:
            raise ValueError("this preset has no text branch; call it without a caption")
        weight = self.attention_y_norm.weight
        caption, mask = checked_caption(caption_BLE, mask_BL, self.config.text_width)
        y = self.y_embedder(caption.to(weight.device, weight.dtype))
        y = rms_normalised(y, weight, relu=False).to(weight.dtype)
        blocks = (cast(TextAttention, block.cross_attn) for block in self.blocks)
        return ReadText(
            blocks=tuple(block.read(y) for block in blocks),
            mask_B11L=None if mask is None else mask.to(weight.device),
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.x_embedder.proj.weight.device

    def empty_state(self, batch: int) -> ModelState:
        """The state before the first frame."""
        blocks = (cast(Block, block) for block in self.blocks)
        places = Keyframes.none(self.config, batch, self.x_embedder.proj.weight.device)
        return ModelState(
            next_frame=0,
            blocks=tuple(block.empty(batch) for block in blocks),
            keyframes=places if self.config.keyframes else None,
        )

    def forward(
        self,
        x_BFCHW: Tensor,
        sigma_BF: Tensor,
        camera: Camera,
        state: ModelState | None = None,
        chunk_lengths: tuple[int, ...] | None = None,
        observed: int = 0,
        text: ReadText | None = None,
    ) -> tuple[Tensor, Tensor, ModelState]:
        """One pass over a segment.

        x_BFCHW: latents noised to ``sigma_BF`` in [0, 1] (0 clean; (1, 1) where all frames share it).
        camera: where it is in these F frames. state: what earlier frames left (None: nothing). chunk_lengths:
        how the F frames fall into chunks (None: the preset's own, a shorter one last). observed: how many
        frames at the segment's beginning a camera saw, whole chunks of them: only those are ever kept as
        keyframes. text: what ``read`` made of the caption, for presets with a text branch.
        Returns the clean latents or the flow as the preset predicts (B, F, C, H, W), the features that
        heads read (B, F, S, width) and the new state.
        """
        B, F = x_BFCHW.shape[:2]
        self._check_mode(state, text)
        state = self.empty_state(B) if state is None else state
        lengths = self.chunk_lengths(F) if chunk_lengths is None else chunk_lengths
        segment, keyframes = self.tables(x_BFCHW, camera, state, lengths, observed)
        out, features, blocks = self.passed(x_BFCHW, sigma_BF, segment, state.blocks, text)
        left = ModelState(next_frame=state.next_frame + F, blocks=blocks, keyframes=keyframes)
        return out, features, left

    def tables(
        self,
        x_BFCHW: Tensor,
        camera: Camera,
        state: ModelState,
        chunk_lengths: tuple[int, ...],
        observed: int,
    ) -> tuple[Segment, Keyframes | None]:
        """What the blocks share about a segment, and the keyframes after it."""
        keyframes, found = state.keyframes, None
        if keyframes is not None:
            if not isinstance(camera, CameraTrack):
                raise ValueError("keyframes are found by their poses; the camera must be a CameraTrack")
            seen_BFSC = x_BFCHW[:, :observed].flatten(3).transpose(2, 3)
            first = state.next_frame
            found, keyframes = recall(self.config, keyframes, camera, first, chunk_lengths, seen_BFSC)
        return make_segment(self.config, camera, state.next_frame, chunk_lengths, found), keyframes

    def passed(
        self,
        x_BFCHW: Tensor,
        sigma_BF: Tensor,
        segment: Segment,
        states: tuple[DeltaState | WindowState, ...],
        text: ReadText | None = None,
    ) -> tuple[Tensor, Tensor, tuple[DeltaState | WindowState, ...]]:
        """The pass itself, once the segment's tables are made: output, features and the blocks' new states."""
        if self.config.blank_pure_noise:
            x_BFCHW = torch.where(sigma_BF[..., None, None, None] < 1.0, x_BFCHW, 0.0)
        weight = self.x_embedder.weight
        tokens = x_BFCHW.flatten(3).permute(1, 0, 3, 2).to(weight.dtype)
        h = nn.functional.linear(tokens, weight, self.x_embedder.proj.bias)
        found = segment.recall
        if found is not None and found.guide_FBSX is not None:
            h = h + self.guide_embedder(found.guide_FBSX.to(weight.dtype))
        t_FBC = self.t_embedder(sigma_BF.t() * TIMESTEPS)
        t0_FB6C = self.t_block(t_FBC).unflatten(-1, (6, -1))
        rays = (segment.plucker_FBSP.to(weight.dtype), self.plucker_embedder)
        blocks = []
        for i, (block, block_state) in enumerate(zip(self.blocks, states, strict=True)):
            caption = None if text is None else (text.blocks[i], text.mask_B11L)
            h, new = block(h, t0_FB6C, rays, segment, block_state, caption)
            blocks.append(new)
        out = self.final_layer(h, t_FBC).permute(1, 0, 3, 2).unflatten(-1, x_BFCHW.shape[-2:])
        features = normalised(h).transpose(0, 1)
        return out.to(x_BFCHW.dtype), features, tuple(blocks)

    def _check_mode(self, state: ModelState | None, text: ReadText | None) -> None:
        """Raise where what was passed and the preset's switches exclude each other."""
        if (text is None) != (self.config.text_width == 0):
            raise ValueError(
                "this preset reads a caption: pass text=transformer.read(embeddings, mask)"
                if text is None
                else "this preset has no text branch; call it without a caption"
            )
        if state is not None and state.next_frame and not self.config.causal_softmax:
            raise ValueError(
                "with causal_softmax off a clip must come in one piece; a state cannot be carried on"
            )

    def chunk_lengths(self, frames: int) -> tuple[int, ...]:
        """``frames`` in chunks of the preset's length, a shorter one last."""
        whole, rest = divmod(frames, self.config.chunk_frames)
        return (self.config.chunk_frames,) * whole + ((rest,) if rest else ())
