"""All that the blocks share about one stretch of latent frames, made once per forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import Camera
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.keyframes import Recall
from sana_wm_ros.world_model.rope import rotary_tables


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Chunks, positions and camera of F latent frames (letters as in ``camera`` and ``rope``).

    rope: factors of the main heads, (F, 1, S, 1, D/2). rope_camera: (F, 1, S, 1, D/4).
    query_NEE, key_NEE, out_NEE: right factors of row vectors for the camera half of a
        head, N = F B S rows, E = D/2 channels: the token's 4 x 4 matrix once per
        group of four.
    recall: which keyframes each chunk looks up; None without keyframe memory.
    """

    first_frame: int
    chunk_lengths: tuple[int, ...]
    rope: Tensor
    rope_camera: Tensor
    query_NEE: Tensor
    key_NEE: Tensor
    out_NEE: Tensor
    plucker_FBSP: Tensor
    recall: Recall | None = None

    @property
    def frames(self) -> int:
        """Latent frames in the segment."""
        return sum(self.chunk_lengths)

    def inside(self, ahead: int) -> Tensor:
        """1 where the frame ``ahead`` later lies in the same chunk, else 0; (F, 1, 1, 1)."""
        rows = [float(i + ahead < length) for length in self.chunk_lengths for i in range(length)]
        return torch.tensor(rows, device=self.rope.device)[:, None, None, None]


def make_segment(
    config: TransformerConfig,
    camera: Camera,
    first_frame: int,
    chunk_lengths: tuple[int, ...],
    recall: Recall | None = None,
) -> Segment:
    """Tables for the blocks from a camera's way and the way its frames fall into chunks."""
    frames = camera.frames
    if sum(chunk_lengths) != frames or min(chunk_lengths, default=0) < 1:
        raise ValueError(f"chunk lengths {chunk_lengths} do not add up to {frames} frames, each at least 1")
    tables = camera.tables(config)
    device = tables.ray_FBS44.device

    def grouped(matrix_FBS44: Tensor) -> Tensor:
        # One 16 x 16 product per token beats four 4 x 4 ones by far: tiny ones never reach the BLAS.
        groups = torch.eye(config.head_width // 8, device=device)
        return (
            torch.einsum("gh,fbsij->fbsgihj", groups, matrix_FBS44).flatten(-4, -3).flatten(-2).flatten(0, 2)
        )

    rope_main, rope_camera = rotary_tables(config, first_frame, frames, device)
    return Segment(
        first_frame=first_frame,
        chunk_lengths=chunk_lengths,
        rope=rope_main[:, None, :, None],
        rope_camera=rope_camera[:, None, :, None],
        query_NEE=grouped(tables.ray_FBS44),
        key_NEE=grouped(tables.ray_inverse_FBS44.transpose(-1, -2)),
        out_NEE=grouped(tables.ray_FBS44.transpose(-1, -2)),
        plucker_FBSP=tables.plucker_FBSP,
        recall=recall,
    )
