"""What the world model learns: to foretell clean latents, blindly or from noisy ones, and to read them.

Dimension letters: B clips, F latent frames, C latent channels, S tokens, K sectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sana_wm_ros.training.clips import ClipBatch
from sana_wm_ros.training.places import SEEN_M, place_errors, travel_distance, view_distance
from sana_wm_ros.training.processes import Processes
from sana_wm_ros.world_model.camera import CameraTrack, latent_intrinsics, relative_to
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.heads import HeadOutputs, Heads
from sana_wm_ros.world_model.sampler import euler, noise_levels
from sana_wm_ros.world_model.transformer import SanaTransformer

MIN_RANGE_M = 0.1
SELF_FORCED_STEPS = (2, 4)


@dataclass(frozen=True, kw_only=True)
class Objective:
    """Weights of the losses and the mix of tasks.

    blind_share: clips whose whole future is pure noise in one pass, exactly as one-step imagination runs;
    the others noise each future chunk by its own sigma (diffusion forcing). sigma_weight_cap: most weight
    of a frame, min(1 / sigma^2, cap). place_weight: how much more a future frame counts whose place was
    seen in the context: what was never seen can't be foretold, and its error drowns the rest. seen_share:
    weight of the heads' losses on frames that were seen.
    contact_weight: how much more a frame in contact counts; export takes it out of the probabilities again.
    self_forced_share: batches whose future is imagined chunk by chunk in 2 to 4 denoising steps, each chunk
    remembered as it was imagined, exactly as such imagination runs (Huang et al., "Self Forcing", NeurIPS 2025,
    with the truth in the place of a teacher).
    """

    blind_share: float = 0.7
    sigma_weight_cap: float = 5.0
    place_weight: float = 1.0
    collision: float = 0.1
    clearance: float = 0.5
    uncertainty: float = 0.05
    place: float = 0.3
    seen_share: float = 0.2
    contact_weight: float = 5.0
    self_forced_share: float = 0.0


def draw_chunks(context: int, frames: int, longest: int, generator: torch.Generator) -> tuple[int, ...]:
    """Random chunk lengths 1 to ``longest``; one boundary lies where the context ends, as it does in use."""
    lengths: list[int] = []
    for part in (1, context - 1, frames - context):  # the first frame is a chunk of its own
        left = part
        while left > 0:
            lengths.append(min(left, int(torch.randint(1, longest + 1, (), generator=generator))))
            left -= lengths[-1]
    return tuple(lengths)


def draw_sigma(
    clips: int, context: int, chunks: tuple[int, ...], blind_share: float, generator: torch.Generator
) -> Tensor:
    """Noise levels (B, F): 0 for what was seen; then 1 in blind clips, else one level per chunk."""
    per_chunk = torch.sigmoid(torch.randn(clips, len(chunks), generator=generator))
    sigma = per_chunk.repeat_interleave(torch.tensor(chunks), dim=1)
    blind = torch.rand(clips, 1, generator=generator) < blind_share
    sigma = torch.where(blind, torch.ones(()), sigma)
    sigma[:, :context] = 0.0
    return sigma


def draw_steps(share: float, generator: torch.Generator) -> int:
    """Denoising steps of a self-forced batch, or 0 for one that is foretold in a single pass."""
    if not share or float(torch.rand((), generator=generator)) >= share:
        return 0
    least, most = SELF_FORCED_STEPS
    return int(torch.randint(least, most + 1, (), generator=generator))


def camera_track(clips: ClipBatch, image: tuple[int, int]) -> CameraTrack:
    """The clips' cameras relative to their anchors; ``image`` is (height, width)."""
    poses = relative_to(clips.anchor_B44[:, None], clips.poses_BF44)
    latent = (clips.latents_BFCHW.shape[-2], clips.latents_BFCHW.shape[-1])
    rows = [latent_intrinsics(*row, image=image, latent=latent) for row in clips.intrinsics_B4.tolist()]
    intrinsics = torch.stack(rows).to(poses.device)
    return CameraTrack(poses_BF44=poses, before_B44=poses[:, 0], intrinsics_B4=intrinsics)


def places_again(clips: ClipBatch) -> Tensor:
    """1 for frames whose view is near one of the context's, else 0; (B, F)."""
    context = int(clips.context_B[0])
    rows = [
        view_distance(poses[:context], poses).min(1) for poses in clips.true_poses_BF3.double().cpu().numpy()
    ]
    return torch.from_numpy(np.stack(rows) <= SEEN_M).float().to(clips.context_B.device)


class Foretelling(nn.Module):
    """Transformer and heads in one forward, which is what several processes share the gradients of."""

    def __init__(self, transformer: SanaTransformer, heads: Heads) -> None:
        super().__init__()
        self.transformer, self.heads = transformer, heads

    def forward(
        self,
        noised: Tensor,
        sigma_BF: Tensor,
        track: CameraTrack,
        chunks: tuple[int, ...],
        context: int,
        steps: int = 0,
    ) -> tuple[Tensor, HeadOutputs]:
        """The transformer's output and what the heads read of it; the first ``context`` frames were seen.

        steps: with any, the rest is noise of which clean latents are imagined in so many, chunk by chunk.
        """
        if steps:
            out, features = self._self_forced(noised, track, chunks, context, steps)
        else:
            out, features, _ = self.transformer(noised, sigma_BF, track, None, chunks, context)
        return out, self.heads(features)

    def _self_forced(
        self, noised: Tensor, track: CameraTrack, chunks: tuple[int, ...], context: int, steps: int
    ) -> tuple[Tensor, Tensor]:
        """Gradients go through each chunk's last step and through memory, not through what was imagined before."""
        config = self.transformer.config
        levels, learns = noise_levels(steps, config.flow_shift), torch.is_grad_enabled()
        clean = noised.new_zeros(1, 1)
        seen, stop = 0, context
        while sum(chunks[:seen]) < context:
            seen += 1
        first, features, state = self.transformer(
            noised[:, :context], clean, track.slice(0, context), None, chunks[:seen], context
        )
        outs, read = [first], [features]
        for length in chunks[seen:]:
            start, stop = stop, stop + length
            here = track.slice(start, stop)
            x = noised[:, start:stop]
            for sigma, lower in pairwise(levels):
                with torch.set_grad_enabled(learns and lower == 0.0):
                    out, features, _ = self.transformer(x, clean + sigma, here, state, (length,))
                    x = euler(x, out, sigma, lower, config.prediction)
            outs.append(x)
            read.append(features)
            if stop < noised.shape[1]:
                _, _, state = self.transformer(outs[-1].detach(), clean, here, state, (length,))
        return torch.cat(outs, dim=1), torch.cat(read, dim=1)


def losses(
    foretelling: nn.Module,
    config: TransformerConfig,
    clips: ClipBatch,
    objective: Objective,
    *,
    image: tuple[int, int],
    max_range_m: float,
    channel_weight_C: Tensor,
    generator: torch.Generator,
    processes: Processes | None = None,
) -> tuple[Tensor, dict[str, float]]:
    """The training loss of a batch whose clips share one context length, and its parts as numbers.

    ``foretelling``: a ``Foretelling``, possibly wrapped. With several processes ``clips`` is the whole batch:
    each takes its rows, and its loss is its share of the batch's, so that losses add up over processes. All is
    worked out where ``channel_weight_C`` is; what is random is drawn on the CPU, the same everywhere.
    """
    processes = Processes() if processes is None else processes
    context = int(clips.context_B[0])
    chunks = draw_chunks(context, clips.latents_BFCHW.shape[1], config.max_chunk_frames, generator)
    steps = draw_steps(objective.self_forced_share, generator)
    blind_share = 1.0 if steps else objective.blind_share
    sigma = draw_sigma(len(clips.latents_BFCHW), context, chunks, blind_share, generator)
    noise = torch.randn(clips.latents_BFCHW.shape, generator=generator)
    if processes.count > 1:
        mine = torch.tensor(processes.mine(len(sigma)))
        clips, sigma, noise = clips.select(mine), sigma[mine], noise[mine]
    device = channel_weight_C.device
    clips, sigma, noise = clips.to(device), sigma.to(device), noise.to(device)
    x0 = clips.latents_BFCHW
    level = sigma[:, :, None, None, None]
    noised = (1 - level) * x0 + level * noise
    out, read = foretelling(noised, sigma, camera_track(clips, image), chunks, context, steps)
    if config.prediction == "flow" and not steps:
        out = noised - level * out
    future = clips.future_BF * clips.valid_BF
    squared = (out - x0).square().mean(dim=(3, 4))
    frame_weight = sigma.clamp_min(1e-3).pow(-2).clamp_max(objective.sigma_weight_cap) * future
    if objective.place_weight != 1.0:
        frame_weight = frame_weight * (1.0 + (objective.place_weight - 1.0) * places_again(clips))
    weighted = (squared * channel_weight_C).mean(2)
    latent = _mean(weighted, frame_weight, processes)

    parts = _head_losses(read, clips, squared.mean(2).detach(), objective, max_range_m, processes)
    total = latent
    for name, value in parts.items():
        total = total + getattr(objective, name) * value
    blind = future * (sigma >= 1.0)
    numbers = {name: float(processes.total(value)) for name, value in parts.items()}
    numbers["latent"] = float(processes.total(latent))
    if (
        float(processes.total(blind.sum())) > 0
    ):  # a batch of one long clip may have no blind frame; zero would flatter
        numbers["self_forced_error" if steps else "blind_error"] = float(
            processes.total(_mean(squared.mean(2), blind, processes))
        )
    return total, numbers


def _mean(value: Tensor, weight: Tensor, processes: Processes) -> Tensor:
    """This process's share of the weighted mean over all of them."""
    return (weight * value).sum() / processes.total(weight.sum()).clamp_min(1.0)


def _head_losses(
    read: HeadOutputs,
    clips: ClipBatch,
    error_BF: Tensor,
    objective: Objective,
    ceiling_m: float,
    processes: Processes,
) -> dict[str, Tensor]:
    future = clips.future_BF
    share = future + objective.seen_share * (1 - future)
    weight = share * clips.valid_BF

    # Drivers that react put the contact into their later commands; only those that never do may teach it.
    told = share * clips.known_contact_BF * clips.open_loop_B[:, None]
    positive = torch.tensor(objective.contact_weight, device=told.device)
    crossed = F.binary_cross_entropy_with_logits(
        read.collision_logit_BF, clips.contact_BF, pos_weight=positive, reduction="none"
    )
    measured = clips.clearance_BFK.isfinite()
    target = clips.clearance_BFK.nan_to_num(nan=ceiling_m).clamp(MIN_RANGE_M, ceiling_m).log()
    ranges = F.smooth_l1_loss(read.log_clearance_BFK, target, beta=0.2, reduction="none") * measured
    ranges = ranges.sum(2) / measured.sum(2).clamp_min(1)
    ranged = weight * measured.any(2)
    doubt = (read.log_uncertainty_BF - 0.5 * error_BF.clamp_min(1e-4).log()).square()
    distance = torch.stack(
        [torch.from_numpy(travel_distance(poses.cpu().numpy())).float() for poses in clips.true_poses_BF3]
    ).to(told.device)
    error, pairs = place_errors(read.place_BFE, distance, weight)
    return {
        "collision": _mean(crossed, told, processes),
        "clearance": _mean(ranges, ranged, processes),
        "uncertainty": _mean(doubt, future * weight, processes),
        "place": _mean(error, pairs, processes),
    }
