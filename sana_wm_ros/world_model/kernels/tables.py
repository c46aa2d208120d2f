"""Where the tokens of a segment are, in the form that fused preparation reads."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Tables:
    """4 x 4 right factors per token (N, 4, 4), rotary factors of main and camera heads (F S, pairs, 2), fp32.

    place: rotations (F, B, 1, D/2, D/2) that follow the 4 x 4 factors, for models that tell places by phases.
    """

    matrix: Tensor
    rope: Tensor
    camera_rope: Tensor
    place: Tensor | None = None
