"""Result files: every measurement with the command, machine, versions and settings that it was taken with."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from sana_wm_ros.evaluation.hardware import hardware_facts, version_facts

SCHEMA_VERSION = 1
REQUIRED: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "name": str,
    "command": str,
    "date": str,
    "commit": str,
    "hardware": dict,
    "versions": dict,
    "settings": dict,
    "load_average": (int, float),
    "results": dict,
}


class BadResult(ValueError):
    """A result file that lacks what makes a number worth keeping."""


def make_result(
    name: str,
    *,
    command: str,
    settings: Mapping[str, Any],
    results: Mapping[str, Any],
    load_average: float,
    source: Path | None = None,
) -> dict[str, Any]:
    """A complete record of one measurement; ``source`` is a folder whose git commit it names."""
    record = {
        "schema": SCHEMA_VERSION,
        "name": name,
        "command": command,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": git_commit(source or Path(__file__).parent),
        "hardware": hardware_facts(),
        "versions": version_facts(),
        "settings": dict(settings),
        "load_average": round(load_average, 2),
        "results": dict(results),
    }
    ready: dict[str, Any] = json_ready(record)
    check_result(ready)
    return ready


def write_result(record: Mapping[str, Any], folder: Path) -> Path:
    """Write a record as ``<name>.json``; the last measurement of a name is the one that counts."""
    check_result(record)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['name']}.json"
    path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return path


def check_result(record: Mapping[str, Any]) -> None:
    """Raise ``BadResult`` naming the first field that is missing, of another type, or empty."""
    for field, kind in REQUIRED.items():
        if field not in record:
            raise BadResult(f"a result needs the field '{field}'")
        if not isinstance(record[field], kind):
            raise BadResult(f"the field '{field}' is {type(record[field]).__name__}, expected {kind}")
    if record["schema"] != SCHEMA_VERSION:
        raise BadResult(f"schema {record['schema']} is not {SCHEMA_VERSION}: measure again")
    for field in ("name", "command", "results"):
        if not record[field]:
            raise BadResult(f"the field '{field}' is empty")


def git_commit(folder: Path) -> str:
    """The commit of the checkout, with ``+changes`` when files differ from it; ``unknown`` outside of git."""
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return "unknown"
    return commit + ("+changes" if changed else "")


def json_ready(value: Any) -> Any:
    """Arrays to lists and figures that are not finite to null, which is all that JSON has for them."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return json_ready(value.tolist())
    if isinstance(value, (list, tuple)):
        return [json_ready(entry) for entry in value]
    if isinstance(value, np.generic):
        return json_ready(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
