"""Small parts that several blocks use: RMS norm, the short convolution over time, camera transforms.

Dimension letters: F latent frames, B batch, S tokens, H heads, D head width, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.segment import Segment


class RMSNorm(nn.Module):
    """A learned weight on vectors of unit root mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))


class ShortConv(nn.Module):
    """The weight of a depthwise convolution over time, (C, 1, taps), the present tap last."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, 1, taps))
        with torch.no_grad():
            self.weight[..., -1] = 1.0


def rms_normalise(x: Tensor, weight: Tensor, eps: float = 1e-5) -> Tensor:
    """RMS norm over the last axis; ``weight`` broadcasts."""
    return x * (x.square().mean(-1, keepdim=True) + eps).rsqrt() * weight


def short_conv(x_FBSC: Tensor, tail_EBSC: Tensor, weight_CE: Tensor, segment: Segment) -> Tensor:
    """Two-sided convolution over time: the past across chunks through the tail, the future inside chunks.

    y_t = sum_j w_j x_{t-E+j} + the mirrored sum over later frames of the chunk, the present tap once
    (arXiv 2605.15178; the taps of E = 3 earlier and later frames share weights).
    """
    frames, earlier = x_FBSC.shape[0], tail_EBSC.shape[0]
    taps = weight_CE.t()
    past = torch.cat([tail_EBSC, x_FBSC])
    out = x_FBSC * taps[earlier]
    for back in range(1, earlier + 1):
        out = torch.addcmul(out, past[earlier - back : earlier - back + frames], taps[earlier - back])
    longest = max(segment.chunk_lengths)
    for ahead in range(1, min(earlier, longest - 1) + 1):
        inside = segment.inside(ahead)[:-ahead] * taps[earlier - ahead]
        moved = x_FBSC[ahead:] * inside
        out = out + nn.functional.pad(moved, (0, 0, 0, 0, 0, 0, 0, ahead))
    return out
