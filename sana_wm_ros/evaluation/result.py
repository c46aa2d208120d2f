"""What an evaluation of one recording came to, and how several become one folder of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sana_wm_ros.evaluation.hardware import hardware_facts, version_facts
from sana_wm_ros.evaluation.measure import Measure, pooled, write_csv
from sana_wm_ros.evaluation.results import json_ready

SCHEMA = 1


class BadEvaluation(ValueError):
    """A folder that holds no evaluation, or one of another version."""


@dataclass(frozen=True, kw_only=True)
class BagResult:
    """One recording's figures. failure: why there are none. skipped, notes: what was missing, a sentence each."""

    name: str
    bag: str
    measures: list[Measure] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    seconds: float = float("nan")
    wall_s: float = float("nan")
    page: str = ""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All recordings of one call."""

    command: str
    model: str
    settings: dict[str, Any]
    bags: list[BagResult]

    @property
    def measures(self) -> list[Measure]:
        """Means over the recordings."""
        return pooled([bag.measures for bag in self.bags])


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write ``evaluation.json`` and ``metrics.csv``."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "schema": SCHEMA,
        "command": evaluation.command,
        "model": evaluation.model,
        "settings": evaluation.settings,
        "hardware": hardware_facts(),
        "versions": version_facts(),
        "mean": [vars(measure) for measure in evaluation.measures],
        "bags": [
            {**vars(bag), "measures": [vars(measure) for measure in bag.measures]} for bag in evaluation.bags
        ],
    }
    text = json.dumps(json_ready(record), indent=2, allow_nan=False)
    (folder / "evaluation.json").write_text(text + "\n", encoding="utf-8")
    write_csv(folder / "metrics.csv", {bag.name: bag.measures for bag in evaluation.bags})


def read_evaluation(folder: Path) -> Evaluation:
    """Read a folder that ``sana_wm evaluate`` wrote. Raises ``BadEvaluation`` with what is wrong."""
    path = folder / "evaluation.json" if folder.is_dir() else folder
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadEvaluation(
            f"{folder}: no evaluation.json; give the folder that sana_wm evaluate wrote"
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadEvaluation(f"{path}: not a readable evaluation ({error})") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BadEvaluation(f"{path}: of another version; evaluate again")
    try:
        bags = [
            BagResult(**{**bag, "measures": [_measure(one) for one in bag["measures"]], **_numbers(bag)})
            for bag in record["bags"]
        ]
        return Evaluation(
            command=record["command"], model=record["model"], settings=record["settings"], bags=bags
        )
    except (KeyError, TypeError) as error:
        raise BadEvaluation(f"{path}: incomplete ({error}); evaluate again") from error


def _measure(record: dict[str, Any]) -> Measure:
    return Measure(**{**record, "value": float("nan") if record["value"] is None else record["value"]})


def _numbers(bag: dict[str, Any]) -> dict[str, float]:
    return {name: float("nan") if bag[name] is None else bag[name] for name in ("seconds", "wall_s")}


def unique_names(bags: Sequence[Path]) -> list[str]:
    """A short name for every recording: its folder's, with as much of the way there as makes it the only one."""

    def name(path: Path, parts: int) -> str:
        own = path.resolve().with_suffix("") if path.suffix in (".bag", ".mcap") else path.resolve()
        words = [word for word in own.parts[1:] if word not in ("bag", "rosbag2")] or [own.name]
        return "_".join(words[-parts:])

    for parts in range(1, 12):
        names = [name(path, parts) for path in bags]
        if len(set(names)) == len(names):
            return names
    return [f"{index:03d}_{name(path, 1)}" for index, path in enumerate(bags)]
