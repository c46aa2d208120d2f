"""What a planner did on a recording, short enough to be kept and read, and what differs from what it did before.

A reference is JSON: plans, commands by half second, stops with their reasons, and the tolerances of the comparison.
Processors round differently, so a choice between candidates of nearly equal cost may fall either way: where the
two best were closer than ``margin_relative`` in either run, another path is no difference, and what follows from it
is not compared until both runs choose alike again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.run_record import CycleRecord, RunRecord
from sana_wm_ros.geometry.se2 import wrap_angle

SCHEMA = 1
_PERIOD_S = 0.5
_PATH_POINTS = 8
# A reason's figures follow the tolerances of what they are figures of: words are compared, numbers are not.
_DIGITS = str.maketrans("0123456789", "#" * 10)

DEFAULT_TOLERANCES = {
    "time_s": 0.051,  # one turn of the command loop
    "position_m": 0.02,
    "heading_rad": 0.02,
    "speed_mps": 0.02,
    "yaw_rate_radps": 0.04,
    "cost_relative": 0.001,
    "margin_relative": 0.0003,
}


class BadReference(ValueError):
    """A file that is no reference of this version, or of another run."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that differs, and when (s after the run's begin)."""

    time_s: float
    what: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.time_s:7.2f} s  {self.what}: was {self.was}, is {self.now}"


def behaviour(run: RunRecord, setup: Mapping[str, Any]) -> dict[str, Any]:
    """A run as a reference. ``setup``: bag, model and parameters, which must agree to be compared."""
    return {
        "schema": SCHEMA,
        "setup": dict(setup),
        "tolerances": dict(DEFAULT_TOLERANCES),
        "plans": [_plan(cycle, run.from_s) for cycle in run.cycles],
        "commands": _commands(run),
        "stops": [
            {
                "from_s": _rounded(start - run.from_s, 2),
                "to_s": _rounded(end - run.from_s, 2),
                "kind": kind,
                "reason": sentence,
            }
            for start, end, kind, sentence in run.stops
        ],
    }


def write_reference(path: Path, record: Mapping[str, Any]) -> None:
    """Write a reference so that a line is a plan, a command or a stop: diffs stay readable."""
    parts = [f' "{name}": {json.dumps(record[name])}' for name in ("schema", "setup", "tolerances")]
    for name in ("plans", "commands", "stops"):
        rows = ",\n".join(f"  {json.dumps(row)}" for row in record[name])
        parts.append(f' "{name}": [\n{rows}\n ]')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def read_reference(path: Path) -> dict[str, Any]:
    """Read a reference. Raises ``BadReference`` with what is wrong and what to do."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadReference(f"{path}: no such reference; --update-ref writes it") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadReference(f"{path}: not a reference ({error}); --update-ref writes it anew") from error
    fields = ("setup", "tolerances", "plans", "commands", "stops")
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or not all(f in record for f in fields):
        raise BadReference(f"{path}: of another version; --update-ref writes it anew")
    unknown = set(DEFAULT_TOLERANCES) ^ set(record["tolerances"])
    if unknown:
        raise BadReference(f"{path}: tolerances {sorted(unknown)} are unknown or missing")
    return record


def differences(reference: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """What differs beyond the reference's tolerances, in order of time. Raises ``BadReference`` for another setup."""
    for name in sorted({*reference["setup"], *now["setup"]}):
        was, is_now = reference["setup"].get(name), now["setup"].get(name)
        if was != is_now:
            raise BadReference(f"the reference is of {name} {was!r}, this run of {is_now!r}")
    limits = reference["tolerances"]
    plans, apart = _plan_differences(reference["plans"], now["plans"], limits)
    found = plans + _stop_differences(reference["stops"], now["stops"], limits)
    found += _command_differences(reference["commands"], now["commands"], limits, apart)
    return sorted(found, key=lambda one: one.time_s)


def _plan(cycle: CycleRecord, begin_s: float) -> dict[str, Any]:
    record: dict[str, Any] = {
        "at_s": _rounded(cycle.start_s - begin_s, 2),
        "took_s": _rounded(cycle.cycle_s, 3),
        "stop": cycle.stop,
        "reason": cycle.reason,
        "late": cycle.late,
        "horizon_s": _rounded(cycle.horizon_s, 2),
    }
    if cycle.plan is None or cycle.considered is None:
        return record
    path = np.unique(np.linspace(0, len(cycle.plan.poses_F3) - 1, _PATH_POINTS).round().astype(int))
    return record | {
        "origin": cycle.plan.origin,
        "cost": _rounded(cycle.plan.cost, 5),
        "margin": _rounded(_margin(cycle), 5),
        "path": [[_rounded(value, 4) for value in cycle.plan.poses_F3[frame]] for frame in path],
    }


def _margin(cycle: CycleRecord) -> float:
    """How much dearer or cheaper the nearest candidate of another path was, relative to the cost's size."""
    considered, plan = cycle.considered, cycle.plan
    assert considered is not None and plan is not None
    last = considered.horizons_N == considered.horizons_N.max()
    offset = considered.poses_NF3 - plan.poses_F3
    offset[..., 2] = wrap_angle(offset[..., 2])
    other = np.abs(offset).max(axis=(1, 2)) > DEFAULT_TOLERANCES["position_m"]
    gaps = np.abs(considered.costs_N[last & other] - plan.cost)
    return float(gaps.min() / max(1.0, abs(plan.cost))) if len(gaps) else 1.0


def _commands(run: RunRecord) -> list[list[float]]:
    """Time and mean twist over every half second."""
    times = np.array([command.time_s for command in run.commands]) - run.from_s
    twists: Floats = np.array([command.twist_3 for command in run.commands]).reshape(-1, 3)
    rows = []
    for index in range(int(times[-1] / _PERIOD_S) if len(times) else 0):
        inside = (times >= index * _PERIOD_S) & (times < (index + 1) * _PERIOD_S)
        if inside.any():
            mean = twists[inside].mean(axis=0)
            rows.append([index * _PERIOD_S, *(_rounded(value, 4) for value in mean)])
    return rows


def _plan_differences(
    was: list[dict[str, Any]], now: list[dict[str, Any]], limits: Mapping[str, float]
) -> tuple[list[Difference], list[tuple[float, float]]]:
    """Differences of plans, and the stretches in which the runs chose differently between equals."""
    found: list[Difference] = []
    apart: list[tuple[float, float]] = []
    drifting = False
    if len(was) != len(now):
        end = min(len(was), len(now))
        at_s = (was if len(was) > len(now) else now)[end]["at_s"]
        found.append(Difference(time_s=at_s, what="number of plans", was=str(len(was)), now=str(len(now))))
    for number, (old, new) in enumerate(zip(was, now, strict=False)):
        at_s = old["at_s"]

        def differs(what: str, key: str, at_s: float = at_s, old: Any = old, new: Any = new) -> None:
            found.append(Difference(time_s=at_s, what=what, was=str(old.get(key)), now=str(new.get(key))))

        if abs(old["at_s"] - new["at_s"]) > limits["time_s"]:
            differs("begin of the cycle", "at_s")
        if abs(old["took_s"] - new["took_s"]) > limits["time_s"] or old["late"] != new["late"]:
            differs("time of the cycle, s", "took_s")
        if old["stop"] != new["stop"]:
            differs("plan or reason for none", "reason")
        if old["horizon_s"] != new["horizon_s"]:
            differs("imagined horizon, s", "horizon_s")
        if "path" not in old or "path" not in new:
            continue
        off_m, off_rad = _path_error(old["path"], new["path"])
        alike = off_m <= limits["position_m"] and off_rad <= limits["heading_rad"]
        drifting = not alike and (drifting or min(old["margin"], new["margin"]) <= limits["margin_relative"])
        if drifting:
            until = was[number + 1]["at_s"] if number + 1 < len(was) else at_s + 10.0
            apart.append((at_s, until + 2.0))
            continue
        if not alike:
            differs(f"path ({off_m:.2f} m, {off_rad:.2f} rad off; from a candidate of kind)", "origin")
        elif _words(old["reason"]) != _words(new["reason"]):
            differs("reason", "reason")
        if abs(old["cost"] - new["cost"]) > limits["cost_relative"] * max(1.0, abs(old["cost"])):
            differs("cost", "cost")
    return found, apart


def _path_error(was: list[list[float]], now: list[list[float]]) -> tuple[float, float]:
    if len(was) != len(now):
        return float("inf"), float("inf")
    offset = np.array(now) - np.array(was)
    return float(np.hypot(offset[:, 0], offset[:, 1]).max()), float(np.abs(wrap_angle(offset[:, 2])).max())


def _stop_differences(
    was: list[dict[str, Any]], now: list[dict[str, Any]], limits: Mapping[str, float]
) -> list[Difference]:
    found = []
    for number in range(max(len(was), len(now))):
        old = was[number] if number < len(was) else None
        new = now[number] if number < len(now) else None
        one = old or new
        assert one is not None
        if old is None or new is None or old["kind"] != new["kind"]:
            words = [
                "no stop" if stop is None else f"{stop['kind']} ({stop['reason']})" for stop in (old, new)
            ]
            found.append(
                Difference(time_s=one["from_s"], what=f"stop {number + 1}", was=words[0], now=words[1])
            )
            continue
        for edge in ("from_s", "to_s"):
            if abs(old[edge] - new[edge]) > limits["time_s"]:
                what = f"{'begin' if edge == 'from_s' else 'end'} of stop {number + 1} ({old['kind']}), s"
                found.append(
                    Difference(time_s=old["from_s"], what=what, was=str(old[edge]), now=str(new[edge]))
                )
        if _words(old["reason"]) != _words(new["reason"]):
            what = f"reason of stop {number + 1}"
            found.append(Difference(time_s=old["from_s"], what=what, was=old["reason"], now=new["reason"]))
    return found


def _command_differences(
    was: list[list[float]],
    now: list[list[float]],
    limits: Mapping[str, float],
    apart: list[tuple[float, float]],
) -> list[Difference]:
    found = []
    if len(was) != len(now):
        at_s = float(min(len(was), len(now)) * _PERIOD_S)
        found.append(
            Difference(time_s=at_s, what="half seconds of commands", was=str(len(was)), now=str(len(now)))
        )
    for old, new in zip(was, now, strict=False):
        if any(begin <= old[0] <= end for begin, end in apart):
            continue
        off = np.abs(np.array(new[1:]) - np.array(old[1:]))
        if off[:2].max() > limits["speed_mps"] or off[2] > limits["yaw_rate_radps"]:
            words = [f"{row[1]:.3f} m/s, {row[3]:.3f} rad/s" for row in (old, new)]
            found.append(Difference(time_s=old[0], what="command", was=words[0], now=words[1]))
    return found


def _words(reason: str) -> str:
    return " ".join(word for word in reason.translate(_DIGITS).split() if "#" not in word)


def _rounded(value: float, digits: int) -> float:
    return round(float(value), digits) + 0.0  # no minus zero
