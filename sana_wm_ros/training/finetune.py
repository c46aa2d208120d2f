"""Fine-tunes a model on recordings: eye first, then imagination, and a comparison on what was held out.

Dimension letters: T raw frames, F latent frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sana_wm_ros.training.autoencoder_trainer import AutoencoderTrainer, AutoencoderTraining
from sana_wm_ros.training.drive_check import BASELINES, group_at, nearest_views, psnr
from sana_wm_ros.training.episodes import BadEpisode, Episode, write_episode
from sana_wm_ros.training.export import autoencoder_of_run, weights_of
from sana_wm_ros.training.futures import commanded, observe
from sana_wm_ros.training.latents import load_drives
from sana_wm_ros.training.recordings import beginning, mirrored, training_frames
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.training.world_model_trainer import WorldModelTrainer, WorldModelTraining
from sana_wm_ros.world_model.model import NavigationContext, NavigationModel

AHEAD_S = (0.5, 1.0, 2.0, 5.0)
JUDGED_S = (1.0, 5.0)
START_EVERY = 2  # latent frames between two starts in the held-out end
LEAST_GAIN_DB = 0.05


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Settings: minutes of training, how many of them go to the autoencoder, and rates below training's own."""

    minutes: float = 8.0
    eye_share: float = 0.4
    eye_rate: float = 3e-4
    matrix_rate: float = 1.5e-3
    learning_rate: float = 5e-4
    seed: int = 0


def fine_tune(
    model: NavigationModel,
    episodes: list[Episode],
    work: Path,
    settings: FineTuning,
    on_step: Callable[[str, float, dict[str, float]], None] = lambda stage, done, values: None,
) -> NavigationModel:
    """A model trained on all but the held-out ends of ``episodes``; ``work`` takes drives and run folders.

    Each drive is also shown in a mirror. The autoencoder is trained first (a model of flat-coloured rooms
    sees little of a real one), its latents keeping their scale; then transformer and heads.
    """
    per = model.spec.frames_per_latent
    drives = work / "drives"
    drives.mkdir(parents=True, exist_ok=True)
    for index, episode in enumerate(episodes):
        shown = beginning(episode, training_frames(episode, per))
        write_episode(drives / f"drive_{2 * index:04d}.npz", shown)
        write_episode(drives / f"drive_{2 * index + 1:04d}.npz", mirrored(shown))

    eye = AutoencoderTraining(
        model=model.autoencoder.config,
        learning_rate=settings.eye_rate,
        keep_scale=True,
        average_decay=0.99,
        seed=settings.seed,
    )
    minutes = settings.minutes * settings.eye_share
    first = AutoencoderTrainer(
        eye,
        Schedule(minutes=minutes, warmup_steps=20),
        [drives],
        work / "eye",
        start_from=model.autoencoder,
        on_bad=_refuse,
    )
    first.run(lambda run, values: on_step("eye", run.schedule.progress(run.step, run.elapsed_s), values))
    autoencoder = autoencoder_of_run(work / "eye")

    encoded = load_drives(autoencoder, [drives], work / "latents", on_bad=_refuse)
    shortest = min(map(len, encoded))
    lengths = tuple((0.0, length) for length in (12, 24, 48) if length <= shortest) or ((0.0, shortest),)
    training = WorldModelTraining(
        model=model.transformer.config,
        heads=model.heads.config,
        curriculum=lengths,
        frames_per_step=96,
        matrix_rate=settings.matrix_rate,
        learning_rate=settings.learning_rate,
        average_decay=0.99,
        seed=settings.seed,
    )
    # contact is not taught by recordings, so its logits stay as they are
    training = replace(training, objective=replace(training.objective, contact_weight=1.0))
    second = WorldModelTrainer(
        training,
        Schedule(minutes=settings.minutes - minutes, warmup_steps=20),
        autoencoder,
        encoded,
        work / "world_model",
        start_from=weights_of(model, contact_weight=1.0),
    )
    second.run(
        lambda run, values: on_step("imagination", run.schedule.progress(run.step, run.elapsed_s), values)
    )
    transformer, heads = second.averaged()
    tuned = NavigationModel(transformer, heads, autoencoder, model.spec.frame_rate_hz)
    return tuned.requires_grad_(False)


def _refuse(error: BadEpisode) -> None:
    """A drive written a moment ago that can't be read ends the training: to go on would be to teach less than said."""
    raise error


def held_out_scores(model: NavigationModel, episodes: list[Episode]) -> dict[str, dict[str, float]]:
    """Mean PSNR in dB by name at ``AHEAD_S`` over all starts in the held-out ends, and ``over`` the best trivial.

    Everything before a start was seen, as when driving.
    """
    per, period_s = model.spec.frames_per_latent, model.spec.latent_period_s
    ahead = [round(s / period_s) for s in AHEAD_S]
    found: dict[str, list[list[float]]] = {name: [] for name in ("model", "autoencoder", *BASELINES)}
    for episode in episodes:
        count = 1 + (len(episode) - 1) // per
        whole = torch.from_numpy(episode.frames_THWC[: 1 + (count - 1) * per])
        latents = model.autoencoder.encode(whole, first=True)
        context: NavigationContext | None = None
        for seen in range((training_frames(episode, per) - 1) // per + 1, count - ahead[-1] + 1, START_EVERY):
            now = (seen - 1) * per
            context = observe(model, episode, seen, context)
            poses, _ = commanded(episode, episode.commands_T3[now:], seen, ahead[-1], per)
            _, rollout = context.fork(1).imagine(poses[None])
            pick = torch.tensor(ahead) - 1
            truth = [group_at(episode, seen - 1 + a, per) for a in ahead]
            last, views = episode.frames_THWC[now], nearest_views(episode, seen, ahead, per)
            guesses: dict[str, list[Any]] = {
                "model": list(model.decode(rollout.latents_NFCHW[0, pick]).unflatten(0, (-1, per))),
                "autoencoder": list(model.decode(latents[seen - 1 :][ahead]).unflatten(0, (-1, per))),
                "last frame": [torch.from_numpy(last)] * len(ahead),
                "context mean": [model.decode(latents[:seen].mean(0, keepdim=True))] * len(ahead),
                "nearest view": [torch.from_numpy(episode.frames_THWC[v]) for v in views],
            }
            for name, pictures in guesses.items():
                row = [psnr(p.expand_as(t), t) for p, t in zip(pictures, truth, strict=True)]
                found[name].append(row)
    means = {name: np.mean(rows, axis=0) for name, rows in found.items()}
    means["over"] = means["model"] - np.max([means[name] for name in BASELINES], axis=0)
    return {
        name: {f"{s:g} s": round(float(v), 2) for s, v in zip(AHEAD_S, values, strict=True)}
        for name, values in means.items()
    }


def is_better(before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> bool:
    """Whether the imagination gained at least ``LEAST_GAIN_DB`` on the mean of ``JUDGED_S``."""
    keys = [f"{s:g} s" for s in JUDGED_S]
    gain = [after["model"][key] - before["model"][key] for key in keys]
    return float(np.mean(gain)) >= LEAST_GAIN_DB
