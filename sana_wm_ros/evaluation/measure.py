"""A measured figure with all that it needs to be understood, and means of it over several recordings."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure.

    who: "imagined", "plan" or the baseline that it is of. at_s: seconds ahead, None where there is no such
    thing. count: over how many moments it is a mean; 0 when there was nothing to measure (value NaN).
    ``docs/metrics.md`` defines every metric by its name.
    """

    group: str
    metric: str
    who: str
    value: float
    unit: str = ""
    at_s: float | None = None
    better: Better = ""
    count: int = 1

    @property
    def key(self) -> tuple[str, str, str, float | None]:
        """What it is a figure of."""
        return self.group, self.metric, self.who, self.at_s


def mean_of(values: Iterable[float]) -> tuple[float, int]:
    """Mean of the values that are finite, and how many those are; NaN where there are none."""
    known = np.array([value for value in values if np.isfinite(value)], dtype=np.float64)
    return (float(known.mean()) if len(known) else float("nan")), len(known)


def pooled(parts: Sequence[Sequence[Measure]]) -> list[Measure]:
    """The mean of every figure over several recordings, each weighing the same; ``count`` is how many had it."""
    found: dict[tuple[str, str, str, float | None], list[Measure]] = {}
    for measures in parts:
        for measure in measures:
            found.setdefault(measure.key, []).append(measure)
    result = []
    for same in found.values():
        value, count = mean_of(measure.value for measure in same)
        result.append(replace(same[0], value=value, count=count))
    return result


def write_csv(path: Path, by_bag: dict[str, Sequence[Measure]]) -> None:
    """One row per recording and figure, for spreadsheets and pandas; what is not known stays empty."""
    columns = ["bag", "group", "metric", "who", "at_s", "value", "unit", "better", "count"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for bag, measures in by_bag.items():
            for measure in measures:
                row: dict[str, Any] = {"bag": bag, **asdict(measure)}
                row["value"] = repr(measure.value) if np.isfinite(measure.value) else ""
                row["at_s"] = "" if measure.at_s is None else f"{measure.at_s:g}"
                writer.writerow(row)
