"""May the robot move? Facts in, a reason to stop out: the safety contract in one readable function.

Which clock watches what. Ages of data are differences of stamps and the node's clock, so they are
right in a replay at any rate. But a clock can stand still: under ``use_sim_time`` a ``/clock`` that
stops makes all ages stand still with it, so a watchdog on the machine's steady clock asks whether
``/clock`` moves. Without ``use_sim_time`` the same steady watchdog asks when data last arrived: that
also covers a sensor whose clock runs ahead of this machine's. Commands are paced by the steady
clock in either case.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sana_wm_ros.nodes.settings import SafetySettings


@dataclass(frozen=True, kw_only=True)
class Stop:
    """Why the robot stands. ``kind`` is stable while the sentence's numbers change.

    fault: something is wrong, so zero is commanded as long as it lasts. Otherwise there is just nothing to do:
    zero is commanded for a moment, then other publishers have the topic to themselves.
    """

    kind: str
    sentence: str
    fault: bool = True


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the verdict rests on, at one moment. Seconds; ages by the node's clock, silences by the steady one.

    goal_ended: how the last goal ended ("goal reached", "goal timed out"), or nothing.
    """

    active: bool
    paused: bool
    sim_time: bool
    now_s: float
    clock_still_s: float
    image_age_s: float
    image_silence_s: float
    odometry_age_s: float
    odometry_silence_s: float
    goal: bool
    goal_ended: str
    failure: Stop | None
    plan_valid_until_s: float | None


def verdict(facts: Facts, limits: SafetySettings) -> Stop | None:
    """The first reason to stop, the most telling one first; None when the robot may follow its plan."""
    if not facts.active:
        return Stop(kind="not active", sentence="the node is not active", fault=False)
    if facts.paused:
        return Stop(kind="paused", sentence="paused by a service call", fault=False)
    if facts.sim_time and (facts.now_s <= 0.0 or facts.clock_still_s > limits.clock_timeout_s):
        still = "never came" if facts.now_s <= 0.0 else f"stands still for {facts.clock_still_s:.2f} s"
        return Stop(kind="clock stopped", sentence=f"use_sim_time is set but /clock {still}")
    streams = (
        ("camera", facts.image_age_s, facts.image_silence_s, limits.camera_timeout_s),
        ("odometry", facts.odometry_age_s, facts.odometry_silence_s, limits.odometry_timeout_s),
    )
    for name, age_s, silence_s, limit_s in streams:
        if stop := _stale(name, age_s, 0.0 if facts.sim_time else silence_s, limit_s):
            return stop
    if facts.failure is not None:
        if facts.goal_ended == "goal unreachable" and not facts.goal:
            return replace(facts.failure, sentence=f"goal unreachable: {facts.failure.sentence}")
        return facts.failure
    if not facts.goal:
        sentence = facts.goal_ended or "no goal was given"
        return Stop(kind=sentence, sentence=sentence, fault=False)
    if facts.plan_valid_until_s is None:
        return Stop(kind="no plan yet", sentence="the first plan is being made")
    if facts.now_s > facts.plan_valid_until_s:
        late_s = facts.now_s - facts.plan_valid_until_s
        return Stop(
            kind="plan expired", sentence=f"the plan expired {late_s:.2f} s ago and no newer one came"
        )
    return None


def _stale(name: str, age_s: float, silence_s: float, limit_s: float) -> Stop | None:
    if age_s == float("inf"):
        return Stop(kind=f"{name} stale", sentence=f"no {name} message was received yet")
    if max(age_s, silence_s) > limit_s:
        if silence_s > limit_s / 2:
            sentence = f"no {name} message for {silence_s:.2f} s (limit {limit_s:.2f} s)"
        else:
            sentence = (
                f"the newest {name} message is {age_s:.2f} s old (limit {limit_s:.2f} s); when messages keep "
                "coming, their sender's clock is behind or they are long under way"
            )
        return Stop(kind=f"{name} stale", sentence=sentence)
    if age_s < -limit_s:
        return Stop(
            kind=f"{name} stamps ahead",
            sentence=f"{name} stamps lie {-age_s:.2f} s ahead of this node's clock: synchronise the clocks, or set "
            "use_sim_time for a recording",
        )
    return None
