"""Replays over real DDS: every bag format, a planner in its own process, outputs that can be opened again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from sana_wm_ros.evaluation.bag_facts import read_facts
from sana_wm_ros.evaluation.bags import BadBag
from sana_wm_ros.evaluation.goal_plan import GoalPlan
from sana_wm_ros.nodes.replay import ReplayFailed, ReplayOptions, ReplaySummary, planner_setup, replay

QUICK = ("planner.rate_hz:=4.0", "planner.candidates:=4", "planner.horizon_s:=2.0", "model.threads:=1")


def run(bag: Path, model: Path, out: Path, **options: Any) -> ReplaySummary:
    parameters = (*QUICK, *options.pop("parameters", ()))
    chosen = ReplayOptions(bag=bag, out=out, model=str(model), parameters=parameters, **options)
    return replay(chosen, lambda *_: None)


def topics_of(bag: Path) -> dict[str, int]:
    with AnyReader([bag]) as reader:
        return {connection.topic: connection.msgcount for connection in reader.connections}


def test_outputs_are_filed_under_the_recordings_own_time_and_open_again(
    make_bag: Any, model_folder: Path, tmp_path: Path
) -> None:
    summary = run(make_bag(), model_folder, tmp_path / "out")
    assert summary.sent == {"image": 40, "camera_info": 40, "odom": 40}
    assert summary.plans >= 4
    assert not summary.refused
    found = topics_of(tmp_path / "out" / "bag")
    for topic in (
        "/plan",
        "/replay/cmd_vel",
        "/diagnostics",
        "/sana_wm_planner/rollouts",
        "/goal_pose",
        "/odom",
    ):
        assert found[topic] > 0, topic
    with AnyReader([tmp_path / "out" / "bag"]) as reader:
        wanted = [c for c in reader.connections if c.topic == "/plan"]
        times = [t for _, t, _ in reader.messages(wanted)]
        plan = reader.deserialize(next(reader.messages(wanted))[2], "nav_msgs/msg/Path")
    assert 1_600_000_000 <= min(times) / 1e9 <= max(times) / 1e9 <= 1_600_000_005
    assert len(plan.poses) == 5  # the start, and 2 s on a clock of 0.5 s


def test_a_ros_1_bag_at_four_times_its_speed_with_stamps_of_another_day(
    make_bag: Any, model_folder: Path, tmp_path: Path
) -> None:
    bag = make_bag(storage="ros1", seconds=8.0, stamp_shift_s=-86_400.0)
    assert read_facts(bag).stamp_ahead_s == pytest.approx(-86_400.0)
    summary = run(bag, model_folder, tmp_path / "out", rate=4.0)
    assert summary.played_s == pytest.approx(7.9, abs=0.01)
    assert 1.9 < summary.wall_s < 3.5
    assert summary.plans >= 2
    assert "is 86" not in (tmp_path / "out" / "planner.log").read_text(), "no picture may look a day old"


def test_the_command_loops_a_recording_of_compressed_pictures_without_camera_info(
    make_bag: Any, model_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from sana_wm_ros.cli.replay import replay as command

    bag, out = make_bag(storage="sqlite3", seconds=3.0, compressed=True, camera_info=False), tmp_path / "out"
    with pytest.raises(ValueError, match="horizontal_fov_deg"):
        run(bag, model_folder, out)
    parameters = [*QUICK, "camera.horizontal_fov_deg:=90.0"]
    command(bag, model=str(model_folder), out=out, rate=1.0, loop=2, param=parameters, topic=None)
    written = json.loads((out / "summary.json").read_text())
    assert written["sent"]["image"] == 60
    assert written["plans"] >= 6
    assert f"{written['plans']} (" in capsys.readouterr().out
    log = (out / "planner.log").read_text()
    assert "jumped back" in log
    assert log.count("context starts anew") >= 2


def test_a_planner_that_cannot_start_ends_the_replay_with_its_words(make_bag: Any, tmp_path: Path) -> None:
    with pytest.raises(ReplayFailed, match="no such folder"):
        run(make_bag(), tmp_path / "no_model", tmp_path / "out")


def test_outputs_are_not_overwritten_unasked(make_bag: Any, model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "bag").mkdir(parents=True)
    with pytest.raises(FileExistsError, match="exists already"):
        run(make_bag(), model_folder, tmp_path / "out")


def test_broken_recordings_are_refused_by_name(make_bag: Any, tmp_path: Path) -> None:
    with pytest.raises(BadBag, match="no such bag"):
        read_facts(tmp_path / "nothing")
    bag = make_bag()
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BadBag, match=str(bag)):
        read_facts(bag)


def test_a_recording_without_pictures_says_what_is_there(make_bag: Any) -> None:
    with pytest.raises(BadBag, match=r"for image; there is /odom \(nav_msgs/msg/Odometry, 40\)"):
        read_facts(make_bag(cameras=()))


def test_topics_can_be_named_where_there_are_two_cameras(make_bag: Any) -> None:
    bag = make_bag(cameras=("left", "right"))
    facts = read_facts(bag, {"image": "/right/image"})
    assert facts.topics["camera_info"].name == "/right/camera_info"
    with pytest.raises(BadBag, match="no topic /up/image"):
        read_facts(bag, {"image": "/up/image"})


def test_a_faster_robots_limits_come_from_its_recording(checkout: Path) -> None:
    bag = checkout.parent / "shared" / "bags" / "kitti03_gray_40s" / "bag"
    if not bag.exists():
        pytest.skip(f"{bag} is not here")
    parameters, remaps = planner_setup(read_facts(bag), model="nano")
    assert 9.0 < parameters["robot.max_speed_mps"] < 12.0
    assert (parameters["camera.x"], parameters["camera.z"]) == (1.03, 1.65)
    assert remaps["image/compressed"] == "/camera/image/compressed"
    assert remaps["cmd_vel"] == "/replay/cmd_vel"


def test_goals_are_where_the_recording_is_later(make_bag: Any) -> None:
    facts = read_facts(make_bag(seconds=6.0))
    start_s = facts.path_T4[0, 0]
    goal_3 = GoalPlan.parse("ahead:2").at(facts, start_s)
    assert goal_3 is not None
    # After 2 s at 0.5 m/s and 0.2 rad/s: an arc of radius 2.5 m over 0.4 rad.
    np.testing.assert_allclose(goal_3, [2.5 * np.sin(0.4), 2.5 * (1 - np.cos(0.4)), 0.4], atol=0.02)
    assert GoalPlan.parse("none").at(facts, start_s) is None
    np.testing.assert_allclose(GoalPlan.parse("1.5,-2").at(facts, start_s), [1.5, -2.0, 0.0])


@pytest.mark.parametrize("text", ["ahead:", "ahead:-3", "1,2,3", "there", "nan,1", "ahead:inf"])
def test_a_goal_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected ahead:SECONDS"):
        GoalPlan.parse(text)
