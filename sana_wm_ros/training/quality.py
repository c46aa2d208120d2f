"""The goals that a model is held to, and what a validation says about each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Value = Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One measure: its name, the goal by preset, whether more is better, and where a validation holds it."""

    measure: str
    unit: str
    nano: float
    small: float
    more_is_better: bool
    value: Value


def _at(seconds: float, *keys: str) -> Value:
    """The entry of a list over the horizons."""

    def value(result: dict[str, Any]) -> float | None:
        entry: Any = result
        for key in keys:
            entry = entry[key]
        horizons = result["horizons_s"]
        return float(entry[horizons.index(seconds)]) if seconds in horizons else None

    return value


def _key(*keys: str) -> Value:
    """A single number; None where the validation has none."""

    def value(result: dict[str, Any]) -> float | None:
        entry: Any = result
        for key in keys:
            entry = entry.get(key) if isinstance(entry, dict) else None
        return None if entry is None else float(entry)

    return value


def _contact(seconds: float) -> Value:
    def value(result: dict[str, Any]) -> float | None:
        contact = result.get("contact", {})
        if not contact.get("starts"):
            return None
        return float(contact["auroc"]["collision head"][list(contact["horizons_s"]).index(seconds)])

    return value


def _standard_errors(result: dict[str, Any]) -> float | None:
    found = result["permanence"]
    if not found.get("standard_error_db"):
        return None
    return float(found["gain_db"] / found["standard_error_db"])


def _autoencoder(result: dict[str, Any]) -> float:
    values = result["psnr_db"]["autoencoder"]
    return float(sum(values) / len(values))


def _goals() -> tuple[Goal, ...]:
    def goal(
        measure: str, unit: str, nano: float, small: float, value: Value, more_is_better: bool = True
    ) -> Goal:
        return Goal(
            measure=measure, unit=unit, nano=nano, small=small, value=value, more_is_better=more_is_better
        )

    over = {1.0: (3.0, 4.0), 2.0: (3.0, 4.0), 5.0: (2.0, 3.5), 10.0: (1.5, 3.0)}
    places = {10.0: (2.0, 3.5), 30.0: (1.5, 3.0), 60.0: (1.0, 2.5)}
    contact = {2.0: (0.92, 0.95), 5.0: (0.88, 0.92), 10.0: (0.85, 0.92)}
    return (
        goal("autoencoder PSNR", "dB", 26.0, 29.0, _autoencoder),
        *(
            goal(f"over the best trivial at {s:g} s", "dB", *goals, _at(s, "over_best_trivial_db"))
            for s, goals in over.items()
        ),
        *(
            goal(
                f"over the best trivial at {s:g} s, places seen before",
                "dB",
                *goals,
                _at(s, "seen_places", "over_best_trivial_db"),
            )
            for s, goals in places.items()
        ),
        goal("true over other commands, 1-10 s", "dB", 2.0, 3.5, _key("controllability_db")),
        goal("back after 30 s: whole memory over 5 s of it", "dB", 2.0, 3.0, _key("permanence", "gain_db")),
        goal("the same in standard errors", "", 3.0, 3.0, _standard_errors),
        goal("standing still: error at 60 s over 1 s", "x", 1.3, 1.15, _key("stand_still", "ratio"), False),
        *(
            goal(f"contact foretold within {s:g} s, AUROC", "", *goals, _contact(s))
            for s, goals in contact.items()
        ),
        goal("log-range error over last ranges, 1 s", "x", 0.6, 0.4, _key("clearance_ratio", "1 s"), False),
        goal("log-range error over last ranges, 15 s", "x", 0.5, 0.4, _key("clearance_ratio", "15 s"), False),
        goal("scores and true costs of candidates, Spearman", "", 0.75, 0.85, _key("candidates", "spearman")),
        goal(
            "expected calibration error of contact",
            "",
            0.05,
            0.04,
            _key("contact", "calibration_error"),
            False,
        ),
    )


GOALS = _goals()


def judged(result: dict[str, Any], preset: str) -> list[dict[str, Any]]:
    """Every goal of a preset beside what the validation found: measure, unit, value, goal, met.

    Presets without goals of their own are held to those of ``small``.
    """
    rows = []
    for goal in GOALS:
        aim = goal.nano if preset == "nano" else goal.small
        value = goal.value(result)
        met = None
        if value is not None and value == value:
            met = value >= aim if goal.more_is_better else value <= aim
        rows.append({"measure": goal.measure, "unit": goal.unit, "value": value, "goal": aim, "met": met})
    return rows
