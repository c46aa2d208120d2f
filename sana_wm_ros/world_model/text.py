"""The text branch of SANA-WM: captions are read once, then every block attends to them.

A clip has one caption, so what the blocks need of it (keys and values) is made once and shared by all passes,
chunks and candidates.
Dimension letters: B batch, L caption tokens, E caption channels, F latent frames, S tokens, H heads, D head width,
C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.layers import RMSNorm, rms_normalised

# Root mean square of the caption tokens at the start of training: small beside the hidden tokens.
CAPTION_SCALE = 0.01


@dataclass(frozen=True, kw_only=True)
class ReadText:
    """Captions as the blocks see them: keys and values (B, H, L, D) per block, and which tokens count.

    mask_B11L: True where there is a token, None where all count.
    """

    blocks: tuple[tuple[Tensor, Tensor], ...]
    mask_B11L: Tensor | None

    def select(self, index_N: Tensor) -> ReadText:
        """Some rows, in the order given."""
        mask = None if self.mask_B11L is None else self.mask_B11L[index_N]
        return ReadText(blocks=tuple((k[index_N], v[index_N]) for k, v in self.blocks), mask_B11L=mask)


class _Projection(nn.Module):
    """Two layers under their published names."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width_in, width), nn.Linear(width, width)


class CaptionEmbed(nn.Module):
    """Caption channels to hidden channels, ``y_embedder`` in the published weights."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.y_proj = _Projection(config.text_width, config.width)

    def forward(self, caption_BLE: Tensor) -> Tensor:
        """(B, L, E) to (B, L, C)."""
        inner = nn.functional.gelu(self.y_proj.fc1(caption_BLE), approximate="tanh")
        return self.y_proj.fc2(inner)


class TextAttention(nn.Module):
    """Hidden tokens attend to the caption; no positions, no modulation, no gate."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.q_linear = nn.Linear(width, width)
        self.kv_linear = nn.Linear(width, 2 * width)
        self.q_norm, self.k_norm = RMSNorm(width), RMSNorm(width)
        self.proj = nn.Linear(width, width)

    def _heads(self, x: Tensor) -> Tensor:
        """(B, N, C) to (B, H, N, D)."""
        return x.unflatten(-1, (self.config.heads, self.config.head_width)).transpose(1, 2)

    def read(self, caption_BLC: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of embedded captions."""
        k, v = self.kv_linear(caption_BLC).chunk(2, -1)
        k = rms_normalised(k, self.k_norm.weight, relu=False, eps=1e-6).to(v.dtype)
        return self._heads(k), self._heads(v)

    def forward(self, h_FBSC: Tensor, read: tuple[Tensor, Tensor], mask_B11L: Tensor | None) -> Tensor:
        """(F, B, S, C) to the same shape."""
        F, B, S, _ = h_FBSC.shape
        q = rms_normalised(self.q_linear(h_FBSC), self.q_norm.weight, relu=False, eps=1e-6).to(h_FBSC.dtype)
        q = self._heads(q.transpose(0, 1).flatten(1, 2))
        k, v = (part.expand(B, -1, -1, -1) for part in read)
        mask = None if mask_B11L is None else mask_B11L.expand(B, -1, -1, -1)
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        out = out.transpose(1, 2).flatten(2).unflatten(1, (F, S)).transpose(0, 1)
        return self.proj(out)


def checked_caption(
    caption_BLE: Tensor, mask_BL: Tensor | None, text_width: int
) -> tuple[Tensor, Tensor | None]:
    """A caption whose tokens are finite and of the right width, with its mask as (B, 1, 1, L) of bool."""
    if caption_BLE.ndim != 3 or caption_BLE.shape[-1] != text_width or 0 in caption_BLE.shape:
        raise ValueError(
            f"caption embeddings have shape {tuple(caption_BLE.shape)}; expected (batch, tokens, {text_width})"
        )
    if not caption_BLE.isfinite().all():
        raise ValueError("caption embeddings hold values that are not finite")
    if mask_BL is None:
        return caption_BLE, None
    if mask_BL.shape != caption_BLE.shape[:2]:
        raise ValueError(
            f"the caption's mask has shape {tuple(mask_BL.shape)}; expected {tuple(caption_BLE.shape[:2])}"
        )
    mask = mask_BL != 0
    if not mask.any(-1).all():
        raise ValueError("a caption's mask hides all of its tokens; an empty prompt still has one")
    return caption_BLE, None if bool(mask.all()) else mask[:, None, None]
