"""Samplers of the published weights: the whole clip at once, or chunk after chunk with a state in between.

Both take Euler steps along the flow, x <- x - (sigma - sigma') v with v = noise - clean, from noise that is drawn
frame by frame, so a longer clip begins with the noise of a shorter one.
Dimension letters: B batch, F latent frames, P of them given, C channels, H and W latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import Camera
from sana_wm_ros.world_model.sampler import shared_noise
from sana_wm_ros.world_model.state import ModelState
from sana_wm_ros.world_model.text import ReadText
from sana_wm_ros.world_model.transformer import TIMESTEPS, SanaTransformer

# What the distilled weights were trained on: flow shift 8 of 1, 3/4, 1/2, 1/4, as whole timesteps.
FEW_STEPS = (1000, 960, 889, 727)
GUIDANCE = 5.0


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """A transformer with its caption; with a negative one the flow is pushed away from that (CFG).

    v = v_negative + guidance (v_caption - v_negative), both halves with the same camera and latents.
    """

    transformer: SanaTransformer
    text: ReadText
    negative: ReadText | None = None
    guidance: float = GUIDANCE

    @property
    def guided(self) -> bool:
        """Whether there is a negative caption that changes anything."""
        return self.negative is not None and self.guidance != 1.0

    def empty(self, batch: int) -> tuple[ModelState, ...]:
        """States before the first frame: of the caption's pass and, if there is one, of the negative one's."""
        return (self.transformer.empty_state(batch),) * (2 if self.guided else 1)

    def __call__(
        self, x_BFCHW: Tensor, sigma_BF: Tensor, camera: Camera, states: tuple[ModelState, ...],
        chunks: tuple[int, ...],
    ) -> tuple[Tensor, tuple[ModelState, ...]]:  # fmt: skip
        """The flow, and the states that this pass leaves."""
        texts = (self.text, self.negative) if self.guided else (self.text,)
        flows, left = [], []
        for text, state in zip(texts, states, strict=True):
            flow, _, new = self.transformer(x_BFCHW, sigma_BF, camera, state, chunks, text=text)
            flows.append(flow)
            left.append(new)
        if self.guided:
            return flows[1] + self.guidance * (flows[0] - flows[1]), tuple(left)
        return flows[0], tuple(left)


def flow_levels(steps: int, shift: float) -> list[float]:
    """Noise levels from 1 to 0 as diffusers' FlowMatchEulerDiscreteScheduler sets them, ``steps`` + 1 numbers.

    It spaces them evenly between the *shifted* ends of 1 ... 1/1000 and then shifts again.
    """
    if steps < 1:
        raise ValueError(f"{steps} denoising steps; expected at least 1")

    def shifted(t: float) -> float:
        return shift * t / (1.0 + (shift - 1.0) * t)

    low = shifted(1.0 / TIMESTEPS)
    even = [1.0 + (low - 1.0) * i / max(steps - 1, 1) for i in range(steps)]
    return [*(shifted(t) for t in even), 0.0]


def step_levels(timesteps: Sequence[float]) -> list[float]:
    """Noise levels of given timesteps (1000 is pure noise), ending in 0."""
    levels = [t / TIMESTEPS for t in timesteps] + [0.0]
    if len(levels) < 2 or levels[0] > 1.0 or any(a <= b for a, b in pairwise(levels)):
        raise ValueError(
            f"timesteps are {list(timesteps)}; expected falling ones from at most 1000 to above 0"
        )
    return levels


def chunks_between(start: int, stop: int, size: int) -> tuple[int, ...]:
    """How frames ``start`` to ``stop`` fall into chunks of a stream: 1 + size frames first, then size each.

    That is how the published clips (3 k + 1 latent frames in chunks of 3) were cut; a last one may be shorter.
    """
    ends = [stop]
    # Chunks end at 1 + size, 1 + 2 size, ...
    end = 1 + size * max(1, (start - 1) // size + 1)
    while end < stop:
        ends.insert(-1, end)
        end += size
    return tuple(b - a for a, b in pairwise([start, *ends])) if stop > start else ()


def denoised(
    prompted: Prompted, given_BPCHW: Tensor, noise_BFCHW: Tensor, camera: Camera,
    states: tuple[ModelState, ...], levels: Sequence[float],
) -> Tensor:  # fmt: skip
    """One chunk from noise to clean latents (B, P + F, C, H, W); the given ones lead it and stay as they are.

    Given frames enter at timestep 0, as the conditioning frame of the published weights does. ``states`` are
    read, not changed.
    """
    given = given_BPCHW.shape[1]
    x = torch.cat([given_BPCHW, noise_BFCHW], 1)
    frames = x.shape[1]
    for sigma, lower in pairwise(levels):
        sigma_BF = x.new_full((len(x), frames), sigma)
        sigma_BF[:, :given] = 0.0
        flow, _ = prompted(x, sigma_BF, camera, states, (frames,))
        x = torch.cat([given_BPCHW, x[:, given:] - (sigma - lower) * flow[:, given:]], 1)
    return x


@torch.no_grad()
def sample_clip(
    prompted: Prompted, camera: Camera, *, first_CHW: Tensor | None = None, steps: int | None = None,
    shift: float | None = None, generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """All frames of a clip together, (F, C, H, W), with weights that look both ways.

    ``first_CHW``: the latent of a first frame to start from. steps, shift: the preset's own where None.
    """
    config = prompted.transformer.config
    levels = flow_levels(steps or config.default_steps, config.flow_shift if shift is None else shift)
    given = _given(prompted, first_CHW)
    noise = _noise(prompted, camera.frames, 0, generator)[:, given.shape[1] :]
    return denoised(prompted, given, noise, camera, prompted.empty(1), levels)[0]


@torch.no_grad()
def stream_clip(
    prompted: Prompted, camera: Camera, *, first_CHW: Tensor | None = None,
    timesteps: Sequence[float] = FEW_STEPS, generator: torch.Generator | None = None,
) -> Iterator[Tensor]:  # fmt: skip
    """Chunk after chunk of a clip, (F, C, H, W) each, at a cost and in a state that do not grow.

    Every chunk is denoised from the state of clean frames, which these passes only read; then one pass over the
    finished chunk at timestep 0 writes the state anew (self-forcing). A longer camera path begins with the same
    chunks, as long as the shorter one ends with a whole chunk.
    """
    levels, given = step_levels(timesteps), _given(prompted, first_CHW)
    states, start = prompted.empty(1), 0
    for length in chunks_between(0, camera.frames, prompted.transformer.config.chunk_frames):
        part = camera.slice(start, start + length)
        noise = _noise(prompted, length, start, generator)[:, given.shape[1] :]
        x = denoised(prompted, given, noise, part, states, levels)
        yield x[0]
        start += length
        given = x[:, :0]
        if start < camera.frames:
            _, states = prompted(x, x.new_zeros(1, length), part, states, (length,))


def _given(prompted: Prompted, first_CHW: Tensor | None) -> Tensor:
    """The conditioning frame, or none of them, as (1, P, C, H, W)."""
    config = prompted.transformer.config
    size = (config.latent_channels, config.latent_height, config.latent_width)
    device = prompted.transformer.device
    if first_CHW is None:
        return torch.zeros(1, 0, *size, device=device)
    if tuple(first_CHW.shape) != size or not first_CHW.isfinite().all():
        raise ValueError(
            f"the first latent has shape {tuple(first_CHW.shape)}; expected {size}, all of it finite"
        )
    return first_CHW.float().to(device)[None, None]


def _noise(prompted: Prompted, frames: int, first: int, generator: torch.Generator | None) -> Tensor:
    """Unit noise (1, F, C, H, W) for frames ``first`` and on; the conditioning frame's is drawn and unused."""
    config = prompted.transformer.config
    size = (config.latent_channels, config.latent_height, config.latent_width)
    return shared_noise(frames, size, first, generator).to(prompted.transformer.device)
