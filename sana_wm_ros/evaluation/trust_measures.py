"""Is the trust horizon right? What it says at a moment against how the imagination of that moment then fared."""

from __future__ import annotations

import numpy as np

from sana_wm_ros.evaluation.foretelling import MODEL, Foretelling
from sana_wm_ros.evaluation.measure import Measure
from sana_wm_ros.planning.trust import TrustHorizon, TrustSettings


def trust_measures(ones: list[Foretelling], settings: TrustSettings | None = None) -> list[Measure]:
    """Of imaginations along what was driven, whose latent errors are known; nothing where they are not.

    At each start the horizon knows what the camera had shown by then of the imaginations from earlier starts, as
    it does on a robot that drives its plans. The frames of that start's own imagination are then counted, within the
    horizon and beyond it, by whether their error kept the tolerance (a multiple of what the model expected).
    """
    ones = sorted((one for one in ones if one.latent_error), key=lambda one: one.start_s)
    horizon = TrustHorizon(settings)
    kept: dict[str, list[bool]] = {"within": [], "beyond": []}
    horizons: list[float] = []
    told_s = -np.inf
    for one in ones:
        for time_s in _moments(ones, told_s, one.start_s):
            horizon.compared(_checks(ones, time_s))
        told_s = one.start_s
        if not horizon.checked:
            continue
        horizons.append(horizon.seconds)
        for lead_s, error, expected in _frames(one):
            ratio = horizon.ratio(error, expected)
            if np.isfinite(ratio):
                side = "within" if lead_s <= horizons[-1] else "beyond"
                kept[side].append(ratio <= horizon.settings.tolerance)
    if not horizons:
        return []
    common = {"group": "trust horizon", "who": MODEL}
    mean_s = float(np.mean(horizons))
    return [
        Measure(metric="trust horizon", value=mean_s, unit="s", count=len(horizons), **common),
        *(
            Measure(
                metric=f"kept the tolerance {side}",
                value=float(np.mean(kept[side])),
                better="higher" if side == "within" else "lower",
                count=len(kept[side]),
                **common,
            )
            for side in ("within", "beyond")
            if kept[side]
        ),
    ]


def _moments(ones: list[Foretelling], after_s: float, until_s: float) -> list[float]:
    """When the camera showed what had been foretold, in order."""
    seen = {round(one.start_s + lead_s, 6) for one in ones for lead_s in one.lead_F.tolist()}
    return sorted(time_s for time_s in seen if after_s < time_s <= until_s + 1e-6)


def _checks(ones: list[Foretelling], time_s: float) -> list[tuple[float, float, float]]:
    return [
        (lead_s, error, expected)
        for one in ones
        for lead_s, error, expected in _frames(one)
        if abs(one.start_s + lead_s - time_s) < 1e-5
    ]


def _frames(one: Foretelling) -> list[tuple[float, float, float]]:
    return list(
        zip(one.lead_F.tolist(), one.latent_error[MODEL].tolist(), one.uncertainty_F.tolist(), strict=True)
    )
