"""Diagnostic messages: what the node does, why it stands, what it refused, and what each critic paid."""

from __future__ import annotations

import resource
from collections.abc import Mapping, Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from sana_wm_ros.nodes.planning_thread import Outcome
from sana_wm_ros.nodes.supervisor import Stop
from sana_wm_ros.planning.types import PlanResult

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def status(
    name: str, level: bytes, message: str, values: Mapping[str, object], *, hardware_id: str = ""
) -> DiagnosticStatus:
    """One status; numbers are written with four digits."""
    pairs = []
    for key, value in values.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        pairs.append(KeyValue(key=key, value=text))
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware_id, values=pairs)


def array(stamp: object, statuses: list[DiagnosticStatus]) -> DiagnosticArray:
    """Statuses with a stamp."""
    message = DiagnosticArray(status=statuses)
    message.header.stamp = stamp
    return message


def motion_status(
    name: str, stop: Stop | None, stops: Mapping[str, int], values: Mapping[str, object]
) -> DiagnosticStatus:
    """Whether the robot may move, or why not; how often it was stopped for which reason."""
    counted = {f"stops: {kind}": count for kind, count in sorted(stops.items())}
    if stop is None:
        return status(f"{name}: motion", OK, "following the plan", {**values, **counted})
    level = ERROR if stop.fault and stop.kind != "no plan yet" else WARN if stop.fault else OK
    return status(
        f"{name}: motion", level, f"stopped: {stop.sentence}", {"stop": stop.kind, **values, **counted}
    )


def input_status(
    name: str,
    ages_s: Mapping[str, float],
    received: Mapping[str, int],
    refused: Mapping[str, int],
    repaired: Mapping[str, int],
    image_cost_s: float,
) -> DiagnosticStatus:
    """What came in, and what of it could not be used."""
    values: dict[str, object] = {f"age of newest {stream} (s)": age for stream, age in ages_s.items()}
    values |= {f"received: {kind}": count for kind, count in sorted(received.items())}
    values |= {f"refused: {kind}": count for kind, count in sorted(refused.items())}
    values |= {f"buffer: {kind}": count for kind, count in sorted(repaired.items())}
    values["handling of the newest picture (ms)"] = 1e3 * image_cost_s
    bad = sum(refused.values())
    message = "all messages are usable" if not bad else f"{bad} messages were refused"
    return status(f"{name}: inputs", WARN if bad else OK, message, values)


def planning_status(
    name: str, outcome: Outcome | None, *, cycles: int, late: int, skipped: int, period_s: float,
    model: Mapping[str, str],
) -> DiagnosticStatus:  # fmt: skip
    """How the planning thread keeps up, and what its model computes with (``how_it_runs``)."""
    values: dict[str, object] = {
        "plans": cycles,
        "late": late,
        "skipped turns": skipped,
        "period (s)": period_s,
        "peak memory (MiB)": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    values |= {f"model: {what}": told for what, told in model.items()}
    if outcome is None:
        return status(f"{name}: planning", OK, "no plan was asked for yet", values)
    values |= {"cycle (s)": outcome.cycle_s, "context (latent frames)": outcome.context_frames}
    values |= {f"{stage} (s)": duration for stage, duration in outcome.timings_s.items()}
    if outcome.result is not None:
        values["horizon (s)"] = outcome.result.horizon_s
        values["how far it got"] = outcome.result.how_far
        if outcome.result.trust_s is not None:
            values["trust horizon (s)"] = outcome.result.trust_s
        values["reason"] = outcome.result.reason
    if outcome.failure is not None:
        return status(f"{name}: planning", ERROR, outcome.failure.sentence, values)
    if outcome.late:
        message = f"late: the plan took {outcome.cycle_s:.2f} s, the period is {period_s:.2f} s"
        return status(f"{name}: planning", WARN, message, values)
    return status(f"{name}: planning", OK, "plans in time", values)


def critics_statuses(
    name: str,
    result: PlanResult,
    weights: Mapping[str, float],
    shown: Sequence[int] = (),
    explained: int = -1,
) -> list[DiagnosticStatus]:
    """Each critic's share of the best candidate's cost, how it judged all of them, and each that is ``shown``.

    explained: the candidate that somebody asks about, named in a line of its own and in the message.
    """
    statuses = []
    for critic, share_N in result.shares.items():
        known_N = share_N[np.isfinite(share_N)]
        if len(known_N) == 0:
            continue
        values: dict[str, object] = {"weight": weights.get(critic, float("nan"))}
        if result.best is not None:
            values["share of the best"] = float(share_N[result.best])
        if result.futures is not None:
            origins = result.futures.candidates.origins
            values |= {f"candidate {row} ({origins[row]})": float(share_N[row]) for row in shown}
        if explained in shown:
            values["share of the explained"] = float(share_N[explained])
        values |= {"least": float(known_N.min()), "mean": float(known_N.mean()), "most": float(known_N.max())}
        best = values.get("share of the explained", values.get("share of the best", "-"))
        text = f"{best:.3g}" if isinstance(best, float) else "no plan"
        statuses.append(status(f"{name}: critic {critic}", OK, text, values))
    return statuses
