"""What every self-attention block has: joint projections, the camera branch beside the main one, the gate.

Heads 0 .. H-1 are the main branch, H .. 2H-1 the camera branch (UCPE), from here to the state.
Dimension letters: F latent frames, B batch, S tokens, H heads, D head width, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.layers import RMSNorm, placed, renormed, unplaced
from sana_wm_ros.world_model.segment import Segment

# With this bias SiLU gives 1: the gate starts open.
OPEN_GATE = 1.278464542761074
# Matrix products run 15 % slower where rows of the output do not begin at multiples of a cache line.
ALIGNED = 16


class TwoBranchAttention(nn.Module):
    """Parameters that Gated DeltaNet and softmax blocks share, by their published names."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_norm, self.k_norm = RMSNorm(width), RMSNorm(width)
        self.q_proj_cam = nn.Linear(width, width)
        self.k_proj_cam = nn.Linear(width, width)
        self.v_proj_cam = nn.Linear(width, width)
        self.q_norm_cam, self.k_norm_cam = RMSNorm(width), RMSNorm(width)
        self.out_proj_cam = nn.Linear(width, width)
        self.output_gate = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)
        nn.init.zeros_(self.output_gate.weight)
        nn.init.constant_(self.output_gate.bias, OPEN_GATE)

    def project(self, x_FBSC: Tensor, *extra: nn.Linear) -> list[Tensor]:
        """Queries, keys and values of both branches (2C each, main first), the gate, then ``extra``.

        One matrix product instead of seven: the weights are small, the tokens many.
        """
        width = self.config.width
        q, k, v = self.qkv.weight.split(width)
        cameras = (self.q_proj_cam, self.k_proj_cam, self.v_proj_cam)
        weights = [
            part for main, camera in zip((q, k, v), cameras, strict=True) for part in (main, camera.weight)
        ]
        zero = x_FBSC.new_zeros(width)
        biases = [part for camera in cameras for part in (zero, camera.bias)]
        rest = (self.output_gate, *extra)
        sizes = [2 * width] * 3 + [layer.out_features for layer in rest]
        idle = -sum(sizes) % ALIGNED
        weight = torch.cat([*weights, *(layer.weight for layer in rest), x_FBSC.new_zeros(idle, width)])
        bias = torch.cat([*biases, *(layer.bias for layer in rest), x_FBSC.new_zeros(idle)])
        return list(nn.functional.linear(x_FBSC, weight, bias).split([*sizes, idle], -1))[: len(sizes)]

    def norm_weights(self) -> tuple[Tensor, Tensor]:
        """Weights of the query and key norms, (2, C) each, in float32."""
        queries = torch.stack([self.q_norm.weight, self.q_norm_cam.weight])
        return queries.float(), torch.stack([self.k_norm.weight, self.k_norm_cam.weight]).float()

    def split_heads(self, x: Tensor) -> Tensor:
        """(F, B, S, 2C) to heads (F, B, S, 2H, D)."""
        return x.unflatten(-1, (2 * self.config.heads, self.config.head_width))

    def placed(
        self, x_FBSHD: Tensor, matrix_NEE: Tensor, segment: Segment, order: tuple[int, ...], turn_main: bool
    ) -> Tensor:
        """Heads at their place (``layers.placed``), no longer than before if the preset asks for that."""
        out = placed(x_FBSHD, matrix_NEE, segment, order, turn_main)
        return renormed(out, x_FBSHD, order) if self.config.renorm else out

    def finish(
        self, x_FBSHD: Tensor, factor_FBSH1: Tensor | None, gate_FBSC: Tensor, segment: Segment
    ) -> Tensor:
        """Camera heads back to their rays, main ones times a factor, then both joined, gated, projected."""
        kind = gate_FBSC.dtype
        main, camera = (part.to(kind) for part in unplaced(x_FBSHD, factor_FBSH1, segment))
        joined = torch.addmm(main.flatten(0, 2), camera.flatten(0, 2), self.out_proj_cam.weight.t())
        joined = (joined + self.out_proj_cam.bias).view_as(gate_FBSC)
        return self.proj(joined * nn.functional.silu(gate_FBSC.float()).to(kind))
