"""The safety contract's verdict: each reason to stop, and which one is told first."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from sana_wm_ros.nodes.settings import SafetySettings
from sana_wm_ros.nodes.supervisor import Facts, Stop, verdict

LIMITS = SafetySettings()
GOOD = Facts(
    active=True,
    paused=False,
    sim_time=False,
    now_s=100.0,
    clock_still_s=0.0,
    image_age_s=0.1,
    image_silence_s=0.1,
    odometry_age_s=0.05,
    odometry_silence_s=0.05,
    goal=True,
    goal_ended="",
    failure=None,
    plan_valid_until_s=102.0,
)


def changed(**facts: Any) -> Stop | None:
    return verdict(dataclasses.replace(GOOD, **facts), LIMITS)


def test_with_fresh_data_a_goal_and_a_valid_plan_the_robot_may_move() -> None:
    assert changed() is None


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"image_age_s": float("inf")}, "camera stale"),
        ({"image_age_s": 0.41}, "camera stale"),
        ({"image_silence_s": 0.41}, "camera stale"),
        ({"image_age_s": -0.6}, "camera stamps ahead"),
        ({"odometry_age_s": 0.41}, "odometry stale"),
        ({"odometry_silence_s": 0.41}, "odometry stale"),
        ({"odometry_age_s": -0.6}, "odometry stamps ahead"),
        ({"failure": Stop(kind="model failed", sentence="out of memory")}, "model failed"),
        ({"plan_valid_until_s": None}, "no plan yet"),
        ({"plan_valid_until_s": 99.9}, "plan expired"),
        ({"sim_time": True, "clock_still_s": 0.41}, "clock stopped"),
        ({"sim_time": True, "now_s": 0.0}, "clock stopped"),
    ],
)
def test_each_fault_stops_the_robot(facts: dict[str, Any], kind: str) -> None:
    stop = changed(**facts)
    assert stop is not None
    assert (stop.kind, stop.fault) == (kind, True)


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"active": False}, "not active"),
        ({"paused": True}, "paused"),
        ({"goal": False}, "no goal was given"),
        ({"goal": False, "goal_ended": "goal reached"}, "goal reached"),
    ],
)
def test_nothing_to_do_is_no_fault(facts: dict[str, Any], kind: str) -> None:
    stop = changed(**facts)
    assert stop is not None
    assert (stop.kind, stop.fault) == (kind, False)


def test_in_a_slow_replay_wall_time_between_messages_does_not_matter_while_the_clock_moves() -> None:
    assert changed(sim_time=True, image_silence_s=5.0, odometry_silence_s=5.0) is None


def test_a_stale_camera_is_told_before_the_plan_that_it_ended() -> None:
    stop = changed(image_age_s=2.0, plan_valid_until_s=99.0)
    assert stop is not None and stop.kind == "camera stale"


def test_a_shorter_timeout_stops_earlier() -> None:
    stop = verdict(dataclasses.replace(GOOD, image_age_s=0.2), SafetySettings(camera_timeout_s=0.15))
    assert stop is not None and "limit 0.15 s" in stop.sentence


def test_a_goal_to_which_there_is_no_way_is_named_unreachable_until_there_is_another() -> None:
    failure = Stop(kind="no way out", sentence="no way out: stuck")
    ended: dict[str, Any] = {"failure": failure, "goal": False, "goal_ended": "goal unreachable"}
    assert changed(**ended) == Stop(kind="no way out", sentence="goal unreachable: no way out: stuck")
    assert changed(failure=failure) == failure
