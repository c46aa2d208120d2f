"""How far to trust a trained model, on drives it never saw: pictures and ranges against honest baselines.

Dimension letters: F latent frames, H, W rows and columns of a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.training.candidate_validation import Oracle, validate_candidates
from sana_wm_ros.training.contact_validation import validate_contact
from sana_wm_ros.training.drive_check import (
    BASELINES,
    CUT_S,
    PERCEPTUAL_S,
    Ablation,
    DriveCheck,
    Perceptual,
    check_drive,
    perceptual_frames,
)
from sana_wm_ros.training.episodes import Episode, read_episode
from sana_wm_ros.training.frames import list_episodes
from sana_wm_ros.world_model.model import NavigationModel

HORIZONS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
WITHIN = 0.1  # a horizon means all frames not more than this share of it sooner or later
SEEN = 61  # latent frames in the context: 30 s
PERMANENCE_DRIVES = 2  # fewer drives with a place that came back have no standard error


@dataclass(frozen=True, kw_only=True)
class Film:
    """What one drive looked like at the horizons, for people: rows of pictures (F, H, W, 3)."""

    name: str
    rows: dict[str, NDArray[np.uint8]]


class Horizons:
    """Which future frames a horizon means, as far as the drives reach."""

    def __init__(self, frames: int, period_s: float) -> None:
        self.lead_F = period_s * np.arange(1, frames + 1)
        self.seconds = [s for s in HORIZONS_S if s <= self.lead_F[-1] + 1e-9]

    def frames(self, seconds: float) -> NDArray[np.bool_]:
        """The frames of a horizon."""
        return np.asarray(np.abs(self.lead_F - seconds) <= WITHIN * seconds + 1e-9)

    def means(
        self, values_DF: NDArray[np.float64], counted_DF: NDArray[np.bool_] | None = None
    ) -> list[float]:
        """Means at every horizon; each drive counts once, with its counted frames. NaN: no drive has any."""
        counted = np.ones(values_DF.shape, bool) if counted_DF is None else counted_DF
        means = []
        for seconds in self.seconds:
            inside = counted & self.frames(seconds)
            rows = [values[row].mean() for values, row in zip(values_DF, inside, strict=True) if row.any()]
            means.append(float(np.mean(rows)) if rows else float("nan"))
        return means

    def drives(self, counted_DF: NDArray[np.bool_]) -> list[int]:
        """How many drives have a counted frame at every horizon."""
        return [int((counted_DF & self.frames(s)).any(1).sum()) for s in self.seconds]


def stacked(checks: list[DriveCheck], name: str, of: str | None = None) -> NDArray[Any]:
    """One measure of all drives, (drives, F)."""
    return np.stack([getattr(c, name) if of is None else getattr(c, name)[of] for c in checks])


def over_best(table: dict[str, list[float]]) -> list[float]:
    """What the model has over the better of the baselines at every horizon."""
    best = np.max([table[name] for name in BASELINES], axis=0)
    return [float(v) for v in np.asarray(table["model"]) - best]


def summarise(checks: list[DriveCheck], *, seen: int, period_s: float) -> dict[str, Any]:
    """The means of all drives, by horizon; places seen in the context and others also apart."""
    horizons = Horizons(len(checks[0].sharpness_F), period_s)
    names = list(checks[0].psnr_F)
    place = stacked(checks, "place_seen_F")

    def table(counted: NDArray[np.bool_] | None) -> dict[str, list[float]]:
        return {name: horizons.means(stacked(checks, "psnr_F", name), counted) for name in names}

    everywhere = table(None)
    apart: dict[str, Any] = {}
    for name, counted in (("seen_places", place), ("new_places", ~place)):
        rows = table(counted)
        apart[name] = {
            "psnr_db": rows,
            "over_best_trivial_db": over_best(rows),
            "drives": horizons.drives(counted),
        }
    first_10_s = (horizons.lead_F >= 1.0) & (horizons.lead_F <= 10.0)
    told = stacked(checks, "psnr_F", "model") - stacked(checks, "psnr_F", "other commands")
    still = stacked(checks, "still_error_F").mean(0)
    # the first horizon's single frame is the young error; the last horizon's mean the old one
    ratio = still[horizons.frames(horizons.seconds[-1])].mean() / still[horizons.frames(1.0)].mean()
    doubt = [(c.uncertainty_F, c.latent_error_F) for c in checks]
    return _rounded(
        {
            "drives": len(checks),
            "seen_s": (seen - 1) * period_s,
            "horizons_s": horizons.seconds,
            "psnr_db": everywhere,
            "over_best_trivial_db": over_best(everywhere),
            **apart,
            "sharpness": horizons.means(stacked(checks, "sharpness_F")),
            "clearance_log_error": {
                name: horizons.means(stacked(checks, "range_error_F", name))
                for name in checks[0].range_error_F
            },
            "clearance_ratio": {
                f"{s:g} s": _ratio_at(checks, horizons, s) for s in (1.0, 15.0) if s <= horizons.lead_F[-1]
            },
            "controllability_db": float(told[:, first_10_s].mean()),
            "permanence": permanence(checks),
            "stand_still": {
                "error": horizons.means(stacked(checks, "still_error_F")),
                "ratio": float(ratio),
            },
            "place_correlation": float(np.nanmean([c.place_correlation for c in checks])),
            "uncertainty_correlation": float(
                np.corrcoef(np.concatenate([d[0] for d in doubt]), np.concatenate([d[1] for d in doubt]))[
                    0, 1
                ]
            ),
        }
    )


def perceptual_table(checks: list[DriveCheck], period_s: float) -> dict[str, Any]:
    """How different pictures look from the truth, and at places that were seen before; means over drives."""
    frames = perceptual_frames(len(checks[0].sharpness_F), period_s)
    seen_DL = stacked(checks, "place_seen_F")[:, frames]
    table: dict[str, Any] = {"horizons_s": list(PERCEPTUAL_S[: len(frames)]), "seen_places": {}}
    for name in checks[0].perceptual_L:
        values_DL = stacked(checks, "perceptual_L", name)
        table[name] = [float(value) for value in values_DL.mean(0)]
        table["seen_places"][name] = [
            float(values[seen].mean()) if seen.any() else float("nan")
            for values, seen in zip(values_DL.T, seen_DL.T, strict=True)
        ]
    return table


def permanence(checks: list[DriveCheck]) -> dict[str, Any]:
    """On views that are back after a long absence: the whole memory over that of the last seconds, in dB."""
    cut = f"memory of {CUT_S:g} s"
    gains = [float((c.psnr_F["model"] - c.psnr_F[cut])[c.back_F].mean()) for c in checks if c.back_F.any()]
    over = [
        float((c.psnr_F["model"] - c.psnr_F["nearest view"])[c.back_F].mean())
        for c in checks
        if c.back_F.any()
    ]
    if len(gains) < PERMANENCE_DRIVES:
        return {"drives": len(gains)}
    return {
        "drives": len(gains),
        "frames": int(sum(c.back_F.sum() for c in checks)),
        "gain_db": float(np.mean(gains)),
        "standard_error_db": float(np.std(gains, ddof=1) / len(gains) ** 0.5),
        "over_nearest_view_db": float(np.mean(over)),
    }


def _ratio_at(checks: list[DriveCheck], horizons: Horizons, seconds: float) -> float:
    frames = horizons.frames(seconds)
    model, past = (
        stacked(checks, "range_error_F", name)[:, frames].mean() for name in ("model", "last ranges")
    )
    return float(model / past)


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return round(value, 3) if isinstance(value, float) else value


def picked_films(checks: list[DriveCheck], period_s: float) -> list[Film]:
    """The median, the best and the worst drive by their first 10 s over the last frame repeated."""
    horizons = Horizons(len(checks[0].sharpness_F), period_s)
    early = horizons.lead_F <= 10.0
    gain = [float((c.psnr_F["model"] - c.psnr_F["last frame"])[early].mean()) for c in checks]
    order = np.argsort(gain)
    chosen = {"median": order[len(order) // 2], "best": order[-1], "worst": order[0]}
    at = [round(s / period_s) - 1 for s in horizons.seconds]
    films: dict[int, Film] = {}
    for label, index in chosen.items():
        check = checks[int(index)]
        rows = {name: pictures[at] for name, pictures in check.pictures.items()}
        films.setdefault(int(index), Film(name=f"{label}: {check.name}", rows=rows))
    return list(films.values())


def validate(
    model: NavigationModel,
    data: list[Path],
    *,
    contact: list[Path] | None = None,
    drives: int = 24,
    seen: int = SEEN,
    ahead_s: float = HORIZONS_S[-1],
    contact_drives: int = 60,
    ablation: Ablation | None = None,
    oracle: Oracle | None = None,
    perceptual: Perceptual | None = None,
    progress: Callable[[float], None] = lambda done: None,
) -> tuple[dict[str, Any], list[Film]]:
    """The whole validation: ``drives`` quiet drives of ``data`` for pictures, open-loop ones of ``contact``.

    Drives that touch something, or end within ``ahead_s`` after ``seen`` latent frames, are passed over.
    ``contact_drives`` 0 leaves contact out. ``oracle`` makes the true world model of a drive's building; without
    one, the order of candidates is not measured. ``perceptual`` tells how different pictures look.
    """
    ablation = Ablation() if ablation is None else ablation
    per, period_s = model.spec.frames_per_latent, model.spec.latent_period_s
    frames = round(ahead_s / period_s)
    needed = 1 + (seen - 1 + frames) * per

    def quiet(episode: Episode) -> bool:
        return episode.open_loop and len(episode) >= needed and not episode.contact_T[:needed].any()

    still = _pick(data, drives, quiet)
    if not still:
        raise ValueError(
            f"no open-loop drive of {needed} frames without contact in {', '.join(map(str, data))}; record "
            f"some with `sana_wm record-sim --open-loop --driver tour --seconds {needed / 8 + 0.5:g}`"
        )
    checks = []
    for index, episode in enumerate(still):
        other = still[(index + 1) % len(still)].commands_T3[(seen - 1) * per :]
        checks.append(
            check_drive(
                model, episode, other, seen=seen, frames=frames, ablation=ablation, perceptual=perceptual
            )
        )
        progress(0.7 * (index + 1) / len(still))
    result = summarise(checks, seen=seen, period_s=period_s)
    if perceptual is not None:
        result["perceptual"] = _rounded(perceptual_table(checks, period_s))
    result["seeds"] = spans([episode.seed for episode in still])
    if oracle is not None:
        result["candidates"] = validate_candidates(model, still, oracle, robot=Robot(), seen=seen)
    if contact_drives:
        open_loop = _pick(contact or data, contact_drives, lambda episode: episode.open_loop)
        result["contact"] = validate_contact(model, open_loop, ablation=ablation)
    progress(1.0)
    return result, picked_films(checks, period_s)


def _pick(folders: list[Path], count: int, wanted: Callable[[Episode], bool]) -> list[Episode]:
    """``count`` wanted drives, as many of each folder as it has, in the order of their names."""
    queues = [iter(list_episodes([folder])) for folder in folders]
    chosen: list[Episode] = []
    while queues and len(chosen) < count:
        for queue in list(queues):
            for path in queue:
                episode = read_episode(path)
                if wanted(episode):
                    chosen.append(episode)
                    break
            else:
                queues.remove(queue)
    return chosen[:count]


def spans(seeds: list[int]) -> str:
    """Seeds as ranges: ``3-5, 9``; gaps of up to ten count as none."""
    found: list[list[int]] = []
    for seed in sorted(seeds):
        if found and seed - found[-1][1] <= 10:
            found[-1][1] = seed
        else:
            found.append([seed, seed])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def draw_film_strips(films: list[Film], path: Path) -> None:
    """One picture: per drive rows of what was then seen, its autoencoding, the imagination, the nearest view."""
    from matplotlib.figure import Figure

    names = list(films[0].rows)
    columns = len(next(iter(films[0].rows.values())))
    figure = Figure(figsize=(1.6 * columns, 1.15 * len(films) * len(names)), layout="constrained")
    grid = figure.subplots(len(films) * len(names), columns, squeeze=False)
    for f, film in enumerate(films):
        for r, name in enumerate(names):
            for h, seconds in enumerate(HORIZONS_S[:columns]):
                axes = grid[f * len(names) + r][h]
                axes.imshow(film.rows[name][h])
                axes.set_xticks([])
                axes.set_yticks([])
                if r == 0:
                    axes.set_title(f"{seconds:g} s" + (f"  {film.name}" if h == 0 else ""), fontsize=7)
                if h == 0:
                    axes.set_ylabel(name, fontsize=7)
    figure.savefig(path, dpi=90)
