"""Measured figures as tables for people: who by seconds ahead, the best of each column marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sana_wm_ros.evaluation.measure import Measure

_NO_BASELINE = ("autoencoder alone", "told to stand still", "told another motion", "best candidate")
_SHOWN_IN_PERCENT = (
    "miss rate",
    "deadlines attained",
    "cycles with a plan",
    "inputs dropped",
    "standing",
    "contact rate",
    "own motion wins",
)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A figure as text, and whether it is the best of those that compete."""

    text: str
    best: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """A metric: a row per "who", a column per second ahead ("" where there is but one)."""

    title: str
    hint: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    counts: list[str]


def tables(measures: Sequence[Measure], group: str, metrics: Sequence[str]) -> list[Table]:
    """The tables of some metrics of a group, in the order given; metrics that were not measured are left out."""
    found = []
    for metric in metrics:
        own = [m for m in measures if m.group == group and m.metric == metric and m.at_s is not None]
        if own:
            found.append(_table(metric, own))
    return found


def facts_table(measures: Sequence[Measure], groups: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Figures that have no seconds ahead: what about which group, whose, value with unit, over how many."""
    return [
        (f"{m.group}: {m.metric}", m.who, number(m), str(m.count))
        for group in groups
        for m in measures
        if m.group == group and m.at_s is None
    ]


def number(measure: Measure) -> str:
    """A value as people read it, with its unit."""
    value = measure.value
    if not np.isfinite(value):
        return "–"
    if measure.metric in _SHOWN_IN_PERCENT:
        return f"{100 * value:.0f} %"
    if measure.unit == "MiB" or abs(value) >= 100:
        text = f"{value:.0f}"
    elif measure.unit in ("dB", "deg"):
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}"
    return f"{text} {measure.unit}".strip()


def _table(metric: str, own: list[Measure]) -> Table:
    leads = sorted({m.at_s for m in own if m.at_s is not None})
    names = list(dict.fromkeys(m.who for m in own))
    by_place = {(m.who, m.at_s): m for m in own}
    best = {lead: _best([m for m in own if m.at_s == lead]) for lead in leads}
    rows = []
    for name in names:
        cells = []
        for lead in leads:
            found = by_place.get((name, lead))
            text = "" if found is None else number(found).removesuffix(found.unit).strip()
            wins = found is not None and name not in _NO_BASELINE and found.value == best[lead]
            cells.append(Cell(text=text, best=wins))
        rows.append((name, cells))
    counts = [str(max(m.count for m in own if m.at_s == lead)) for lead in leads]
    unit, better = own[0].unit, own[0].better
    hint = ", ".join(part for part in (unit, f"{better} is better" if better else "") if part)
    return Table(title=metric, hint=hint, columns=[f"{lead:g}" for lead in leads], rows=rows, counts=counts)


def _best(own: list[Measure]) -> float | None:
    """The best value among those that compete; None where nothing does, or all are alike."""
    values = [m.value for m in own if m.who not in _NO_BASELINE and np.isfinite(m.value)]
    if len(set(values)) < 2 or not own[0].better:
        return None
    return max(values) if own[0].better == "higher" else min(values)
