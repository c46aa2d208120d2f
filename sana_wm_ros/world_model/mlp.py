"""The gated convolution after attention: local detail in space, and three taps in time.

Dimension letters: F latent frames, B batch, S tokens (H x W, row-major), C channels, M inner channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.segment import Segment


class _Conv(nn.Module):
    """Holds a convolution under the published name ``<place>.conv``."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv


class GatedConvMLP(nn.Module):
    """GLUMBConvTemp, chunk-causal: the last tap of a chunk's last frame sees nothing."""

    linear_of_tokens = staticmethod(nn.functional.linear)  # ``precision.use_precision`` exchanges it

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.width, config.mlp_width
        self.config = config
        self.inverted_conv = _Conv(nn.Conv2d(width, 2 * inner, 1))
        self.depth_conv = _Conv(nn.Conv2d(2 * inner, 2 * inner, 3, padding=1, groups=2 * inner))
        self.point_conv = _Conv(nn.Conv2d(inner, width, 1, bias=False))
        self.t_conv = nn.Conv2d(width, width, (3, 1), padding=(1, 0), bias=False)
        nn.init.zeros_(self.t_conv.weight)

    def empty(self, batch: int) -> Tensor:
        """The frame before the first one: zeros."""
        return self.t_conv.weight.new_zeros(1, batch, self.config.tokens, self.config.width)

    def forward(self, x_FBSC: Tensor, segment: Segment, tail_1BSC: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the output and the last frame before the temporal taps."""
        F, B, S, _ = x_FBSC.shape
        rows, columns = self.config.latent_height, self.config.latent_width
        wide = self.inverted_conv.conv
        y = nn.functional.silu(self.linear_of_tokens(x_FBSC, wide.weight.flatten(1), wide.bias), inplace=True)
        # Token rows are images with channels last: a view, no copy.
        image = y.view(F * B, rows, columns, -1).permute(0, 3, 1, 2)
        mixed = self.depth_conv.conv(image).permute(0, 2, 3, 1).reshape(F, B, S, -1)
        value, gate = mixed.chunk(2, -1)
        z = self.linear_of_tokens(value * nn.functional.silu(gate), self.point_conv.conv.weight.flatten(1))
        return self.temporal(z, segment, tail_1BSC), z[-1:].contiguous()

    def temporal(self, z_FBSC: Tensor, segment: Segment, tail_1BSC: Tensor) -> Tensor:
        """z plus its three taps in time, as matrix products that add to each other's output."""
        before, now, after = self.t_conv.weight[..., 0].unbind(-1)
        width = z_FBSC.shape[-1]
        if now.dtype == torch.float32:
            out = z_FBSC @ (now.t() + torch.eye(width, device=now.device, dtype=now.dtype))
        else:
            # Beside a 1 the small weights of the diagonal would drown in half precision.
            rows = z_FBSC.flatten(0, -2)
            out = torch.addmm(rows, rows, now.t()).view_as(z_FBSC)
        out[:1].view(-1, width).addmm_(tail_1BSC.reshape(-1, width), before.t())
        if len(z_FBSC) > 1:
            out[1:].view(-1, width).addmm_(z_FBSC[:-1].reshape(-1, width), before.t())
            if max(segment.chunk_lengths) > 1:
                later = z_FBSC[1:] * segment.inside(1)[:-1].to(z_FBSC.dtype)
                out[:-1].view(-1, width).addmm_(later.view(-1, width), after.t())
        return out
