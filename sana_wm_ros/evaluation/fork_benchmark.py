"""Forking a context's state against encoding the past anew for every candidate, as planners without one must."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from sana_wm_ros.evaluation.rollout_benchmark import driven_context, imagine
from sana_wm_ros.evaluation.timing import timed
from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.model import OBSERVE_FRAMES, NavigationContext, NavigationModel
from sana_wm_ros.world_model.state import ModelState


@dataclass(frozen=True, kw_only=True)
class ForkSettings:
    """How many futures start after how long a past, and how far they are imagined."""

    candidates: int = 64
    context_s: float = 60.0
    horizon_s: float = 8.0
    runs: int = 5


@torch.inference_mode()
def measure_fork(
    model: NavigationModel, settings: ForkSettings, progress: Callable[[str], None] = lambda what: None
) -> dict[str, Any]:
    """Seconds until N futures are ready to start, both ways, and what that makes of a whole plan.

    Forked rows are copied here as well, which imagining alone would never do: that is the most a fork can cost.
    Encoding anew is given every advantage: pictures are encoded once, and all candidates go through the
    transformer side by side.
    """
    device = model.device
    context = driven_context(model, settings.context_s)
    assert isinstance(context, NavigationContext)
    shared = context.state.expand(settings.candidates)
    progress("fork")
    forked = timed(
        lambda: shared.changed(lambda tensor, axis: tensor.contiguous()), device, settings.runs, warm_up=2
    )
    progress("encode anew")
    anew = timed(lambda: _encoded_anew(model, context, settings), device, max(2, settings.runs // 2))
    progress("imagine")
    plan = timed(
        lambda: imagine(model, context, settings.candidates, settings.horizon_s), device, settings.runs
    )
    return {
        "fork": forked,
        "encode_anew": anew,
        "imagine": plan,
        "ready_ratio": anew["p50"] / forked["p50"],
        "plan_ratio": (anew["p50"] + plan["p50"]) / (forked["p50"] + plan["p50"]),
    }


def _encoded_anew(model: NavigationModel, context: NavigationContext, settings: ForkSettings) -> ModelState:
    """The state of N candidates after the whole past, segment by segment, from latents as good as any."""
    N, frames, config = settings.candidates, context.latent_frames, model.transformer.config
    assert context.anchor_44 is not None
    poses = torch.eye(4, device=model.device).repeat(N, frames, 1, 1)
    poses[..., 2, 3] = 0.2 * torch.arange(frames, device=model.device)
    track = CameraTrack(
        poses_BF44=poses, before_B44=poses[:, 0], intrinsics_B4=context.intrinsics_4.expand(N, 4)
    )
    shape = (config.latent_channels, config.latent_height, config.latent_width)
    latents = torch.zeros(1, frames, *shape, device=model.device).expand(N, -1, -1, -1, -1)
    clean = latents.new_zeros(1, 1)
    state, start = model.transformer.empty_state(N), 0
    for chunks in model.pieces(frames, OBSERVE_FRAMES):
        stop = start + sum(chunks)
        _, _, state = model.transformer(
            latents[:, start:stop], clean, track.slice(start, stop), state, chunks
        )
        start = stop
    return state
