"""What moving the anchor costs: how far imagination differs afterwards, and how numbers grow on a long way.

For both ways that a camera's place can enter the camera branch. Figures of the way that a model was not
trained with say what the formulas do with its weights, not how well it would imagine.
Dimension letters: F latent frames, C channels, H and W latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sana_wm_ros.world_model.anchor import moved
from sana_wm_ros.world_model.model import NavigationContext, NavigationModel
from sana_wm_ros.world_model.protocol import Intrinsics
from sana_wm_ros.world_model.state import DeltaState
from sana_wm_ros.world_model.transformer import SanaTransformer

TRANSLATIONS = ("homogeneous", "rotary")
LEADS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
NEVER_M = 1e6


@dataclass(frozen=True, kw_only=True)
class ReanchoringSettings:
    """Seconds seen before the anchor moves, metres that it moves by, and metres of straight road."""

    context_s: float = 30.0
    horizon_s: float = 20.0
    by_m: tuple[float, ...] = (1.0, 5.0, 20.0)
    road_m: float = 300.0
    step_m: float = 0.25


@dataclass(frozen=True, kw_only=True)
class SeenDrive:
    """An encoded drive: latents (F, C, H, W) and camera poses (F, 4, 4) at the ends of latent frames."""

    latents_FCHW: Tensor
    poses_F44: Tensor
    intrinsics: Intrinsics


@torch.inference_mode()
def encoded(
    model: NavigationModel, frames_THWC: Tensor, poses_T44: Tensor, intrinsics: Intrinsics
) -> SeenDrive:
    """A drive's raw frames as latents; frames after the last whole latent frame are left out."""
    group = model.spec.frames_per_latent
    whole = 1 + (len(frames_THWC) - 1) // group * group
    parts = [model.autoencoder.encode(frames_THWC[:1].to(model.device), first=True)]
    for start in range(1, whole, 16 * group):
        part = frames_THWC[start : min(start + 16 * group, whole)]
        parts.append(model.autoencoder.encode(part.to(model.device), first=False))
    return SeenDrive(
        latents_FCHW=torch.cat(parts), poses_F44=poses_T44[:whole:group].double(), intrinsics=intrinsics
    )


@torch.inference_mode()
def measure_reanchoring(
    model: NavigationModel,
    drive: SeenDrive,
    settings: ReanchoringSettings,
    progress: Callable[[str], object] = lambda what: None,
) -> dict[str, Any]:
    """For each way: ``later``, the RMS difference to imagining without the move over what is imagined, by
    metres and by seconds ahead; and ``road``, the norm of the loudest head's memory along a straight road.
    """
    results: dict[str, Any] = {"trained_with": model.transformer.config.translation}
    for translation in TRANSLATIONS:
        progress(f"{translation}: later difference")
        later = later_difference(with_translation(model, translation, NEVER_M), drive, settings)
        reach_m = model.transformer.config.reach_m
        road = {}
        for name, reach in (("anchor follows", reach_m), ("anchor stays", NEVER_M)):
            progress(f"{translation}: {settings.road_m:g} m of road, {name}")
            road[name] = road_norms(with_translation(model, translation, reach), drive, settings)
        results[translation] = {"later": later, "road": road}
    return results


def with_translation(model: NavigationModel, translation: str, reach_m: float) -> NavigationModel:
    """The same weights with places entering in another way."""
    config = replace(model.transformer.config, translation=translation, reach_m=reach_m)  # type: ignore[arg-type]
    transformer = SanaTransformer(config).to(model.device)
    transformer.load_state_dict(model.transformer.state_dict())
    changed = NavigationModel(transformer, model.heads, model.autoencoder, model.spec.frame_rate_hz)
    return changed.requires_grad_(False)


def later_difference(
    model: NavigationModel, drive: SeenDrive, settings: ReanchoringSettings
) -> dict[str, dict[str, float]]:
    """RMS difference over RMS of what is imagined, after moving the anchor sideways and ahead alike."""
    period_s = model.spec.latent_period_s
    seen = round(settings.context_s / period_s)
    frames = min(round(settings.horizon_s / period_s), len(drive.poses_F44) - seen)
    if frames < 1:
        raise ValueError(
            f"the drive has {len(drive.poses_F44) * period_s:.0f} s; expected more than "
            f"{settings.context_s:g} s of context"
        )
    poses_1F44 = drive.poses_F44[None, seen : seen + frames]
    context = model.start(drive.intrinsics).extend_latents(drive.latents_FCHW[:seen], drive.poses_F44[:seen])
    _, before = context.fork(1).imagine(poses_1F44)
    found = {}
    for by_m in settings.by_m:
        _, after = reanchored(context, by_m).fork(1).imagine(poses_1F44)
        squared = (after.latents_NFCHW - before.latents_NFCHW)[0].flatten(1).square().mean(1)
        share = (squared / before.latents_NFCHW[0].square().mean()).sqrt()
        leads = {f"{lead:g} s": round(lead / period_s) - 1 for lead in LEADS_S}
        found[f"{by_m:g} m"] = {name: float(share[i]) for name, i in leads.items() if i < frames}
    return found


def reanchored(context: NavigationContext, by_m: float) -> NavigationContext:
    """The context seen from an anchor ``by_m`` away, half to the right and half ahead."""
    assert context.anchor_44 is not None
    by_3 = by_m * torch.tensor([0.5**0.5, 0.0, 0.5**0.5], device=context.anchor_44.device)
    anchor_44 = context.anchor_44.clone()
    anchor_44[:3, 3] += anchor_44[:3, :3] @ by_3.to(anchor_44)
    state = moved(context.model.transformer.config, context.state, by_3)
    return replace(context, state=state, anchor_44=anchor_44)


def road_norms(
    model: NavigationModel, drive: SeenDrive, settings: ReanchoringSettings, marks: int = 10
) -> dict[str, float]:
    """Frobenius norm of the loudest head of any memory, at ``marks`` places along a straight road.

    The drive's pictures are shown again and again on the way.
    """
    frames = round(settings.road_m / settings.step_m / marks)
    poses_F44 = drive.poses_F44[:1].repeat(frames * marks, 1, 1)
    along_F1 = settings.step_m * torch.arange(frames * marks, dtype=poses_F44.dtype)[:, None]
    poses_F44[:, :3, 3] += along_F1 * poses_F44[:, :3, 2]
    rows = torch.arange(frames * marks) % len(drive.latents_FCHW)
    context, norms = model.start(drive.intrinsics), {}
    for start in range(0, frames * marks, frames):
        part = slice(start, start + frames)
        context = context.extend_latents(drive.latents_FCHW[rows[part]], poses_F44[part])
        memories = [b.memory_BHRD for b in context.state.blocks if isinstance(b, DeltaState)]
        loudest = max(float(torch.linalg.matrix_norm(memory).max()) for memory in memories)
        norms[f"{(start + frames) * settings.step_m:g} m"] = loudest
    return norms
