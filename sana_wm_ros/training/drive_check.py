"""One drive held against its own imagination: every future frame, beside guesses that know no model.

Dimension letters: F future latent frames, M seen latent frames, R raw frames of a latent one, K sectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.training.episodes import Episode
from sana_wm_ros.training.futures import commanded, observe
from sana_wm_ros.training.places import SEEN_M, place_target, travel_distance, view_distance
from sana_wm_ros.world_model.model import NavigationContext, NavigationModel
from sana_wm_ros.world_model.protocol import Rollout
from sana_wm_ros.world_model.transformer import SanaTransformer

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

BASELINES = ("last frame", "context mean", "nearest view")
PERCEPTUAL_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # seconds ahead at which pictures are compared as people do
Perceptual = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Floats]
"""How different pictures (T, H, W, 3) look from others, (T,); 0: equal."""
AWAY_S = 30.0  # a place comes back when for so long no view was near it
CUT_S = 5.0
MIN_RANGE_M = 0.1


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """What is taken from a model to see what it was worth; the defaults take nothing.

    steps: denoising steps (None: the preset's). memory_s: only the last so many seconds were seen.
    keyframes: False takes the keyframe memory and its guide away. window: latent frames that exact attention
    looks back (None: the model's).
    """

    steps: int | None = None
    memory_s: float | None = None
    keyframes: bool = True
    window: int | None = None

    def of(self, model: NavigationModel) -> NavigationModel:
        """The model without what is taken from its architecture; the same weights where they remain."""
        config = model.transformer.config
        if not self.keyframes:
            config = replace(config, keyframes=0, keyframe_guide=False)
        if self.window is not None:
            config = replace(config, window_frames=self.window)
        if config == model.transformer.config:
            return model
        less = SanaTransformer(config)
        kept = set(less.state_dict())
        less.load_state_dict({n: v for n, v in model.transformer.state_dict().items() if n in kept})
        changed = NavigationModel(less, model.heads, model.autoencoder, model.spec.frame_rate_hz)
        return changed.to(model.device).requires_grad_(False)


@dataclass(frozen=True, kw_only=True)
class DriveCheck:
    """A drive's future frame by frame.

    psnr_F: decoded frames against what was then seen, dB by name. sharpness_F: how much of the truth's
    edges an imagined frame has. still_error_F: latent distance (RMS) of a held pose from the last view.
    place_seen_F: a view within ``SEEN_M`` was seen in the context. back_F: such a view, and none nearer than
    that for ``AWAY_S`` before this visit. range_error_F: mean absolute log error by name; "seen
    then" is read after the frame itself was seen, so that what is over it is imagination's share. uncertainty_F and
    latent_error_F: what the model expected of itself, and what came of it. place_correlation: of distances between
    imagined place embeddings with those that driving distances ask for. pictures: the last raw frame of
    each latent frame by name, (F, H, W, 3). perceptual_L: how different these look from the truth at
    ``PERCEPTUAL_S`` (as many as the drive reaches) by name; empty where nobody can tell.
    """

    name: str
    psnr_F: dict[str, Floats]
    sharpness_F: Floats
    still_error_F: Floats
    place_seen_F: Bools
    back_F: Bools
    range_error_F: dict[str, Floats]
    uncertainty_F: Floats
    latent_error_F: Floats
    place_correlation: float
    pictures: dict[str, NDArray[np.uint8]]
    perceptual_L: dict[str, Floats] = field(default_factory=dict)


def group_at(episode: Episode, latent: int, per_latent: int) -> Tensor:
    """The raw frames of a latent frame, uint8 (R, H, W, 3)."""
    return torch.from_numpy(episode.frames_THWC[(latent - 1) * per_latent + 1 : latent * per_latent + 1])


def psnr(pictures: Tensor, truth: Tensor) -> float:
    """Mean PSNR in dB over uint8 pictures (T, H, W, 3)."""
    return float(_psnr(pictures[None], truth[None])[0])


def _psnr(pictures_FRHWC: Tensor, truth_FRHWC: Tensor) -> Floats:
    """PSNR in dB of each latent frame, the mean over its raw frames."""
    error = (pictures_FRHWC.float() - truth_FRHWC.float()).square().flatten(2).mean(2).clamp_min(1e-2)
    decibel = (10 * torch.log10(255.0**2 / error)).mean(1)
    return np.asarray(decibel.double().numpy())


def edges(pictures_FHWC: Tensor) -> Floats:
    """Mean absolute difference between neighbouring pixels of each picture."""
    values = pictures_FHWC.float()
    across = (values[:, :, 1:] - values[:, :, :-1]).abs().flatten(1).mean(1)
    down = (values[:, 1:] - values[:, :-1]).abs().flatten(1).mean(1)
    return np.asarray((across + down).double().numpy())


def nearest_views(episode: Episode, seen: int, ahead: list[int], per_latent: int) -> list[int]:
    """For each horizon the seen raw frame whose true pose is nearest to the one then."""
    past = episode.poses_T3[: (seen - 1) * per_latent + 1].astype(np.float64)
    then = episode.poses_T3[[(seen - 1 + a) * per_latent for a in ahead]].astype(np.float64)
    return [int(row) for row in view_distance(past, then).argmin(1)]


def places_seen(poses_F3: Floats, seen: int, away: int) -> tuple[Bools, Bools]:
    """Of the frames after the first ``seen``: which show a seen place, and which do after being ``away``.

    A visit is the stretch of frames near a view (within ``SEEN_M``) that ends with it; the view is back when
    the visit before ended ``away`` frames earlier, among the seen ones.
    """
    near = view_distance(poses_F3, poses_F3) <= SEEN_M
    place, back = [], []
    for frame in range(seen, len(poses_F3)):
        far = np.flatnonzero(~near[frame, :frame])
        arrived = int(far[-1]) + 1 if len(far) else 0
        before = np.flatnonzero(near[frame, :arrived])
        place.append(bool(near[frame, :seen].any()))
        back.append(bool(len(before)) and before[-1] < seen and arrived - int(before[-1]) >= away)
    return np.array(place), np.array(back)


def place_correlation(place_FE: Tensor, poses_F3: NDArray[np.floating]) -> float:
    """Correlation of 1 - cos between all pairs of embeddings with what their driving distance asks for."""
    unit = torch.nn.functional.normalize(place_FE.double(), dim=-1)
    pairs = np.triu_indices(len(unit), 1)
    apart = (1.0 - unit @ unit.t()).numpy()[pairs]
    target = place_target(torch.from_numpy(travel_distance(poses_F3))).numpy()[pairs]
    if np.ptp(apart) == 0.0 or np.ptp(target) == 0.0:
        return float("nan")
    return float(np.corrcoef(apart, target)[0, 1])


def last_of(episode: Episode, latents: int, seen: int, per_latent: int) -> Episode:
    """The drive as if it had begun ``latents`` frames before the ``seen``-th was over."""
    first = (seen - latents) * per_latent
    names = ("frames_THWC", "poses_T3", "odom_T3", "commands_T3", "contact_T", "clearance_TK")
    return replace(episode, **{name: getattr(episode, name)[first:] for name in names})


def check_drive(
    model: NavigationModel,
    episode: Episode,
    other_commands_T3: NDArray[np.floating],
    *,
    seen: int,
    frames: int,
    ablation: Ablation,
    perceptual: Perceptual | None = None,
) -> DriveCheck:
    """Imagine ``frames`` latent frames after ``seen`` ones and compare each.

    Imagined under the true commands, under another drive's, standing still, and under the true commands
    with only the last ``CUT_S`` remembered.
    """
    per, period_s = model.spec.frames_per_latent, model.spec.latent_period_s
    now = (seen - 1) * per
    ahead = list(range(1, frames + 1))
    ways = [episode.commands_T3[now:], other_commands_T3, np.zeros((1, 3), np.float32)]
    poses = torch.stack([commanded(episode, way, seen, frames, per)[0] for way in ways])

    def remembering(seconds: float | None) -> NavigationContext:
        if seconds is None or seconds / period_s + 1 >= seen:
            return observe(model, episode, seen)
        latents = max(1, round(seconds / period_s) + 1)
        return observe(model, last_of(episode, latents, seen, per), latents)

    def imagined(seconds: float | None, rows: int) -> Rollout:
        return remembering(seconds).fork(rows).imagine(poses[:rows], steps=ablation.steps)[1]

    rollout, cut = imagined(ablation.memory_s, 3), imagined(CUT_S, 1)
    truth = torch.stack([group_at(episode, seen - 1 + a, per) for a in ahead])
    whole = torch.from_numpy(episode.frames_THWC[: 1 + (seen - 1 + frames) * per])
    latents = model.autoencoder.encode(whole, first=True)

    def decoded(latents_FCHW: Tensor) -> Tensor:
        return model.decode(latents_FCHW).unflatten(0, (-1, per))

    views = nearest_views(episode, seen, ahead, per)
    rows = {
        "model": decoded(rollout.latents_NFCHW[0]),
        "autoencoder": decoded(latents[seen:]),
        "last frame": group_at(episode, seen - 1, per)[-1].expand_as(truth) if seen > 1 else None,
        "context mean": decoded(latents[:seen].mean(0, keepdim=True)).expand_as(truth),
        "nearest view": torch.from_numpy(episode.frames_THWC[views])[:, None].expand_as(truth),
        "other commands": decoded(rollout.latents_NFCHW[1]),
        f"memory of {CUT_S:g} s": decoded(cut.latents_NFCHW[0]),
    }
    standing = decoded(rollout.latents_NFCHW[2])
    psnr_F = {name: _psnr(pictures, truth) for name, pictures in rows.items() if pictures is not None}
    psnr_F["standing still"] = _psnr(standing, decoded(latents[seen - 1 : seen]).expand_as(standing))
    ends = [now + a * per for a in ahead]
    ceiling_m = model.spec.max_range_m
    leads = perceptual_frames(frames, period_s)
    true_m = episode.clearance_TK[ends].clip(MIN_RANGE_M, ceiling_m)
    guess_m = rollout.clearance_NFK[0].clamp_min(MIN_RANGE_M).numpy()
    seen_m = ranges_seen(model, episode, seen, frames)
    past_m = episode.clearance_TK[now].clip(MIN_RANGE_M, ceiling_m)[None]
    place, back = places_seen(
        episode.poses_T3[: ends[-1] + 1 : per].astype(np.float64), seen, round(AWAY_S / period_s)
    )
    return DriveCheck(
        name=f"{episode.family} {episode.seed} {episode.driver}",
        psnr_F=psnr_F,
        sharpness_F=edges(rows["model"][:, -1]) / np.maximum(edges(truth[:, -1]), 1e-6),
        still_error_F=_rms(rollout.latents_NFCHW[2] - latents[seen - 1]),
        place_seen_F=place,
        back_F=back,
        range_error_F={
            "model": np.abs(np.log(guess_m / true_m)).mean(1),
            "last ranges": np.abs(np.log(past_m / true_m)).mean(1),
            "seen then": np.abs(np.log(seen_m / true_m)).mean(1),
        },
        uncertainty_F=rollout.uncertainty_NF[0].double().numpy(),
        latent_error_F=_rms(rollout.latents_NFCHW[0] - latents[seen:]),
        place_correlation=place_correlation(rollout.place_NFE[0], episode.poses_T3[ends]),
        pictures={
            "seen then": truth[:, -1].numpy(),
            **{n: rows[n][:, -1].numpy() for n in ("autoencoder", "model", "nearest view")},
        },
        perceptual_L={
            name: perceptual(truth[leads, -1].numpy(), pictures[leads, -1].numpy())
            for name in ("model", "autoencoder", *BASELINES)
            if perceptual is not None and (pictures := rows[name]) is not None
        },
    )


def ranges_seen(model: NavigationModel, episode: Episode, seen: int, frames: int) -> Floats:
    """Ranges (F, K) in metres that the model reads once it has seen a frame, as planners ask it: standing there."""
    context, rows = observe(model, episode, seen), []
    for latent in range(seen + 1, seen + frames + 1):
        context = observe(model, episode, latent, context)
        here_3 = episode.poses_T3[(latent - 1) * model.spec.frames_per_latent]
        stay = torch.from_numpy(camera_poses(here_3[None, None], episode.T_base_camera_44))
        rows.append(context.fork(1).imagine(stay)[1].clearance_NFK[0, 0])
    return np.asarray(torch.stack(rows).clamp_min(MIN_RANGE_M).double().numpy())


def perceptual_frames(frames: int, period_s: float) -> list[int]:
    """The future frames at ``PERCEPTUAL_S``, as far as there are any."""
    return [at for s in PERCEPTUAL_S if (at := round(s / period_s) - 1) < frames]


def _rms(error_FCHW: Tensor) -> Floats:
    return np.asarray(error_FCHW.square().flatten(1).mean(1).sqrt().double().numpy())
