"""Can contact be foretold? Measured on drives that never react: a driver that backs off tells the model.

Dimension letters: F latent frames, K bearing sectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.calibration import auroc, calibration_error
from sana_wm_ros.training.drive_check import Ablation, last_of
from sana_wm_ros.training.episodes import Episode
from sana_wm_ros.training.futures import commanded, observe
from sana_wm_ros.world_model.model import NavigationContext, NavigationModel

CONTACT_HORIZONS_S = (2.0, 5.0, 10.0)
CALIBRATED_S = 30.0  # probabilities are held against what came up to here
FIRST_SEEN, EVERY = 9, 10  # starts after 4 s, then every 5 s
SCORES = ("collision head", "least clearance", "ranges at the start")


def path_gap(
    clearance_K: NDArray[np.floating], start_3: NDArray[np.floating], base_F3: NDArray[np.float64]
) -> float:
    """The least room (m) between a commanded path and the ranges at its start: a planner without memory."""
    dx, dy = base_F3[:, 0] - start_3[0], base_F3[:, 1] - start_3[1]
    sectors = len(clearance_K)
    bearing = np.arctan2(dy, dx) - start_3[2]
    sector = np.round(bearing / (2 * np.pi / sectors)).astype(int) % sectors
    return float((clearance_K[sector] - np.hypot(dx, dy)).min())


def validate_contact(
    model: NavigationModel, episodes: list[Episode], *, ablation: Ablation | None = None
) -> dict[str, Any]:
    """AUROC of foretelling contact within ``CONTACT_HORIZONS_S``, and the collision head's calibration.

    Starts lie on a fixed grid, none after the first contact; a start counts at a horizon when the recording
    tells whether contact came by then. The baseline takes the true ranges at the start and the commanded
    path.
    """
    ahead = [int(seconds / model.spec.latent_period_s) for seconds in CONTACT_HORIZONS_S]
    per_latent = model.spec.frames_per_latent
    ablation = Ablation() if ablation is None else ablation
    reach = int(CALIBRATED_S / model.spec.latent_period_s)
    labels: list[list[float]] = []
    scores: list[list[list[float]]] = []
    probabilities: list[float] = []
    came_true: list[bool] = []
    for episode in (episode for episode in episodes if episode.open_loop):
        count = 1 + (len(episode) - 1) // per_latent
        touched = np.flatnonzero(episode.contact_T)
        first = int(np.ceil(touched[0] / per_latent)) if len(touched) else 10**9
        context: NavigationContext | None = None
        for seen in range(FIRST_SEEN, min(count - 3, first + 1), EVERY):
            now = (seen - 1) * per_latent
            told = max(ahead[-1], min(reach, count - seen))
            poses, base = commanded(episode, episode.commands_T3[now:], seen, told, per_latent)
            if ablation.memory_s is None:
                context = observe(model, episode, seen, context)
            else:
                latents = min(seen, round(ablation.memory_s / model.spec.latent_period_s) + 1)
                context = observe(model, last_of(episode, latents, seen, per_latent), latents)
            _, rollout = context.fork(1).imagine(poses[None], steps=ablation.steps)
            hit = rollout.collision_NF[0].double().numpy()
            least = rollout.clearance_NFK[0].amin(1).double().numpy()
            room = [path_gap(episode.clearance_TK[now], episode.poses_T3[now], base[:a]) for a in ahead]
            came = [first <= seen - 1 + a for a in ahead]
            known = [c or seen + a <= count for c, a in zip(came, ahead, strict=True)]
            labels.append([float(c) if k else float("nan") for c, k in zip(came, known, strict=True)])
            scores.append(
                [
                    [float(hit[:a].max()), -float(least[:a].min()), -r]
                    for a, r in zip(ahead, room, strict=True)
                ]
            )
            told = min(reach, count - seen)
            probabilities += hit[:told].tolist()
            came_true += [
                bool(episode.contact_T[now + 1 + i * per_latent :][:per_latent].any()) for i in range(told)
            ]
    if not labels:
        return {"starts": 0}
    label, score = np.array(labels), np.array(scores)
    known_S = [~np.isnan(label[:, i]) for i in range(len(ahead))]
    result: dict[str, Any] = {"starts": len(labels), "horizons_s": CONTACT_HORIZONS_S}
    result["auroc"] = {
        name: [round(auroc(score[k, i, n], label[k, i] > 0.5), 3) for i, k in enumerate(known_S)]
        for n, name in enumerate(SCORES)
    }
    result["contacts"] = [int(label[k, i].sum()) for i, k in enumerate(known_S)]
    result["known"] = [int(k.sum()) for k in known_S]
    chance, truth = np.array(probabilities), np.array(came_true)
    result["calibration_error"] = round(calibration_error(chance, truth), 4)
    result["mean_probability"] = round(float(chance.mean()), 4)
    result["frames_in_contact"] = round(float(truth.mean()), 4)
    return result
