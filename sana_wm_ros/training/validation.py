"""How far to trust a trained model, on drives it never saw: pictures and ranges against honest baselines.

Dimension letters: F latent frames, R raw frames of one, N candidates, K sectors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sana_wm_ros.training.contact_validation import validate_contact
from sana_wm_ros.training.episodes import Episode, read_episode
from sana_wm_ros.training.frames import list_episodes
from sana_wm_ros.training.futures import commanded, observe
from sana_wm_ros.world_model.model import NavigationModel

HORIZONS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
ROWS = ("model", "autoencoder", "last frame", "context mean", "nearest view", "other commands")
RADIAN_M = 1.5  # a view one radian aside is as far as one 1.5 m away


@dataclass
class Film:
    """What one drive looked like at the horizons, for people: rows of pictures (F, H, W, 3)."""

    name: str
    rows: dict[str, Tensor] = field(default_factory=dict)


def group_at(episode: Episode, latent: int, per_latent: int) -> Tensor:
    """The raw frames of a latent frame, uint8 (R, H, W, 3)."""
    return torch.from_numpy(episode.frames_THWC[(latent - 1) * per_latent + 1 : latent * per_latent + 1])


def psnr(pictures: Tensor, truth: Tensor) -> float:
    """Mean PSNR in dB over uint8 pictures."""
    error = (pictures.float() - truth.float()).square().flatten(1).mean(1).clamp_min(1e-2)
    return float((10 * torch.log10(255.0**2 / error)).mean())


def validate_pictures(
    model: NavigationModel, episodes: list[Episode], *, seen: int, films: int = 4
) -> tuple[dict[str, Any], list[Film]]:
    """PSNR and range errors at ``HORIZONS_S`` after ``seen`` latent frames, on drives without contact there."""
    per = model.spec.frames_per_latent
    ahead = [int(s / model.spec.latent_period_s) for s in HORIZONS_S]
    scores: dict[str, list[list[float]]] = {name: [] for name in (*ROWS, "standing still")}
    ranges: dict[str, list[list[float]]] = {"model": [], "last ranges": []}
    strips: list[Film] = []
    for index, episode in enumerate(episodes):
        now = (seen - 1) * per
        other = episodes[(index + 1) % len(episodes)].commands_T3[now:]
        ways = [episode.commands_T3[now:], other, np.zeros((1, 3), np.float32)]
        poses = torch.stack([commanded(episode, way, seen, ahead[-1], per)[0] for way in ways])
        _, rollout = observe(model, episode, seen).fork(len(ways)).imagine(poses)
        pick = torch.tensor(ahead) - 1
        imagined = [model.decode(row[pick]).unflatten(0, (-1, per)) for row in rollout.latents_NFCHW]
        truth = torch.stack([group_at(episode, seen - 1 + a, per) for a in ahead])
        whole = torch.from_numpy(episode.frames_THWC[: 1 + (seen - 1 + ahead[-1]) * per])
        latents = model.autoencoder.encode(whole, first=True)
        last = group_at(episode, seen - 1, per)
        views = nearest_views(episode, seen, ahead, per)
        rows = {
            "model": imagined[0],
            "autoencoder": model.decode(latents[seen - 1 :][torch.tensor(ahead)]).unflatten(0, (-1, per)),
            "last frame": last[-1].expand_as(truth),
            "context mean": model.decode(latents[:seen].mean(0, keepdim=True)).expand_as(truth),
            "nearest view": torch.from_numpy(episode.frames_THWC[views])[:, None].expand_as(truth),
            "other commands": imagined[1],
        }
        for name, pictures in rows.items():
            scores[name].append([psnr(p, t) for p, t in zip(pictures, truth, strict=True)])
        still = model.decode(latents[seen - 1 : seen])
        scores["standing still"].append([psnr(p, still) for p in imagined[2]])
        true_m = episode.clearance_TK[[(seen - 1 + a) * per for a in ahead]].clip(0.1, model.spec.max_range_m)
        guess_m = rollout.clearance_NFK[0, pick].clamp_min(0.1).numpy()
        past_m = episode.clearance_TK[now].clip(0.1, model.spec.max_range_m)
        ranges["model"].append(np.abs(np.log(guess_m / true_m)).mean(1).tolist())
        ranges["last ranges"].append(np.abs(np.log(past_m[None] / true_m)).mean(1).tolist())
        if index < films:
            shown = {"seen then": truth, **{n: rows[n] for n in ("autoencoder", "model", "nearest view")}}
            shown = {name: pictures[:, -1] for name, pictures in shown.items()}
            strips.append(Film(name=f"{episode.family} {episode.seed} {episode.driver}", rows=shown))
    table = {name: np.mean(rows, axis=0).round(2).tolist() for name, rows in scores.items()}
    errors = {name: np.mean(rows, axis=0).round(3).tolist() for name, rows in ranges.items()}
    seconds = (seen - 1) * model.spec.latent_period_s
    result = {"drives": len(episodes), "seen_s": seconds, "psnr_db": table, "clearance_log_error": errors}
    return result, strips


def nearest_views(episode: Episode, seen: int, ahead: list[int], per_latent: int) -> list[int]:
    """For each horizon the seen raw frame whose true pose is nearest to the one then."""
    past = episode.poses_T3[: (seen - 1) * per_latent + 1].astype(np.float64)
    chosen = []
    for a in ahead:
        x, y, yaw = episode.poses_T3[(seen - 1 + a) * per_latent].astype(np.float64)
        turn = np.abs((past[:, 2] - yaw + np.pi) % (2 * np.pi) - np.pi)
        chosen.append(int(np.argmin(np.hypot(past[:, 0] - x, past[:, 1] - y) + RADIAN_M * turn)))
    return chosen


def validate(
    model: NavigationModel,
    data: list[Path],
    *,
    contact: list[Path] | None = None,
    drives: int = 24,
    seen: int = 41,
    contact_drives: int = 60,
) -> tuple[dict[str, Any], list[Film]]:
    """The whole validation: ``drives`` quiet drives of ``data`` for pictures, open-loop ones of ``contact``."""
    per = model.spec.frames_per_latent
    needed = 1 + (seen - 1 + int(HORIZONS_S[-1] / model.spec.latent_period_s)) * per

    def quiet(episode: Episode) -> bool:
        return len(episode) >= needed and not episode.contact_T[:needed].any()

    still = _pick(data, drives, quiet)
    if not still:
        raise ValueError(f"no drive of {needed} frames without contact in {', '.join(map(str, data))}")
    result, films = validate_pictures(model, still, seen=seen)
    result["horizons_s"] = HORIZONS_S
    open_loop = _pick(contact or data, contact_drives, lambda episode: episode.open_loop)
    result["contact"] = validate_contact(model, open_loop)
    return result, films


def _pick(folders: list[Path], count: int, wanted: Callable[[Episode], bool]) -> list[Episode]:
    """The first ``count`` drives that are wanted, in the order of their names."""
    chosen: list[Episode] = []
    for path in list_episodes(folders):
        if len(chosen) == count:
            break
        episode = read_episode(path)
        if wanted(episode):
            chosen.append(episode)
    return chosen


def draw_film_strips(films: list[Film], path: Path) -> None:
    """One picture: per drive rows of what was then seen, its autoencoding, the imagination, the nearest view."""
    from matplotlib.figure import Figure

    names = list(films[0].rows)
    figure = Figure(figsize=(10, 1.15 * len(films) * len(names)), layout="constrained")
    grid = figure.subplots(len(films) * len(names), len(HORIZONS_S), squeeze=False)
    for f, film in enumerate(films):
        for r, name in enumerate(names):
            for h, seconds in enumerate(HORIZONS_S):
                axes = grid[f * len(names) + r][h]
                axes.imshow(film.rows[name][h].numpy())
                axes.set_xticks([])
                axes.set_yticks([])
                if r == 0:
                    axes.set_title(f"{seconds:g} s" + (f"  {film.name}" if h == 0 else ""), fontsize=7)
                if h == 0:
                    axes.set_ylabel(name, fontsize=7)
    figure.savefig(path, dpi=90)
