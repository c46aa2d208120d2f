"""Is the trust horizon right? What it says at a moment against how the imagination of that moment then fared."""

from __future__ import annotations

from collections import deque

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
    shown = _shown(ones)
    for one in ones:
        while shown and shown[0][0] <= one.start_s + 1e-6:
            horizon.compared(shown.popleft()[1])
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


def _shown(ones: list[Foretelling]) -> deque[tuple[float, list[tuple[float, float, float]]]]:
    """By moment, in order: what the camera showed of all that had been foretold for it."""
    found: dict[float, list[tuple[float, float, float]]] = {}
    for one in ones:
        for frame in _frames(one):
            found.setdefault(round(one.start_s + frame[0], 5), []).append(frame)
    return deque(sorted(found.items()))


def _frames(one: Foretelling) -> list[tuple[float, float, float]]:
    return list(
        zip(one.lead_F.tolist(), one.latent_error[MODEL].tolist(), one.uncertainty_F.tolist(), strict=True)
    )
