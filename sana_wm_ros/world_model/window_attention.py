"""Exact attention over the last frames and the first: the short, sharp half of the memory.

A frame sees its own chunk, the ``window_frames`` before the chunk and the sink frames, whose keys and
values the state keeps. Long segments go block by block of queries, so nothing is ever F x F.
Dimension letters: F latent frames, B batch, S tokens, H heads (main, then camera), D head width,
W frames of keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.attention import TwoBranchAttention
from sana_wm_ros.world_model.layers import ATTENTION_ORDER
from sana_wm_ros.world_model.segment import Segment
from sana_wm_ros.world_model.state import WindowState

# Frames of queries per call: more waste keys that the mask hides, fewer waste calls.
QUERY_FRAMES = 8


class WindowAttention(TwoBranchAttention):
    """One softmax block, main and camera branch in one call (they share nothing but the mask)."""

    def empty(self, batch: int) -> tuple[tuple[int, ...], Tensor, Tensor]:
        """Frame numbers, keys and values before the first frame."""
        shape = (batch, 2 * self.config.heads, 0, self.config.tokens, self.config.head_width)
        new = self.proj.weight.new_zeros
        return (), new(shape, dtype=self.dtype), new(shape, dtype=self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """What queries, keys and values are rounded to."""
        return torch.bfloat16 if self.config.softmax_bf16 else self.proj.weight.dtype

    def forward(
        self, x_FBSC: Tensor, segment: Segment, state: WindowState
    ) -> tuple[Tensor, tuple[tuple[int, ...], Tensor, Tensor]]:
        """Attend; returns the block's output and the frames, keys and values to keep."""
        F = x_FBSC.shape[0]
        q, k, v, gate = self.project(x_FBSC)
        query_weight, key_weight = self.norm_weights()
        q, _ = self.queries(q, query_weight, segment, ATTENTION_ORDER)
        k, _ = self.keys(k, key_weight, segment, ATTENTION_ORDER)
        v = self.values(v, segment, ATTENTION_ORDER)
        q, k, v = q.to(self.dtype), k.to(self.dtype), v.to(self.dtype)
        keys, values = torch.cat([state.keys_BHWSD, k], 2), torch.cat([state.values_BHWSD, v], 2)
        numbers = (*state.frames, *range(segment.first_frame, segment.first_frame + F))

        out = torch.cat(self.attend(q, keys, values, numbers, segment), 2)
        kept = self.kept(numbers, segment.first_frame + F) if self.config.causal_softmax else []
        return self.finish(out.permute(2, 0, 3, 1, 4), None, gate, segment), (
            tuple(numbers[i] for i in kept),
            _take(keys, kept),
            _take(values, kept),
        )

    def kept(self, numbers: tuple[int, ...], next_frame: int) -> list[int]:
        """Which columns a chunk that starts at ``next_frame`` may see."""
        sink, window = self.config.sink_frames, self.config.window_frames
        return [i for i, n in enumerate(numbers) if (n < sink or n >= next_frame - window) and n < next_frame]

    def attend(
        self, q: Tensor, keys: Tensor, values: Tensor, numbers: tuple[int, ...], segment: Segment
    ) -> list[Tensor]:
        """Outputs (B, H, frames, S, D) of one block of query frames after the other."""
        B, H, F, S, D = q.shape
        if not self.config.causal_softmax:
            out = self.softmax(q.flatten(2, 3), keys.flatten(2, 3), values.flatten(2, 3), None)
            return [out.unflatten(2, (F, S))]
        offset = len(numbers) - F
        outs, start = [], 0
        for chunks in _query_blocks(segment.chunk_lengths):
            stop = start + sum(chunks)
            columns = self.kept(numbers, segment.first_frame + start) + list(
                range(offset + start, offset + stop)
            )
            mask = self.mask(chunks, segment.first_frame + start, [numbers[i] for i in columns], S, q.device)
            out = self.softmax(
                q[:, :, start:stop].flatten(2, 3),
                _take(keys, columns).flatten(2, 3),
                _take(values, columns).flatten(2, 3),
                mask,
            )
            outs.append(out.unflatten(2, (stop - start, S)))
            start = stop
        return outs

    def softmax(self, q_BHND: Tensor, k_BHND: Tensor, v_BHND: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of both branches, in one call where they share the scale of their scores."""
        attention = nn.functional.scaled_dot_product_attention
        main, camera = self.scales()
        if main == camera:
            return attention(q_BHND, k_BHND, v_BHND, attn_mask=mask, scale=main)
        (q, q_camera), (k, k_camera), (v, v_camera) = (x.chunk(2, 1) for x in (q_BHND, k_BHND, v_BHND))
        out = attention(q, k, v, attn_mask=mask, scale=main)
        return torch.cat([out, attention(q_camera, k_camera, v_camera, attn_mask=mask, scale=camera)], 1)

    def scales(self) -> tuple[float, float]:
        """What multiplies the scores of the main and of the camera branch."""
        width = self.config.head_width
        padded = width if width in (32, 64, 128, 256) else 128 if width <= 128 else 256
        camera = width if self.config.softmax_scale == "head" else padded
        main = padded if self.config.softmax_scale == "padded" else width
        return main**-0.5, camera**-0.5

    def mask(
        self, chunks: tuple[int, ...], first: int, seen: list[int], tokens: int, device: torch.device
    ) -> Tensor | None:
        """Which keys each query may see, or None for all (one chunk sees all that was gathered for it)."""
        if len(chunks) == 1:
            return None
        sink, window = self.config.sink_frames, self.config.window_frames
        rows, start = [], first
        for length in chunks:
            row = [n < start + length and (n < sink or n >= start - window) for n in seen]
            rows += [row] * length
            start += length
        allowed = torch.tensor(rows, device=device)
        return allowed.repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)


def _take(x_BHWSD: Tensor, columns: list[int]) -> Tensor:
    """Some frames of keys or values; a plain slice where they are consecutive."""
    if not columns:
        return x_BHWSD[:, :, :0]
    first, last = columns[0], columns[-1]
    if last - first + 1 == len(columns):
        return x_BHWSD[:, :, first : last + 1]
    split = next(i for i in range(1, len(columns)) if columns[i] != columns[i - 1] + 1)
    return torch.cat([_take(x_BHWSD, columns[:split]), _take(x_BHWSD, columns[split:])], 2)


def _query_blocks(chunk_lengths: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Group consecutive chunks into blocks of at most ``QUERY_FRAMES`` frames."""
    blocks: list[tuple[int, ...]] = []
    current: tuple[int, ...] = ()
    for length in chunk_lengths:
        if current and sum(current) + length > QUERY_FRAMES:
            blocks.append(current)
            current = ()
        current = (*current, length)
    return [*blocks, current]
