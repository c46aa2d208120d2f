"""Two evaluations of the same recordings side by side: what changed, for better or worse, and beyond chance or not."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sana_wm_ros.evaluation.measure import Measure
from sana_wm_ros.evaluation.result import BadEvaluation, Evaluation

Verdict = Literal["better", "worse", "changed", "same"]
_LEAST_FOR_CHANCE = 3
_SIGMAS = 2.0


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure in both, as means over the recordings that have it in both.

    certain: the mean difference exceeds twice its standard error over recordings; None below three of them.
    """

    group: str
    metric: str
    who: str
    at_s: float | None
    unit: str
    before: float
    after: float
    recordings: int
    verdict: Verdict
    certain: bool | None


def compare(before: Evaluation, after: Evaluation) -> tuple[list[Change], list[str]]:
    """All figures that both have, and in words what cannot be compared.

    Raises ``BadEvaluation`` where the two have no recording in common.
    """
    first = {bag.name: bag for bag in before.bags if not bag.failure}
    second = {bag.name: bag for bag in after.bags if not bag.failure}
    common = [name for name in first if name in second]
    if not common:
        raise BadEvaluation(
            f"no recording in common: {', '.join(first) or 'none'} and {', '.join(second) or 'none'}"
        )
    notes = [f"only in the first: {name}" for name in first if name not in second]
    notes += [f"only in the second: {name}" for name in second if name not in first]
    for name in ("goal", "parameters", "frames_per_s", "starts", "horizon_s", "miss_m", "seconds"):
        was, now = before.settings.get(name), after.settings.get(name)
        if was != now:
            notes.append(f"{name} differs: {was} and {now}")
    pairs: dict[tuple[str, str, str, float | None], list[tuple[Measure, Measure]]] = {}
    for name in common:
        others = {measure.key: measure for measure in second[name].measures}
        for measure in first[name].measures:
            other = others.get(measure.key)
            if other is not None and np.isfinite([measure.value, other.value]).all():
                pairs.setdefault(measure.key, []).append((measure, other))
    return [_change(found) for found in pairs.values()], notes


def _change(found: Sequence[tuple[Measure, Measure]]) -> Change:
    one = found[0][0]
    before, after = (np.array([pair[side].value for pair in found]) for side in (0, 1))
    difference = after - before
    mean = float(difference.mean())
    scale = max(1e-12, float(np.abs(before).max()), float(np.abs(after).max()))
    verdict: Verdict = "changed"
    if abs(mean) <= 1e-9 * scale:
        verdict = "same"
    elif one.better:
        verdict = "better" if (mean > 0) == (one.better == "higher") else "worse"
    certain = None
    if len(found) >= _LEAST_FOR_CHANCE:
        error = float(difference.std(ddof=1)) / np.sqrt(len(found))
        certain = bool(abs(mean) > _SIGMAS * error)
    return Change(
        group=one.group,
        metric=one.metric,
        who=one.who,
        at_s=one.at_s,
        unit=one.unit,
        before=float(before.mean()),
        after=float(after.mean()),
        recordings=len(found),
        verdict=verdict,
        certain=certain,
    )


def write_changes(path: Path, changes: Sequence[Change]) -> None:
    """One row per figure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Change.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(asdict(change) for change in changes)
