"""Each way to fail, caused for real over DDS: zero within half a second, nothing after it, a reason, recovery."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from robot_rig import RobotRig
from ros_fixtures import Log

from sana_wm_ros.nodes import model_loading


def assert_stops(rig: RobotRig, cause: Callable[[], object], kind: str, *, watch_s: float = 0.8) -> None:
    """Zero within half a second of the cause, only zero after it, and a reason told."""
    rig.wait_until_driving()
    begin_s = time.monotonic()
    cause()
    rig.assert_stops_within(begin_s, watch_s=watch_s)
    rig.wait_until(lambda: rig.stopped_for(kind), f"diagnostics that tell: {kind}")


def drive_to_a_far_goal(rig: RobotRig) -> None:
    rig.send_goal_when_heard(50.0, 0.0)
    rig.wait_until_driving()


def test_a_camera_that_falls_silent_stops_the_robot_until_it_is_back(
    start_node: Any, rig: RobotRig, log: Log
) -> None:
    start_node()
    drive_to_a_far_goal(rig)
    assert_stops(rig, lambda: setattr(rig, "camera", False), "no camera message")
    lines = [line for line in log.text.splitlines() if "no camera message for" in line]
    assert len(lines) == 1, "one line per stop"
    rig.camera = True
    rig.wait_until_driving()


def test_odometry_that_falls_silent_stops_the_robot_until_it_is_back(start_node: Any, rig: RobotRig) -> None:
    start_node()
    drive_to_a_far_goal(rig)
    assert_stops(rig, lambda: setattr(rig, "odometry", False), "odometry")
    rig.odometry = True
    rig.wait_until_driving()


def test_pictures_that_are_old_stop_the_robot_although_they_keep_coming(
    start_node: Any, rig: RobotRig
) -> None:
    start_node()
    drive_to_a_far_goal(rig)
    assert_stops(rig, lambda: setattr(rig, "stamp_offset_s", -0.6), "clock is behind")
    rig.stamp_offset_s = 0.0
    rig.wait_until_driving()


def test_odometry_that_is_not_finite_stops_the_robot(start_node: Any, rig: RobotRig) -> None:
    start_node()
    drive_to_a_far_goal(rig)
    assert_stops(rig, lambda: setattr(rig, "nan_odometry", True), "odometry")
    rig.nan_odometry = False
    rig.wait_until_driving()


class Faulty:
    """The real model, until it is told to misbehave."""

    def __init__(self, settings: Any) -> None:
        self._model = model_loading.load(settings)
        self.spec = self._model.spec
        self.fault: BaseException | str | None = None

    def __call__(self, settings: Any) -> Faulty:
        return self

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self._model.decode(latents)

    def start(self, intrinsics: Any) -> Any:
        return _FaultyContext(self, self._model.start(intrinsics))


class _FaultyContext:
    def __init__(self, owner: Faulty, inner: Any) -> None:
        self._owner, self._inner = owner, inner

    @property
    def latent_frames(self) -> int:
        return self._inner.latent_frames

    @property
    def last_latent_CHW(self) -> Any:
        return self._inner.last_latent_CHW

    def extend(self, frames: Any, poses: Any) -> Any:
        return _FaultyContext(self._owner, self._inner.extend(frames, poses))

    def fork(self, candidates: int) -> Any:
        fault = self._owner.fault
        if isinstance(fault, BaseException):
            raise fault
        if fault == "hangs":
            time.sleep(6.0)
        return _FaultyBatch(self._owner, self._inner.fork(candidates))


class _FaultyBatch:
    def __init__(self, owner: Faulty, inner: Any) -> None:
        self._owner, self._inner, self.size = owner, inner, inner.size

    def select(self, index: Any) -> Any:
        return _FaultyBatch(self._owner, self._inner.select(index))

    def imagine(self, poses: Any, **options: Any) -> Any:
        batch, rollout = self._inner.imagine(poses, **options)
        if self._owner.fault == "not finite":
            rollout.clearance_NFK.fill_(float("nan"))
        if self._owner.fault == "walls":
            rollout.clearance_NFK.fill_(0.05)
        return _FaultyBatch(self._owner, batch), rollout


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (RuntimeError("a kernel broke"), "a kernel broke"),
        (MemoryError(), "ran out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "ran out of memory"),
        ("not finite", "not finite"),
    ],
)
def test_a_model_that_fails_stops_the_robot_until_it_works_again(
    start_node: Any, rig: RobotRig, model_folder: Any, fault: Any, kind: str
) -> None:
    made: list[Faulty] = []

    def load(settings: Any) -> Faulty:
        made.append(Faulty(settings))
        return made[0]

    start_node(load_model=load, planner__rate_hz=4.0)
    drive_to_a_far_goal(rig)

    def cause() -> None:
        made[0].fault = fault

    # The failure begins when the next plan is made, at most one period (0.25 s) after the cause.
    assert_stops(rig, cause, kind)
    made[0].fault = None
    rig.wait_until_driving()


def test_a_wall_everywhere_leaves_no_valid_candidate_but_to_stand(
    start_node: Any, rig: RobotRig, model_folder: Any
) -> None:
    made: list[Faulty] = []

    def load(settings: Any) -> Faulty:
        made.append(Faulty(settings))
        return made[0]

    start_node(load_model=load, planner__rate_hz=4.0)
    drive_to_a_far_goal(rig)
    made[0].fault = "walls"
    rig.wait_until(lambda: np.abs(rig.commands[-1][1]).max() < 0.02, "standing before the walls")
    made[0].fault = None
    rig.wait_until_driving()


def test_a_model_that_hangs_lets_the_plan_expire_and_the_robot_stops(
    start_node: Any, rig: RobotRig, model_folder: Any
) -> None:
    made: list[Faulty] = []

    def load(settings: Any) -> Faulty:
        made.append(Faulty(settings))
        return made[0]

    start_node(load_model=load, planner__valid_s=1.0)
    drive_to_a_far_goal(rig)
    made[0].fault = "hangs"
    # A period (0.5 s) in which nothing hangs yet, and the plan's validity (1 s), come before the cause.
    rig.assert_stops_within(time.monotonic(), 0.5 + 1.0 + 0.5)
    rig.wait_until(lambda: rig.stopped_for("plan expired"), "an expired plan")
    made[0].fault = None
    rig.wait_until_driving()


def test_deactivating_stops_the_robot_and_activating_goes_on(start_node: Any, rig: RobotRig) -> None:
    node = start_node()
    drive_to_a_far_goal(rig)
    assert_stops(rig, node.trigger_deactivate, "not active")
    node.trigger_activate()
    rig.wait_until_driving()


def test_cleaning_up_and_shutting_down_while_driving_stop_the_robot(start_node: Any, rig: RobotRig) -> None:
    node = start_node()
    drive_to_a_far_goal(rig)
    rig.wait_until_driving()
    begin_s = time.monotonic()
    node.trigger_shutdown()
    rig.assert_stops_within(begin_s)


def test_pausing_by_service_stops_and_resuming_goes_on(start_node: Any, rig: RobotRig) -> None:
    start_node()
    drive_to_a_far_goal(rig)
    assert_stops(rig, lambda: rig.call("pause"), "paused")
    rig.call("resume")
    rig.wait_until_driving()


def test_clearing_the_goal_stops_and_then_leaves_the_topic_to_others(start_node: Any, rig: RobotRig) -> None:
    start_node()
    drive_to_a_far_goal(rig)
    assert_stops(rig, lambda: rig.call("clear_goal"), "no goal", watch_s=1.5)
    count = len(rig.commands)
    time.sleep(0.5)
    assert len(rig.commands) == count, "with nothing to do the node is silent"


def test_an_exception_in_the_follower_stops_the_robot(
    start_node: Any, rig: RobotRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sana_wm_ros.planning.follower import Follower

    start_node()
    drive_to_a_far_goal(rig)

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a gain of nothing")

    assert_stops(rig, lambda: monkeypatch.setattr(Follower, "command", broken), "a gain of nothing")
    monkeypatch.undo()
    rig.wait_until_driving()


def test_a_command_that_is_not_finite_is_never_sent(
    start_node: Any, rig: RobotRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sana_wm_ros.planning.follower import Command, Follower

    start_node()
    drive_to_a_far_goal(rig)

    def wild(*_: object, **__: object) -> Command:
        return Command(twist_3=np.array([np.nan, 0.0, 0.0]), state="following", reason="")

    assert_stops(rig, lambda: monkeypatch.setattr(Follower, "command", wild), "follower commanded")
    monkeypatch.undo()
    rig.wait_until_driving()
