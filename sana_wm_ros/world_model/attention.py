"""What every self-attention block has: joint projections, the camera branch beside the main one, the gate.

Heads 0 .. H-1 are the main branch, H .. 2H-1 the camera branch (UCPE), from here to the state.
Dimension letters: F latent frames, B batch, S tokens, H heads, D head width, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.kernels import Form, choose, form, portable
from sana_wm_ros.world_model.kernels.tables import Tables
from sana_wm_ros.world_model.layers import RMSNorm, placed, renormed, rms_normalised, unplaced
from sana_wm_ros.world_model.segment import Segment

# With this bias SiLU gives 1: the gate starts open.
OPEN_GATE = 1.278464542761074
# Matrix products run 15 % slower where rows of the output do not begin at multiples of a cache line.
ALIGNED = 16


class TwoBranchAttention(nn.Module):
    """Parameters that Gated DeltaNet and softmax blocks share, by their published names."""

    linear_of_tokens = staticmethod(nn.functional.linear)  # ``precision.use_precision`` exchanges it

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.form_name: str | None = None
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
        return list(self.linear_of_tokens(x_FBSC, weight, bias).split([*sizes, idle], -1))[: len(sizes)]

    def norm_weights(self) -> tuple[Tensor, Tensor]:
        """Weights of the query and key norms, (2, C) each, in float32."""
        queries = torch.stack([self.q_norm.weight, self.q_norm_cam.weight])
        return queries.float(), torch.stack([self.k_norm.weight, self.k_norm_cam.weight]).float()

    def queries(
        self, q_FBSC: Tensor, weight_2C: Tensor, segment: Segment, order: tuple[int, ...], **how: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Projected queries (2C channels) normalised and turned to their place, as ``_heads`` gives them."""
        return self._heads(q_FBSC, weight_2C, segment, segment.query_FBS44, order, **how)

    def keys(
        self, k_FBSC: Tensor, weight_2C: Tensor, segment: Segment, order: tuple[int, ...], **how: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Projected keys likewise."""
        return self._heads(k_FBSC, weight_2C, segment, segment.key_FBS44, order, **how)

    def values(self, v_FBSC: Tensor, segment: Segment, order: tuple[int, ...]) -> Tensor:
        """Projected values: camera heads turned, main ones as they are."""
        return self._heads(v_FBSC, None, segment, segment.key_FBS44, order, turn_main=False)[0]

    def _heads(
        self, x_FBSC: Tensor, weight_2C: Tensor | None, segment: Segment, matrix_FBS44: Tensor,
        order: tuple[int, ...], *, relu: bool = False, turn_main: bool = True, plain: int = 0,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Placed heads with axes (F, B, S, 2H, D) in ``order``; also those of the first ``plain`` branches before.

        The latter are (F, B, plain H, S, D), or None for 0.
        """
        H, C = self.config.heads, self.config.width
        fused = self.fused(x_FBSC)
        if fused is not None and not self.config.renorm:
            tables = _tables(segment, matrix_FBS44)
            return fused.prepare(
                x_FBSC, weight_2C, tables, H, order=order, relu=relu, turn_main=turn_main, plain=plain
            )
        if weight_2C is not None:
            x_FBSC = rms_normalised(x_FBSC.unflatten(-1, (2, C)), weight_2C, relu=relu).flatten(-2)
        heads = self.split_heads(x_FBSC)
        matrix = segment.query_NEE if matrix_FBS44 is segment.query_FBS44 else segment.key_NEE
        out = placed(heads, matrix, segment, order, turn_main)
        if self.config.renorm:
            out = renormed(out, heads, order)
        return out, heads[..., : plain * H, :].transpose(2, 3) if plain else None

    def split_heads(self, x: Tensor) -> Tensor:
        """(F, B, S, 2C) to heads (F, B, S, 2H, D)."""
        return x.unflatten(-1, (2 * self.config.heads, self.config.head_width))

    def form(self, x: Tensor) -> Form:
        """How attention is computed where ``x`` is, unless ``form_name`` says it."""
        return form(self.form_name or choose(x.device).name)

    def fused(self, x: Tensor) -> Any:
        """Fused preparation where ``x`` is, or None: Triton's knows no places as phases."""
        fused = self.form(x).fused
        return None if self.config.translation == "rotary" and fused is not portable else fused

    def finish(
        self, x_FBSHD: Tensor, factor_FBSH1: Tensor | None, gate_FBSC: Tensor, segment: Segment
    ) -> Tensor:
        """Camera heads back to their rays, main ones times a factor, then both joined, gated, projected."""
        kind = gate_FBSC.dtype
        fused = self.fused(x_FBSHD)
        if fused is None:
            parts = unplaced(x_FBSHD, factor_FBSH1, segment)
        else:
            factor_FBHS = None if factor_FBSH1 is None else factor_FBSH1[..., 0].transpose(2, 3)
            parts = fused.unplace(x_FBSHD, factor_FBHS, _tables(segment, segment.query_FBS44))
        main, camera = (part.to(kind) for part in parts)
        if not self.config.main_branch:
            main = torch.zeros_like(main)
        joined = torch.addmm(main.flatten(0, 2), camera.flatten(0, 2), self.out_proj_cam.weight.t())
        joined = (joined + self.out_proj_cam.bias).view_as(gate_FBSC)
        gated = joined * nn.functional.silu(gate_FBSC.float()).to(kind)
        return self.linear_of_tokens(gated, self.proj.weight, self.proj.bias)


def _tables(segment: Segment, matrix_FBS44: Tensor) -> Tables:
    """Where a segment's tokens are, as fused preparation reads it."""
    rope, camera_rope = segment.rope_pairs
    matrix = matrix_FBS44.flatten(0, 2).contiguous()
    return Tables(matrix=matrix, rope=rope, camera_rope=camera_rope, place=segment.place_FB1EE)
