"""Launch files: Nav2's argument names, a word on each, and a planner that comes up active through real launch."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FILES = ["planner.launch.py", "replay.launch.py", "sim.launch.py", "dream.launch.py"]
NAV2 = {"namespace", "use_sim_time", "autostart", "params_file", "use_respawn", "log_level"}

WITHOUT_LAUNCH = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None, reason="launch_ros comes with ROS 2 only, not from PyPI"
)


@pytest.fixture
def prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What colcon would install, as far as ament's index and launch look at it."""
    share, library = tmp_path / "share" / "sana_wm_ros", tmp_path / "lib" / "sana_wm_ros"
    marker = tmp_path / "share" / "ament_index" / "resource_index" / "packages"
    for folder in (share, library, marker):
        folder.mkdir(parents=True)
    (marker / "sana_wm_ros").touch()
    for folder_name in ("config", "launch"):
        (share / folder_name).symlink_to(ROOT / folder_name)
    for name in ("planner_node", "replay_node", "simulator_node", "dream_node"):
        script = library / name
        script.write_text(
            f"#!{sys.executable}\nimport sys\nfrom sana_wm_ros.nodes.{name} import main\nsys.exit(main())\n"
        )
        script.chmod(0o755)
    monkeypatch.setenv(
        "AMENT_PREFIX_PATH", f"{tmp_path}{os.pathsep}{os.environ.get('AMENT_PREFIX_PATH', '')}"
    )
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return tmp_path


def description(name: str) -> Any:
    spec = importlib.util.spec_from_file_location("launch_file", ROOT / "launch" / name)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


@pytest.mark.parametrize("name", FILES)
def test_a_launch_file_is_python_that_names_navs_arguments(name: str) -> None:
    source = (ROOT / "launch" / name).read_text()
    compile(source, name, "exec")
    assert all(f'"{argument}"' in source for argument in NAV2)


@WITHOUT_LAUNCH
@pytest.mark.parametrize("name", FILES)
def test_every_argument_is_described(name: str, prefix: Path) -> None:
    arguments = {argument.name: argument.description for argument in description(name).get_launch_arguments()}
    assert set(arguments) >= NAV2
    assert all(len(text) > 10 for text in arguments.values())


def run_launch(name: str, arguments: list[str], until: Any, timeout_s: float = 90.0) -> bool:
    """Launch until ``until()`` holds; whether it did in time."""
    from launch.actions import IncludeLaunchDescription
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    from launch import LaunchDescription, LaunchService

    pairs = [tuple(argument.split(":=")) for argument in arguments]
    include = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(ROOT / "launch" / name)), launch_arguments=pairs
    )
    service = LaunchService(noninteractive=True)
    service.include_launch_description(LaunchDescription([include]))
    held: list[bool] = []
    ended = threading.Event()

    def watch() -> None:
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s and not held and not ended.wait(0.1):
            if until():
                held.append(True)
        service.shutdown()

    watcher = threading.Thread(target=watch)
    watcher.start()
    code = service.run()
    ended.set()
    watcher.join()
    assert code == 0
    return bool(held)


@WITHOUT_LAUNCH
def test_the_planner_comes_up_active_and_drives(prefix: Path, rig: Any, model_folder: Path) -> None:
    arguments = [f"model:={model_folder}", "log_level:=warn"]

    def driving() -> bool:
        if rig.goal.get_subscription_count():
            rig.send_goal(50.0, 0.0)
        return any(abs(command[0]) > 0.05 for _, command in rig.commands)

    assert run_launch("planner.launch.py", arguments, driving)
    assert not rig.commands[-1][1].any(), "the last command of a launch that ends is zero"


@WITHOUT_LAUNCH
def test_a_replay_plays_to_its_end_and_takes_the_planner_with_it(
    prefix: Path, make_bag: Any, model_folder: Path
) -> None:
    begin_s = time.monotonic()
    arguments = [f"bag:={make_bag(seconds=3.0)}", f"model:={model_folder}", "rviz:=false"]
    run_launch("replay.launch.py", arguments, lambda: False, timeout_s=90.0)
    assert time.monotonic() - begin_s < 80.0


@WITHOUT_LAUNCH
def test_the_simulated_robot_drives_where_it_is_sent(prefix: Path, rig: Any, model_folder: Path) -> None:
    pytest.importorskip("mujoco", reason="the simulator is the extra 'sim'")
    rig.camera = rig.odometry = False  # an ear alone: the simulator is the robot
    arguments = [f"model:={model_folder}", "seed:=1000003", "use_sim_time:=false"]

    def driving() -> bool:
        if rig.goal.get_subscription_count():
            rig.send_goal(50.0, 0.0)
        return any(np.abs(command).max() > 0.05 for _, command in rig.commands)

    assert run_launch("sim.launch.py", arguments, driving)


@WITHOUT_LAUNCH
def test_the_dreamed_robot_drives_where_it_is_sent(prefix: Path, rig: Any, model_folder: Path) -> None:
    rig.camera = rig.odometry = False  # an ear alone: the dream is the robot
    bag = ROOT / "test" / "data" / "small_12s"
    arguments = [f"model:={model_folder}", f"bag:={bag}", "use_sim_time:=false"]

    def driving() -> bool:
        if rig.goal.get_subscription_count():
            rig.send_goal(50.0, 0.0)
        return any(np.abs(command).max() > 0.05 for _, command in rig.commands)

    assert run_launch("dream.launch.py", arguments, driving)
