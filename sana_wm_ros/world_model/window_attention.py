"""Exact attention over the last frames and the first: the short, sharp half of the memory.

A frame sees its own chunk, the ``window_frames`` before the chunk and the sink frames, whose keys and
values the state keeps; with keyframe memory also the few past frames that were looked up for its chunk.
Long segments go block by block of queries, so nothing is ever F x F.
Dimension letters: F latent frames, B batch, S tokens, H heads (main, then camera), D head width,
W frames of keys.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.attention import TwoBranchAttention
from sana_wm_ros.world_model.keyframes import Recall
from sana_wm_ros.world_model.layers import ATTENTION_ORDER
from sana_wm_ros.world_model.rope import unit_complex
from sana_wm_ros.world_model.segment import Segment
from sana_wm_ros.world_model.state import WindowState

# Frames of queries per call: more waste keys that the mask hides, fewer waste calls. Chunks that look up
# keyframes go one by one, because each has others.
QUERY_FRAMES = 8


class WindowAttention(TwoBranchAttention):
    """One softmax block, main and camera branch in one call (they share nothing but the mask)."""

    def empty(self, batch: int, mlp_tail_1BSC: Tensor) -> WindowState:
        """The state before the first frame."""
        config, new = self.config, self.proj.weight.new_zeros
        rest = (config.tokens, config.head_width)
        window = new(batch, 2 * config.heads, 0, *rest, dtype=self.dtype)
        return WindowState(
            frames=(),
            keys_BHWSD=window,
            values_BHWSD=window,
            mlp_tail_1BSC=mlp_tail_1BSC,
            bank_BK2HSD=new(batch, config.keyframes, 2, 2 * config.heads, *rest, dtype=self.dtype)
            if config.keyframes
            else None,
        )

    @property
    def dtype(self) -> torch.dtype:
        """What queries, keys and values are rounded to."""
        return torch.bfloat16 if self.config.softmax_bf16 else self.proj.weight.dtype

    def forward(self, x_FBSC: Tensor, segment: Segment, state: WindowState) -> tuple[Tensor, WindowState]:
        """Attend; returns the block's output and the state with the frames to keep."""
        F = x_FBSC.shape[0]
        q, k, v, gate = self.project(x_FBSC)
        query_weight, key_weight = self.norm_weights()
        q, _ = self.queries(q, query_weight, segment, ATTENTION_ORDER)
        k, _ = self.keys(k, key_weight, segment, ATTENTION_ORDER)
        v = self.values(v, segment, ATTENTION_ORDER)
        q, k, v = q.to(self.dtype), k.to(self.dtype), v.to(self.dtype)
        if not self.config.causal_softmax:
            out = self.softmax(q.flatten(2, 3), k.flatten(2, 3), v.flatten(2, 3), None).view_as(q)
            return self.finish(out.permute(2, 0, 3, 1, 4), None, gate, segment), state
        # Frame by frame: the gradient of a slice is as large as what it was cut from, for every chunk.
        keys = (*state.keys_BHWSD.unbind(2), *k.unbind(2))
        values = (*state.values_BHWSD.unbind(2), *v.unbind(2))
        numbers = (*state.frames, *range(segment.first_frame, segment.first_frame + F))
        recalled, bank = _recalled(state.bank_BK2HSD, k, v, segment.recall)

        out = torch.cat(self.attend(q, keys, values, numbers, segment, recalled), 2)
        kept = self.kept(numbers, segment.first_frame + F)
        return self.finish(out.permute(2, 0, 3, 1, 4), None, gate, segment), replace(
            state,
            frames=tuple(numbers[i] for i in kept),
            keys_BHWSD=torch.stack([keys[i] for i in kept], 2),
            values_BHWSD=torch.stack([values[i] for i in kept], 2),
            bank_BK2HSD=bank,
        )

    def kept(self, numbers: tuple[int, ...], next_frame: int) -> list[int]:
        """Which columns a chunk that starts at ``next_frame`` may see."""
        sink, window = self.config.sink_frames, self.config.window_frames
        return [i for i, n in enumerate(numbers) if (n < sink or n >= next_frame - window) and n < next_frame]

    def attend(
        self,
        q: Tensor,
        keys: tuple[Tensor, ...],
        values: tuple[Tensor, ...],
        numbers: tuple[int, ...],
        segment: Segment,
        recalled: tuple[Tensor, ...],
    ) -> list[Tensor]:
        """Outputs (B, H, frames, S, D) of one block of query frames after the other.

        keys, values: (B, H, S, D) of every frame, which ``numbers`` numbers. recalled: keys and values
        (B, R, 2, H, S, D) for each chunk, or nothing.
        """
        S, offset = q.shape[3], len(numbers) - q.shape[2]
        blocks = _query_blocks(segment.chunk_lengths, 1 if recalled else QUERY_FRAMES)
        outs, start = [], 0
        for index, (chunks, q_block) in enumerate(
            zip(blocks, q.split([sum(b) for b in blocks], 2), strict=True)
        ):
            stop = start + sum(chunks)
            first = segment.first_frame + start
            columns = [*self.kept(numbers, first), *range(offset + start, offset + stop)]
            k, v = [keys[i] for i in columns], [values[i] for i in columns]
            mask = self.mask(chunks, first, [numbers[i] for i in columns], S, q.device)
            if segment.recall is not None:
                more_k, more_v = recalled[index].unbind(2)
                k, v = [*k, *more_k.unbind(1)], [*v, *more_v.unbind(1)]
                mask = segment.recall.mask(index, len(columns), S)
            out = self.softmax(q_block.flatten(2, 3), torch.cat(k, 2), torch.cat(v, 2), mask)
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
            row = tuple(n < start + length and (n < sink or n >= start - window) for n in seen)
            rows += [row] * length
            start += length
        make = _make_mask if torch.compiler.is_compiling() else _kept_mask
        return make(tuple(rows), tokens, device)


def _make_mask(rows: tuple[tuple[bool, ...], ...], tokens: int, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # kept tensors serve training as well
        return torch.tensor(rows, device=device).repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)


# Few differ, and a copy to a GPU in every pass would wait for it each time.
_kept_mask = lru_cache(maxsize=32)(_make_mask)


def _recalled(
    bank_BK2HSD: Tensor | None, k_BHFSD: Tensor, v_BHFSD: Tensor, recall: Recall | None
) -> tuple[tuple[Tensor, ...], Tensor | None]:
    """Keys and values (B, R, 2, H, S, D) that each chunk looks up, at their time; and the next bank."""
    if bank_BK2HSD is None or recall is None:
        return (), bank_BK2HSD
    entries = bank_BK2HSD
    if recall.kept_BK is not None:
        own = torch.stack([k_BHFSD, v_BHFSD], 1).permute(0, 3, 1, 2, 4, 5)
        entries = torch.cat([bank_BK2HSD, own], 1)
    found = _rows(entries, recall.reads_BCR.flatten(1)).unflatten(1, recall.reads_BCR.shape[1:])
    # Split into branches and pairs, which turn.
    pairs = found.float().unflatten(-1, (-1, 2)).unflatten(4, (2, -1))
    turned = _turned(pairs, recall.angles_BCR22P[..., None, None, :]).flatten(-2).flatten(4, 5)
    turned = turned.to(bank_BK2HSD.dtype)
    return turned.unbind(1), bank_BK2HSD if recall.kept_BK is None else _rows(entries, recall.kept_BK)


def _turned(pairs: Tensor, angles: Tensor) -> Tensor:
    """Pairs (..., 2) turned by angles: as complex numbers, except where an exporter knows none."""
    if not torch.compiler.is_compiling():
        return torch.view_as_real(torch.view_as_complex(pairs) * unit_complex(angles))
    cosine, sine = angles.cos().float(), angles.sin().float()
    real, imaginary = pairs.unbind(-1)
    return torch.stack([real * cosine - imaginary * sine, real * sine + imaginary * cosine], -1)


def _rows(entries_BE: Tensor, index_BI: Tensor) -> Tensor:
    """Entries of each row of the batch, in the order given; forks that share a row do not copy it."""
    if entries_BE.stride(0) == 0:
        return entries_BE[0].index_select(0, index_BI.flatten()).unflatten(0, index_BI.shape)
    row = torch.arange(index_BI.shape[0], device=index_BI.device)[:, None]
    return entries_BE[row, index_BI]


def _query_blocks(chunk_lengths: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
    """Group consecutive chunks into blocks of at most ``most`` frames, or of one chunk."""
    blocks: list[tuple[int, ...]] = []
    current: tuple[int, ...] = ()
    for length in chunk_lengths:
        if current and sum(current) + length > most:
            blocks.append(current)
            current = ()
        current = (*current, length)
    return [*blocks, current]
