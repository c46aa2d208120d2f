"""Moving the anchor: poses are relative to a place, and what a state remembers moves with it.

Only the origin moves. The anchor's axes stay, since turning the world changes nothing, and so does the
count of frames, since rotary times meet as differences only.
Dimension letters as in ``state``; E channels of a camera head that its place moves (D/2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import relative_to
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.rope import position_turns
from sana_wm_ros.world_model.segment import grouped
from sana_wm_ros.world_model.state import DeltaState, ModelState, WindowState

# Frobenius norm of one head's memory. Far above what is met: trained ``nano`` has below 100 indoors and
# 400 after 300 m of straight road with its anchor left behind (``sana_wm benchmark reanchoring``).
LOUDEST = 1000.0


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Chunks that go through the model together, the anchor of their poses, and how far it moved for them.

    by_3: metres along the anchor's axes; None where it stayed.
    """

    chunk_lengths: tuple[int, ...]
    anchor_44: Tensor
    by_3: Tensor | None


def anchored_pieces(
    chunk_lengths: tuple[int, ...],
    poses_F44: Tensor,
    before_44: Tensor,
    anchor_44: Tensor,
    *,
    reach_m: float,
    most: int,
) -> list[Piece]:
    """Chunks in pieces of about ``most`` frames; before a chunk that begins out of reach the anchor moves there.

    ``before_44`` is the camera's pose before the first frame. Where the anchor moves follows from the poses
    alone, so a context comes out the same in one call or many.
    """
    pieces: list[Piece] = []
    start = 0
    for length in chunk_lengths:
        away_3, by_3 = relative_to(anchor_44, before_44)[:3, 3], None
        if float(away_3.norm()) > reach_m:
            anchor_44, by_3 = anchor_44.clone(), away_3
            anchor_44[:3, 3] = before_44[:3, 3]
        last = pieces[-1].chunk_lengths if pieces else ()
        if by_3 is not None or not pieces or sum(last) + length > most:
            pieces.append(Piece(chunk_lengths=(length,), anchor_44=anchor_44, by_3=by_3))
        else:
            pieces[-1] = replace(pieces[-1], chunk_lengths=(*last, length))
        start += length
        before_44 = poses_F44[start - 1]
    return pieces


def moved(config: TransformerConfig, state: ModelState, by_3: Tensor) -> ModelState:
    """The same memories seen from an anchor that lies ``by_3`` metres further along its own axes.

    Keys k and values v of camera heads become S k and S v, and queries will be made as S^-T q; so window
    and keyframes read what they read before, and so does M' = S M S^T of the delta memory.

    Rotary translation: S is orthogonal, nothing ever differs. Homogeneous translation: S is a shear, so
    later corrections of M' differ from those of M, and one shear after the other makes M' grow faster than
    the corrections shrink it, without bound on a long straight road. Memories that a move would leave
    larger than both ``LOUDEST`` and what they were are therefore turned down to that.
    """
    S_EE = _place_change(config, by_3.to(state.blocks[0].mlp_tail_1BSC.device))
    blocks = tuple(_moved_block(block, S_EE) for block in state.blocks)
    keyframes = state.keyframes
    if keyframes is not None:
        poses = keyframes.poses_BK44.clone()
        poses[..., :3, 3] -= by_3.to(poses)
        keyframes = replace(keyframes, poses_BK44=poses)
    return replace(state, blocks=blocks, keyframes=keyframes)


def _place_change(config: TransformerConfig, by_3: Tensor) -> Tensor:
    """S^T, which row vectors are multiplied by."""
    if config.translation == "rotary":
        return position_turns(config, -by_3)
    shift = torch.eye(4, device=by_3.device)
    shift[:3, 3] = -by_3 * config.position_scale
    return grouped(shift.t(), config.head_width // 8)


def _moved_block(block: DeltaState | WindowState, turn_EE: Tensor) -> DeltaState | WindowState:
    if isinstance(block, WindowState):
        bank = block.bank_BK2HSD
        return replace(
            block,
            keys_BHWSD=_moved_heads(block.keys_BHWSD, 1, turn_EE),
            values_BHWSD=_moved_heads(block.values_BHWSD, 1, turn_EE),
            bank_BK2HSD=None if bank is None else _moved_heads(bank, 3, turn_EE),
        )
    memory = _moved_heads(_moved_heads(block.memory_BHRD.mT, 1, turn_EE).mT, 1, turn_EE)
    limit = torch.linalg.matrix_norm(block.memory_BHRD, keepdim=True).clamp(min=LOUDEST)
    size = torch.linalg.matrix_norm(memory, keepdim=True).clamp(min=1.0)
    return replace(block, memory_BHRD=memory * (limit / size).clamp(max=1.0))


def _moved_heads(x: Tensor, axis: int, turn_EE: Tensor) -> Tensor:
    """The camera heads' first half, the last axis, times a matrix; heads are counted along ``axis``."""
    main, camera = x.chunk(2, axis)
    place, rest = camera.split([len(turn_EE), camera.shape[-1] - len(turn_EE)], -1)
    return torch.cat([main, torch.cat([place @ turn_EE.to(place.dtype), rest], -1)], axis)
