"""The imagination's figures at 1, 2, 4, 8, 16, 32 and 60 s, each beside guesses that need no model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sana_wm_ros.calibration import auroc, calibration_error, rank_correlation
from sana_wm_ros.evaluation.foretelling import BASELINES, MODEL, OTHER, STILL, Foretelling
from sana_wm_ros.evaluation.imagination_check import ImaginationCheck
from sana_wm_ros.evaluation.lpips import Lpips
from sana_wm_ros.evaluation.measure import Better, Measure, mean_of
from sana_wm_ros.evaluation.metrics import Floats, Pictures, ssim
from sana_wm_ros.evaluation.trust_measures import trust_measures

LEADS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
WHO = (MODEL, *BASELINES, STILL, OTHER)
# Equal pictures are infinitely close; they must not make a mean that says nothing.
_HIGHEST_DB = 100.0
PictureMetric = Callable[[Pictures, Pictures], Floats]


def imagination_measures(check: ImaginationCheck, lpips: Lpips | None) -> tuple[list[Measure], list[str]]:
    """All figures of the imagined pictures and latents, and what could not be measured and why."""
    skipped = []
    ones = check.foretellings
    found = _over_leads(ones, "PSNR", "dB", "higher", lambda one, who: np.minimum(one.psnr[who], _HIGHEST_DB))
    if min(ones[0].now_HWC.shape[:2]) >= 11:  # SSIM's window
        found += _pictures(ones, "SSIM", "higher", ssim)
    if lpips is None:
        skipped.append(
            "LPIPS: pip install stlpips-pytorch, which brings its weights, or give AlexNet's (--lpips-weights); "
            "none are downloaded"
        )
    else:
        found += _pictures(ones, lpips.name, "lower", lpips)
    if any(one.latent_error for one in ones):
        found += _over_leads(
            ones, "latent error", "σ", "lower", lambda one, who: one.latent_error.get(who, np.empty(0))
        )
        found += _doubt(ones) + trust_measures(ones)
    found += _controllability(ones)
    if not any(OTHER in one.guesses for one in ones):
        skipped.append("controllability: it takes two starts, and the recording has room for one")
    found.append(autoencoder_measure(check.ceiling_db, len(ones)))
    short = [lead for lead in LEADS_S if lead > float(check.lead_F[-1]) + 1e-6]
    if short:
        words = ", ".join(f"{lead:g}" for lead in short)
        skipped.append(f"imagination at {words} s: no start of this recording reaches so far")
    return found, skipped


def autoencoder_measure(ceiling_db: float, count: int) -> Measure:
    """How close pictures are that were only encoded and decoded: the best that any imagination can reach."""
    return Measure(
        group="imagination",
        metric="PSNR",
        who="autoencoder alone",
        value=ceiling_db,
        unit="dB",
        better="higher",
        count=count,
    )


def contact_on_the_drive(check: ImaginationCheck, contact_T2: Floats, first_stamp_s: float) -> list[Measure]:
    """The contact that was foretold along the motion that was driven, against the bumper's word."""
    chances: list[float] = []
    labels: list[float] = []
    for one in check.foretellings:
        period = float(one.lead_F[0])
        for chance, lead in zip(one.collision_F, one.lead_F, strict=True):
            end = first_stamp_s + one.start_s + lead
            inside = (contact_T2[:, 0] > end - period) & (contact_T2[:, 0] <= end + 1e-6)
            if inside.any():
                chances.append(float(chance))
                labels.append(float(contact_T2[inside, 1].max() > 0.5))
    if not labels:
        return []
    common = {"group": "contact", "who": "imagined, as driven", "count": len(labels)}
    return [
        Measure(metric="AUROC", value=auroc(chances, labels), better="higher", **common),
        Measure(
            metric="calibration error", value=calibration_error(chances, labels), better="lower", **common
        ),
        Measure(
            group="contact",
            metric="contact rate",
            who="bumper",
            value=float(np.mean(labels)),
            count=len(labels),
        ),
    ]


def _over_leads(
    ones: list[Foretelling],
    metric: str,
    unit: str,
    better: Better,
    values: Callable[[Foretelling, str], Floats],
) -> list[Measure]:
    found = []
    for lead in LEADS_S:
        for who in WHO:
            picked = [
                float(values(one, who)[index])
                for one in ones
                if who in one.guesses
                and (index := lead_index(one, lead)) is not None
                and len(values(one, who))
            ]
            value, count = mean_of(picked)
            if count:
                found.append(
                    Measure(
                        group="imagination",
                        metric=metric,
                        who=who,
                        at_s=lead,
                        value=value,
                        unit=unit,
                        better=better,
                        count=count,
                    )
                )
    return found


def _pictures(ones: list[Foretelling], metric: str, better: Better, measure: PictureMetric) -> list[Measure]:
    """A picture metric at the leads only: unlike PSNR it costs too much for every frame."""
    rows: dict[tuple[int, str], Floats] = {}
    for number, one in enumerate(ones):
        index = [i for lead in LEADS_S if (i := lead_index(one, lead)) is not None]
        for who in WHO:
            if who not in one.guesses or not index:
                continue
            values = np.full(len(one.lead_F), np.nan)
            values[index] = measure(one.seen_FHWC[index], one.guesses[who][index])
            rows[number, who] = np.where(np.isnan(one.psnr[who]), np.nan, values)
    place = {id(one): number for number, one in enumerate(ones)}
    return _over_leads(
        ones, metric, "", better, lambda one, who: rows.get((place[id(one)], who), np.empty(0))
    )


def _controllability(ones: list[Foretelling]) -> list[Measure]:
    """PSNR under the driven motion less PSNR under another, and how often the driven one is the closer."""
    found = []
    for lead in LEADS_S:
        gains = []
        for one in ones:
            index = lead_index(one, lead)
            if OTHER in one.guesses and index is not None and np.isfinite(one.psnr[OTHER][index]):
                pair = (min(float(one.psnr[who][index]), _HIGHEST_DB) for who in (MODEL, OTHER))
                gains.append(next(pair) - next(pair))
        if gains:
            won = float(np.mean([1.0 if gain > 0 else 0.5 if gain == 0 else 0.0 for gain in gains]))
            common = {
                "group": "imagination",
                "who": MODEL,
                "at_s": lead,
                "better": "higher",
                "count": len(gains),
            }
            found += [
                Measure(metric="controllability", value=float(np.mean(gains)), unit="dB", **common),
                Measure(metric="own motion wins", value=won, **common),
            ]
    return found


def _doubt(ones: list[Foretelling]) -> list[Measure]:
    """Does the model know where it errs? Its uncertainty against its latent error, beside the seconds ahead alone."""
    told = np.concatenate([one.uncertainty_F for one in ones])
    error = np.concatenate([one.latent_error[MODEL] for one in ones])
    lead = np.concatenate([one.lead_F for one in ones])
    common = {"group": "uncertainty", "count": len(error)}
    return [
        Measure(
            metric="rank correlation",
            who=MODEL,
            value=rank_correlation(told, error),
            better="higher",
            **common,
        ),
        Measure(
            metric="rank correlation",
            who="seconds ahead",
            value=rank_correlation(lead, error),
            better="higher",
            **common,
        ),
        Measure(
            metric="told over true error",
            who=MODEL,
            value=float(told.mean() / max(float(error.mean()), 1e-9)),
            **common,
        ),
    ]


def lead_index(one: Foretelling, lead_s: float) -> int | None:
    """The latent frame that lies ``lead_s`` ahead, or None beyond what was imagined."""
    index = int(np.abs(one.lead_F - lead_s).argmin())
    return index if abs(float(one.lead_F[index]) - lead_s) < 1e-6 else None
