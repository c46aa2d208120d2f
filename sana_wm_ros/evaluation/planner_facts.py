"""The facts of a planner's run in numbers: rate, latency, lateness, stops with their reasons, critics' shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.recording import Recording, Status

LEVELS = {0: "ok", 1: "warning", 2: "error", 3: "stale"}


@dataclass(frozen=True, kw_only=True)
class Span:
    """A stretch of time in which one status said the same."""

    start_s: float
    end_s: float
    name: str
    level: int
    message: str


@dataclass(frozen=True, kw_only=True)
class PlannerFacts:
    """What the charts and the summary are made from; times are seconds after ``start_s``.

    latencies_s: planning time of each plan that diagnostics spoke of. configured_rate_hz: NaN if unsaid.
    shares_TM: each critic's share of the chosen plan's cost, one row per plan.
    """

    start_s: float
    duration_s: float
    plans: int
    rate_hz: float
    configured_rate_hz: float
    latencies_s: Floats
    late_plans: int
    horizons_s: Floats
    spans: list[Span]
    critic_times_T: Floats
    critic_names: list[str]
    shares_TM: Floats
    trust_T2: Floats
    commands_T3: Floats

    @property
    def stops(self) -> list[Span]:
        """Stretches in which diagnostics were worse than ok."""
        return [span for span in self.spans if span.level > 0]


def planner_facts(recording: Recording) -> PlannerFacts:
    """Work out the facts of a recorded run."""
    times = [time for time, _ in recording.plans] + [status.stamp_s for status in recording.diagnostics]
    start = min((time for time in times if time > 0), default=0.0)
    end = max(times, default=start)
    plan_times = np.array(sorted({time for time, points in recording.plans if len(points)}))
    names, shares = _shares(recording.critics)
    return PlannerFacts(
        start_s=start,
        duration_s=end - start,
        plans=len(plan_times),
        rate_hz=_rate(plan_times),
        configured_rate_hz=_last_number(recording.diagnostics, ("configured_rate_hz", "planning_rate_hz")),
        latencies_s=_latencies(recording),
        late_plans=int(_largest(recording.diagnostics, ("late_plans", "late"))),
        horizons_s=_numbers(recording.diagnostics, ("horizon_s",)),
        spans=_spans(recording.diagnostics, start),
        critic_times_T=np.array([status.stamp_s - start for status in recording.critics]),
        critic_names=names,
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


def _latencies(recording: Recording) -> Floats:
    """Seconds per plan; a status that repeats the same plan counts once."""
    for source in (recording.critics, recording.diagnostics):
        found: dict[str, float] = {}
        for number, status in enumerate(source):
            value = _value(status, ("plan_latency_s", "latency_s", "planning_time_s"))
            if np.isnan(value):
                value = _value(status, ("plan_latency_ms", "latency_ms")) / 1e3
            if np.isfinite(value):
                plan = status.values.get("plans") or status.values.get("plan_number") or str(number)
                found[plan] = value
        if found:
            return np.array(list(found.values()))
    return np.zeros(0)


def _shares(critics: list[Status]) -> tuple[list[str], Floats]:
    names = sorted({key for status in critics for key in status.values if _is_number(status.values[key])})
    rows = [[_value(status, (name,)) for name in names] for status in critics]
    return names, np.nan_to_num(np.array(rows, dtype=np.float64).reshape(len(critics), len(names)))


def _spans(statuses: list[Status], start_s: float) -> list[Span]:
    """Join what the same status says again and again into stretches, in order of time."""
    spans: list[Span] = []
    for name in dict.fromkeys(status.name for status in statuses):
        own = [status for status in statuses if status.name == name]
        for index, status in enumerate(own):
            until = own[index + 1].stamp_s if index + 1 < len(own) else status.stamp_s
            last = spans[-1] if spans else None
            if last and (last.name, last.level, last.message) == (name, status.level, status.message):
                spans[-1] = Span(
                    start_s=last.start_s, end_s=until - start_s, name=name, level=status.level, message=status.message
                )
            else:
                spans.append(
                    Span(
                        start_s=status.stamp_s - start_s,
                        end_s=until - start_s,
                        name=name,
                        level=status.level,
                        message=status.message,
                    )
                )
    return sorted(spans, key=lambda span: (span.name, span.start_s))


def _value(status: Status, keys: tuple[str, ...]) -> float:
    for key in keys:
        if key in status.values and _is_number(status.values[key]):
            return float(status.values[key])
    return float("nan")


def _numbers(statuses: list[Status], keys: tuple[str, ...]) -> Floats:
    values = np.array([_value(status, keys) for status in statuses], dtype=np.float64)
    return np.asarray(values[np.isfinite(values)])


def _last_number(statuses: list[Status], keys: tuple[str, ...]) -> float:
    values = _numbers(statuses, keys)
    return float(values[-1]) if len(values) else float("nan")


def _largest(statuses: list[Status], keys: tuple[str, ...]) -> float:
    return float(_numbers(statuses, keys).max(initial=0.0))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
