"""The node as a process of its own: SIGINT, SIGTERM, bad parameters and a missing model end it well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from robot_rig import RobotRig


def command(model: Path | str, *more: str) -> list[str]:
    parameters = [f"model.path:={model}", "autostart:=true", "model.threads:=1", "planner.rate_hz:=2.0"]
    parameters += ["planner.candidates:=4", "planner.horizon_s:=4.0", *more]
    arguments = [word for parameter in parameters for word in ("-p", parameter)]
    return [sys.executable, "-m", "sana_wm_ros.nodes.planner_node", "--ros-args", *arguments]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_robot_and_ends_the_process_cleanly(
    rig: RobotRig, model_folder: Path, number: signal.Signals
) -> None:
    process = subprocess.Popen(command(model_folder), stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        rig.wait_until(lambda: rig.goal.get_subscription_count() > 0, "the node", timeout_s=60.0)
        rig.send_goal(50.0, 0.0)
        rig.wait_until_driving()
        begin_s = time.monotonic()
        process.send_signal(number)
        rig.assert_stops_within(begin_s)
        _, log = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0, log
    assert "Traceback" not in log


def test_a_bad_parameter_ends_the_process_with_the_range_that_is_allowed(model_folder: Path) -> None:
    done = subprocess.run(
        command(model_folder, "robot.max_speed_mps:=-1.0"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "robot.max_speed_mps = -1.0 is refused: expected a number in [0.01, 30]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_model_is_told_and_the_node_waits_unconfigured(rig: RobotRig) -> None:
    process = subprocess.Popen(
        command("/nowhere/nano"),
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONUNBUFFERED="1"),
    )
    assert process.stderr is not None
    try:
        said = ""
        while "cannot be configured" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        assert "no such folder (/nowhere/nano)" in said
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "Traceback" not in said + rest
    finally:
        process.kill()
