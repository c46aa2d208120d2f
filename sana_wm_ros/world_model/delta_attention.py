"""Gated DeltaNet over frames: the recurrent half of the model, whose state never grows.

All tokens of a frame read and write one memory per head; the past is carried, later frames of the same
chunk are read through a scan that starts anew in each chunk (arXiv 2605.15178, frame-wise GDN).
Dimension letters: F latent frames, B batch, S tokens, H heads, D head width, C channels.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.attention import TwoBranchAttention
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.layers import (
    SCAN_ORDER,
    ShortConv,
    last_frames,
    short_conv,
)
from sana_wm_ros.world_model.segment import Segment
from sana_wm_ros.world_model.state import DeltaState

# Decay per latent frame at the start of training, 1 - g: slow heads keep minutes, fast ones seconds.
SLOW, FAST = (2e-4, 2e-3), (1e-2, 2e-1)
# Published and trained values lie below 3.
MOST_A_LOG = 30.0


class DeltaAttention(TwoBranchAttention):
    """One Gated DeltaNet block: main branch with a normaliser, camera branch without."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        self.beta_proj = nn.Linear(config.width, config.heads)
        self.gate_proj = nn.Linear(config.width, config.heads)
        self.A_log = nn.Parameter(torch.zeros(config.heads))
        self.dt_bias = nn.Parameter(initial_dt_bias(config.heads))
        self.conv_k = ShortConv(config.width, config.conv_width)
        self.conv_k_cam = ShortConv(config.width, config.conv_width)
        nn.init.zeros_(self.beta_proj.weight)
        nn.init.zeros_(self.beta_proj.bias)
        nn.init.zeros_(self.gate_proj.weight)
        nn.init.zeros_(self.gate_proj.bias)

    def empty(self, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Memory, normaliser and key tail before the first frame."""
        heads, width = self.config.heads, self.config.head_width
        new = self.A_log.new_zeros
        tail = new(self.config.conv_width - 1, batch, self.config.tokens, self.tail_width)
        # Memories stay in float32 whatever the weights are: they sum over the whole past.
        full = torch.float32
        return new(batch, 2 * heads, width, width, dtype=full), new(batch, heads, 1, width, dtype=full), tail

    @property
    def tail_width(self) -> int:
        """Channels whose short convolution sees earlier chunks."""
        return (2 if self.config.carried_camera_conv else 1) * self.config.width

    def forward(
        self, x_FBSC: Tensor, segment: Segment, state: DeltaState
    ) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
        """Attend; returns the block's output and its new memory, normaliser and key tail."""
        S, D = x_FBSC.shape[2], self.config.head_width
        bounded = self.config.bounded_keys
        delta_memory = self.form(x_FBSC).delta_memory
        q, k, v, gate, beta = self.project(x_FBSC, self.beta_proj)

        tail = last_frames(state.key_tail_EBSC, k[..., : self.tail_width])
        k = self.convolved(k, state.key_tail_EBSC, segment)
        query_weight, key_weight = self.norm_weights()
        placed_q, plain_q = self.queries(q, query_weight, segment, SCAN_ORDER, relu=True, plain=1)
        # Without the scale of 1 / sqrt(D S) the correction K B K^T explodes.
        key_weight = key_weight / math.sqrt(D * S)
        branches = 1 if bounded else 2
        placed_k, plain_k = self.keys(k, key_weight, segment, SCAN_ORDER, relu=True, plain=branches)
        placed_v = self.values(v, segment, SCAN_ORDER)
        assert plain_q is not None and plain_k is not None

        beta_FBHS = beta.float().sigmoid().transpose(-1, -2)
        decay_FBH = self.decay(x_FBSC)
        both_beta = torch.cat([beta_FBHS, self.camera_beta(beta_FBHS, plain_k, placed_k)], 2)
        out, memory = delta_memory(
            placed_q, placed_k, placed_v, both_beta, decay_FBH.repeat(1, 1, 2),
            state.memory_BHRD, segment.chunk_lengths, bounded,
        )  # fmt: skip
        # The normaliser is the same memory with every value 1, on keys without places.
        sums, normaliser = delta_memory(
            plain_q, plain_k[:, :, : self.config.heads], None, beta_FBHS, decay_FBH,
            state.normaliser_BH1D, segment.chunk_lengths, bounded,
        )  # fmt: skip
        factor = self.positive(sums).reciprocal().transpose(2, 3)
        return self.finish(out.transpose(2, 3), factor, gate, segment), (memory, normaliser, tail)

    def convolved(self, k_FBSC: Tensor, tail_EBSC: Tensor, segment: Segment) -> Tensor:
        """Keys of both branches (2C) after their short convolution."""
        main, camera = self.conv_k.weight, self.conv_k_cam.weight
        if self.config.carried_camera_conv:
            return short_conv(k_FBSC, tail_EBSC, torch.cat([main, camera])[:, 0], segment)
        keys, camera_keys = k_FBSC.chunk(2, -1)
        return torch.cat(
            [
                short_conv(keys, tail_EBSC, main[:, 0], segment),
                short_conv(camera_keys, None, camera[:, 0], segment),
            ],
            -1,
        )

    def decay(self, x_FBSC: Tensor) -> Tensor:
        """g in (0, 1) per frame and head, (F, B, H)."""
        step = nn.functional.softplus(self.gate_proj(x_FBSC.mean(2)).float() + self.dt_bias.float())
        # Limited, because no number times a step that rounds to 0 may be anything but 0.
        return (-self.A_log.float().clamp(max=MOST_A_LOG).exp() * step).exp()

    def camera_beta(self, beta_FBHS: Tensor, k_FBHSD: Tensor, placed_FBHSD: Tensor) -> Tensor:
        """Beta of the camera branch, lowered where UCPE makes keys longer (bounded keys need no care)."""
        if self.config.bounded_keys:
            return beta_FBHS
        H = self.config.heads
        before = k_FBHSD[:, :, H:].float().square().sum(-1)
        after = placed_FBHSD[:, :, H:].float().square().sum(-1)
        growth = (after / before.clamp(min=1e-12)).mean(-1, keepdim=True)
        return beta_FBHS / growth.clamp(min=1.0)

    def positive(self, sums: Tensor) -> Tensor:
        """The normaliser kept away from zero: a floor, or the published 1e-8."""
        floor = self.config.denominator_floor
        return sums.clamp(min=floor) if floor > 0.0 else sums + 1e-8


def initial_dt_bias(heads: int) -> Tensor:
    """Biases whose softplus is the decay 1 - g: slow in the first half of the heads, fast in the others."""
    slow = max(1, heads // 2)
    parts = [
        torch.logspace(math.log10(a), math.log10(b), n) for (a, b), n in ((SLOW, slow), (FAST, heads - slow))
    ]
    # 1 - g = 1 - exp(-softplus(b)), solved for b.
    step = -torch.log1p(-torch.cat(parts))
    return torch.log(torch.expm1(step))
