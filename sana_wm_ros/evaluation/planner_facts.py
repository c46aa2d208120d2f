"""The facts of a planner's run in numbers: rate, latency, lateness, stops and their reasons, shares."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.recording import Recording, Status

_NUMBERS = re.compile(r"\d+(?:\.\d+)?")
LEVELS = {0: "ok", 1: "warning", 2: "error", 3: "stale"}


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time in which one status said the same; seconds after the run's start."""

    start_s: float
    end_s: float
    name: str
    level: int
    message: str

    @property
    def duration_s(self) -> float:
        """How long it said so."""
        return self.end_s - self.start_s

    @property
    def part(self) -> str:
        """What of the node it is about: "planning" of "sana_wm_planner: planning"."""
        return self.name.rpartition(": ")[2]

    @property
    def kind(self) -> str:
        """The message without its numbers, so that the same said of other figures counts as the same."""
        return _NUMBERS.sub("…", self.message)


@dataclass(frozen=True, kw_only=True)
class PlannerFacts:
    """What the charts and the summary are made from; times are seconds after ``start_s``.

    latencies_s: duration of each planning cycle that diagnostics tell of. configured_rate_hz: NaN if unsaid.
    shares_TM: each critic's share of the chosen plan's cost, one row per plan.
    """

    start_s: float
    duration_s: float
    plans: int
    rate_hz: float
    configured_rate_hz: float
    latencies_s: Floats
    late_plans: int
    skipped_turns: int
    horizons_s: Floats
    peak_memory_mib: Floats
    spans: list[Span]
    critic_times_T: Floats
    critic_names: list[str]
    shares_TM: Floats
    trust_T2: Floats
    commands_T3: Floats

    @property
    def stops(self) -> list[Span]:
        """Stretches in which the robot was held still, each with its reason."""
        return [span for span in self.spans if span.message.startswith("stopped")]


def planner_facts(recording: Recording) -> PlannerFacts:
    """Work out the facts of a recorded run from the node's own messages.

    What carries no stamp (said before a simulated clock began to run) belongs to no moment and is left out.
    """
    diagnostics = [status for status in recording.diagnostics if status.stamp_s > 0]
    times = [time for time, _ in recording.plans] + [status.stamp_s for status in diagnostics]
    start = min((time for time in times if time > 0), default=0.0)
    plan_times = np.array(sorted({time for time, points in recording.plans if len(points)}))
    planning = [status for status in diagnostics if status.name.endswith("planning")]
    period = _numbers(planning, "period (s)")
    critic_times, critic_names, shares = _shares(recording.critics)
    return PlannerFacts(
        start_s=start,
        duration_s=max(times, default=start) - start,
        plans=len(plan_times),
        rate_hz=_rate(plan_times),
        configured_rate_hz=float(1.0 / period[-1]) if len(period) and period[-1] > 0 else float("nan"),
        latencies_s=_latencies(planning),
        late_plans=int(_numbers(planning, "late").max(initial=0.0)),
        skipped_turns=int(_numbers(planning, "skipped turns").max(initial=0.0)),
        horizons_s=_numbers(planning, "horizon (s)"),
        peak_memory_mib=_numbers(planning, "peak memory (MiB)"),
        spans=_spans(diagnostics, start),
        critic_times_T=critic_times - start,
        critic_names=critic_names,
        shares_TM=shares,
        trust_T2=np.array([(time - start, value) for time, value in recording.trust]).reshape(-1, 2),
        commands_T3=np.array([(t - start, v, w) for t, v, w in recording.commands]).reshape(-1, 3),
    )


def percentiles(values: Floats) -> dict[str, float]:
    """p50, p95, p99 and the maximum of the finite values; empty where there are none."""
    finite = np.asarray(values)[np.isfinite(values)]
    if finite.size == 0:
        return {}
    p50, p95, p99 = np.percentile(finite, (50, 95, 99))
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": float(finite.max())}


def _rate(times_T: Floats) -> float:
    """Plans per second from the median period, so one long stop does not blur it."""
    if len(times_T) < 2:
        return float("nan")
    return float(1.0 / np.median(np.diff(times_T)))


def _latencies(planning: Sequence[Status]) -> Floats:
    """Seconds per cycle; statuses that repeat the same cycle count once."""
    found: dict[str, float] = {}
    for status in planning:
        cycle_s = _number(status.values.get("cycle (s)"))
        if np.isfinite(cycle_s):
            found[status.values.get("plans", str(len(found)))] = cycle_s
    return np.array(list(found.values()))


def _shares(critics: Sequence[Status]) -> tuple[Floats, list[str], Floats]:
    """Times (T,), names (M,) and shares (T, M) from one status per critic and plan."""
    plans: dict[float, dict[str, float]] = {}
    for status in critics:
        share = _number(status.values.get("share of the best"))
        if np.isfinite(share):
            plans.setdefault(status.stamp_s, {})[status.name.rpartition("critic ")[2]] = share
    names = sorted({name for shares in plans.values() for name in shares})
    rows = [[shares.get(name, 0.0) for name in names] for shares in plans.values()]
    return np.array(list(plans)), names, np.array(rows, dtype=np.float64).reshape(len(plans), len(names))


def _spans(statuses: Sequence[Status], start_s: float) -> list[Span]:
    """Join what the same status says again and again into stretches; lanes by name, each in order of time."""
    spans: list[Span] = []
    for name in sorted({status.name for status in statuses}):
        own = [status for status in statuses if status.name == name]
        for status, after in zip(own, [*own[1:], own[-1]], strict=True):
            said = (name, status.level, status.message)
            last = spans[-1] if spans else None
            joined = last is not None and (last.name, last.level, last.message) == said
            begin_s = last.start_s if joined and last is not None else status.stamp_s - start_s
            span = Span(
                start_s=begin_s,
                end_s=after.stamp_s - start_s,
                name=name,
                level=status.level,
                message=status.message,
            )
            spans = [*spans[:-1], span] if joined else [*spans, span]
    return spans


def _numbers(statuses: Sequence[Status], key: str) -> Floats:
    values = np.array([_number(status.values.get(key)) for status in statuses], dtype=np.float64)
    return np.asarray(values[np.isfinite(values)])


def _number(text: str | None) -> float:
    try:
        return float(text) if text is not None else float("nan")
    except ValueError:
        return float("nan")
