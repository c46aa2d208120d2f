"""Rotary positions over latent frame, row and column, as angles and complex factors (WAN style).

Dimension letters: F latent frames, S tokens per frame (row-major), D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sana_wm_ros.world_model.config import TransformerConfig

THETA = 10_000.0
# Positions: radians per model unit of the fastest pair, each further one of its axis this much slower.
FASTEST, SLOWER = 10.0, 4.0


def axis_widths(width: int) -> tuple[int, int, int]:
    """How many of ``width`` channels turn with frame, row and column."""
    side = 2 * (width // 6)
    return width - 2 * side, side, side


def _angles(position: Tensor, axis_width: int, pairs: int) -> Tensor:
    frequency = THETA ** (-torch.arange(pairs, device=position.device, dtype=torch.float64) * 2 / axis_width)
    return position.double()[..., None] * frequency


def rotary_angles(
    config: TransformerConfig, first_frame: int | Tensor, frames: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Angles of the pairs of main heads (F, S, D/2) and of the camera half (F, S, D/4), radians in float64.

    The camera half takes the first frequencies of each axis' table, not tables of its own width.
    ``first_frame`` counts from the anchor time; a tensor (no axes) stays an input where a pass is recorded.
    """
    width = config.head_width
    widths = axis_widths(width)
    times = first_frame + torch.arange(frames, device=device)
    rows = torch.arange(config.latent_height, device=device)
    columns = torch.arange(config.latent_width, device=device)
    shape = (frames, config.latent_height, config.latent_width)

    def table(pairs: tuple[int, int, int]) -> Tensor:
        t = _angles(times, widths[0], pairs[0])[:, None, None].expand(*shape, -1)
        v = _angles(rows, widths[1], pairs[1])[None, :, None].expand(*shape, -1)
        u = _angles(columns, widths[2], pairs[2])[None, None].expand(*shape, -1)
        return torch.cat([t, v, u], -1).flatten(1, 2)

    t, v, u = (part // 2 for part in widths)
    tc, vc, uc = (part // 2 for part in axis_widths(width // 2))
    return table((t, v, u)), table((tc, vc, uc))


def time_angles(config: TransformerConfig, frames: Tensor) -> Tensor:
    """Angles that move keys and values by ``frames`` in time, (..., 2, 2, D/2): of [keys, values] of [main, camera].

    Rows and columns stay where they are, and values of main heads have no place at all.
    """
    width = config.head_width
    time, camera_time = axis_widths(width)[0], axis_widths(width // 2)[0]
    angle = torch.zeros(*frames.shape, 2, 2, width // 2, device=frames.device, dtype=torch.float64)
    turned = _angles(frames, time, time // 2)
    angle[..., 0, 0, : time // 2] = turned
    # The first half of a camera head moves with the camera instead.
    pairs = slice(width // 4, width // 4 + camera_time // 2)
    angle[..., 1, pairs] = turned[..., None, : camera_time // 2]
    return angle


def unit_complex(angle: Tensor) -> Tensor:
    """exp(i angle), in complex64."""
    return torch.polar(torch.ones_like(angle), angle).to(torch.complex64)


def position_turns(config: TransformerConfig, position_3: Tensor) -> Tensor:
    """Rotations (..., D/2, D/2) of row vectors that say where a frame was seen from, in metres.

    For camera heads with rotary translation: pairs of channels turn with x, z and y (right, ahead, down
    at the anchor) at several rates. Two positions meet as their difference only.
    """
    pairs = config.head_width // 4
    counts = [(pairs + 2 - axis) // 3 for axis in range(3)]
    units = position_3.double()[..., [0, 2, 1]] * config.position_scale
    rates = [FASTEST * SLOWER ** -torch.arange(n, device=units.device, dtype=torch.float64) for n in counts]
    angle = torch.cat([units[..., i : i + 1] * rate for i, rate in enumerate(rates)], -1)
    cosine, sine = angle.cos().float(), angle.sin().float()
    turn = torch.stack([torch.stack([cosine, sine], -1), torch.stack([-sine, cosine], -1)], -2)
    out = turn.new_zeros(*turn.shape[:-3], pairs, 2, pairs, 2)
    index = torch.arange(pairs, device=turn.device)
    out[..., index, :, index, :] = turn.movedim(-3, 0)
    return out.flatten(-4, -3).flatten(-2)
