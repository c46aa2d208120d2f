"""Where the tokens of a segment are, in the form that fused preparation reads."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Tables:
    """4 x 4 right factors per token (N, 4, 4), rotary factors of main and camera heads (F S, pairs, 2), fp32."""

    matrix: Tensor
    rope: Tensor
    camera_rope: Tensor
