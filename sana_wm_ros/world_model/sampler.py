"""From noise to latents: the noise that candidates share, the noise levels, and Euler steps between them.

Dimension letters: N candidates, F latent frames, C channels, H and W latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

# What the network foretells for noisy latents at a noise level: (clean latents or flow, features).
Network = Callable[[Tensor, float], tuple[Tensor, Tensor]]


def shared_noise(
    frames: int, shape_CHW: tuple[int, int, int], first_frame: int, generator: torch.Generator | None
) -> Tensor:
    """Unit noise (1, F, C, H, W) on the CPU, frame by frame, so that cutting a call in two changes nothing.

    Without a generator the number of the frame is its seed.
    """
    rows = []
    for frame in range(first_frame, first_frame + frames):
        source = torch.Generator().manual_seed(frame) if generator is None else generator
        rows.append(torch.randn(shape_CHW, generator=source))
    return torch.stack(rows)[None]


def noise_levels(steps: int, shift: float) -> list[float]:
    """Levels from 1 to 0, ``steps`` + 1 of them, moved towards 1 by ``shift`` (1: evenly spaced)."""
    even = [1.0 - i / steps for i in range(steps + 1)]
    return [shift * t / (1.0 + (shift - 1.0) * t) for t in even]


def clean_estimate(x: Tensor, output: Tensor, sigma: float, prediction: str) -> Tensor:
    """The clean latents that an output stands for (flow v = noise - x0, x = (1 - s) x0 + s noise)."""
    return output if prediction == "x0" else x - sigma * output


def euler(x: Tensor, output: Tensor, sigma: float, lower: float, prediction: str) -> Tensor:
    """One step along the flow from level ``sigma`` to ``lower``: x moves towards the estimate; at 0 it lands there."""
    clean = clean_estimate(x, output, sigma, prediction)
    return clean + (x - clean) * (lower / sigma)


def denoise(noise: Tensor, levels: list[float], prediction: str, network: Network) -> tuple[Tensor, Tensor]:
    """Deterministic Euler steps along the flow; returns clean latents and the last pass' features."""
    x = noise
    for sigma, lower in pairwise(levels):
        output, features = network(x, sigma)
        x = euler(x, output, sigma, lower, prediction)
    return x, features
