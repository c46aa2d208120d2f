"""All that the blocks share about one stretch of latent frames, made once per forward pass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import Camera
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.keyframes import Recall
from sana_wm_ros.world_model.rope import position_turns, rotary_angles, unit_complex


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Chunks, positions and camera of F latent frames (letters as in ``camera`` and ``rope``).

    angles: rotary angles of the main heads, (F, S, D/2). camera_angles: (F, S, D/4).
    query_FBS44, key_FBS44: right factors of row vectors, for each group of four channels in the camera
        half of a head. What queries turn by, outputs turn back by, transposed.
    groups: groups of four in that half.
    place_FB1EE: rotations of that half by the camera's place, which follow the factors; None where those say it.
    recall: which keyframes each chunk looks up; None without keyframe memory.
    """

    first_frame: int
    chunk_lengths: tuple[int, ...]
    angles: Tensor
    camera_angles: Tensor
    query_FBS44: Tensor
    key_FBS44: Tensor
    groups: int
    plucker_FBSP: Tensor
    recall: Recall | None = None
    place_FB1EE: Tensor | None = None

    @property
    def frames(self) -> int:
        """Latent frames in the segment."""
        return sum(self.chunk_lengths)

    @cached_property
    def query_NEE(self) -> Tensor:
        """The queries' factors for all groups of a token at once, N = F B S rows, E = D/2 channels."""
        return self._factors(self.query_FBS44)

    @cached_property
    def key_NEE(self) -> Tensor:
        """The same of keys and values."""
        return self._factors(self.key_FBS44)

    @cached_property
    def out_NEE(self) -> Tensor:
        """The same of attention's outputs: back from where queries are."""
        return self.query_NEE.mT.contiguous()

    def _factors(self, matrix_FBS44: Tensor) -> Tensor:
        factors = grouped(matrix_FBS44, self.groups)
        return (factors if self.place_FB1EE is None else factors @ self.place_FB1EE).flatten(0, 2)

    @cached_property
    def rope(self) -> Tensor:
        """Rotary factors of the main heads, (F, 1, S, 1, D/2) complex."""
        return unit_complex(self.angles)[:, None, :, None]

    @cached_property
    def rope_camera(self) -> Tensor:
        """Those of the camera heads, (F, 1, S, 1, D/4)."""
        return unit_complex(self.camera_angles)[:, None, :, None]

    @cached_property
    def rope_pairs(self) -> tuple[Tensor, Tensor]:
        """Rotary factors of main and of camera heads as real numbers, (F S, pairs, 2)."""
        main, camera = (
            torch.stack([angle.cos(), angle.sin()], -1).float().flatten(0, 1)
            for angle in (self.angles, self.camera_angles)
        )
        return main, camera

    def inside(self, ahead: int) -> Tensor:
        """1 where the frame ``ahead`` later lies in the same chunk, else 0; (F, 1, 1, 1)."""
        return _inside(self.chunk_lengths, ahead, self.angles.device)


def _inside(chunk_lengths: tuple[int, ...], ahead: int, device: torch.device) -> Tensor:
    # What is traced by a compiler or exporter is no tensor to keep.
    make = _make_inside if torch.compiler.is_compiling() else _kept_inside
    return make(chunk_lengths, ahead, device)


def _make_inside(chunk_lengths: tuple[int, ...], ahead: int, device: torch.device) -> Tensor:
    # Kept, because a copy to a GPU in every block of every pass would wait for it each time.
    rows = [float(i + ahead < length) for length in chunk_lengths for i in range(length)]
    with torch.inference_mode(False):  # kept tensors serve training as well
        return torch.tensor(rows, device=device)[:, None, None, None]


_kept_inside = lru_cache(maxsize=256)(_make_inside)


def grouped(matrix_44: Tensor, groups: int) -> Tensor:
    """A 4 x 4 matrix once per group of four channels, (..., E, E).

    One such product per token beats several 4 x 4 ones by far: tiny ones never reach the BLAS.
    """
    identity = torch.eye(groups, device=matrix_44.device)
    return torch.einsum("gh,...ij->...gihj", identity, matrix_44).flatten(-4, -3).flatten(-2)


def make_segment(
    config: TransformerConfig,
    camera: Camera,
    first_frame: int,
    chunk_lengths: tuple[int, ...],
    recall: Recall | None = None,
    position: Tensor | None = None,
) -> Segment:
    """Tables for the blocks from a camera's way and the way its frames fall into chunks.

    position: where rotary positions begin, as a tensor, if not simply at ``first_frame``: an input of recorded passes.
    """
    frames = camera.frames
    if sum(chunk_lengths) != frames or min(chunk_lengths, default=0) < 1:
        raise ValueError(f"chunk lengths {chunk_lengths} do not add up to {frames} frames, each at least 1")
    tables = camera.tables(config)
    begin = first_frame if position is None else position
    angles, camera_angles = rotary_angles(config, begin, frames, tables.ray_FBS44.device)
    place = None
    if tables.place_FB3 is not None:
        place = position_turns(config, tables.place_FB3)[:, :, None]
    return Segment(
        first_frame=first_frame,
        chunk_lengths=chunk_lengths,
        angles=angles,
        camera_angles=camera_angles,
        query_FBS44=tables.ray_FBS44.float(),
        key_FBS44=tables.ray_inverse_FBS44.float().transpose(-1, -2),
        groups=config.head_width // 8,
        plucker_FBSP=tables.plucker_FBSP,
        recall=recall,
        place_FB1EE=place,
    )
