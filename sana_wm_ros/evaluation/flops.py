"""How much arithmetic the denoiser does, and how much a GPU could do: their ratio says how well it is used."""

from __future__ import annotations

import dataclasses

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.model import IMAGINE_FRAMES
from sana_wm_ros.world_model.transformer import SanaTransformer

# Dense bf16 rates of tensor cores from the data sheets, operations per second.
BF16_RATES = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}


def bf16_rate(device: torch.device) -> float | None:
    """The data sheet's rate of a GPU, or None where none is known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((rate for known, rate in BF16_RATES.items() if known in name), None)


@torch.no_grad()
def denoiser_flops(config: TransformerConfig) -> float:
    """Multiplications and additions of the transformer per candidate and imagined latent frame.

    Counted on the CPU with batched products for attention, once the window is full; keyframe memory left out.
    """
    transformer = SanaTransformer(
        dataclasses.replace(config, keyframes=0, keyframe_guide=False, softmax_bf16=False)
    )
    seen = config.window_frames + config.sink_frames
    frames = seen + IMAGINE_FRAMES
    track = CameraTrack(
        poses_BF44=torch.eye(4).repeat(1, frames, 1, 1),
        before_B44=torch.eye(4)[None],
        intrinsics_B4=torch.tensor([[3.0, 3.0, 2.5, 1.5]]),
    )
    x = torch.zeros(1, frames, config.latent_channels, config.latent_height, config.latent_width)
    level = x.new_zeros(1, 1)
    _, _, state = transformer(x[:, :seen], level, track.slice(0, seen))
    # The counter does not know the CPU's fused attention.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        transformer(x[:, seen:], level, track.slice(seen, frames), state)
    return counter.get_total_flops() / IMAGINE_FRAMES
