"""A simulated robot, the planner and RViz: set a goal with 2D Goal Pose and watch. Argument names are Nav2's."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

SHARE = Path(get_package_share_directory("sana_wm_ros"))


def generate_launch_description() -> LaunchDescription:
    """Declared arguments, the robot, and the planner's own launch file beside it."""
    arguments = {
        "namespace": ("", "Namespace of both nodes and of all their relative topics."),
        "use_sim_time": ("true", "The simulator gives the time on /clock; false: all use the wall clock."),
        "autostart": ("true", "Configure and activate the planner at once."),
        "params_file": (str(SHARE / "config" / "planner.yaml"), "YAML file with the planner's parameters."),
        "use_respawn": ("false", "Start a node again when it ends by a failure."),
        "log_level": ("info", "Least severity that is logged: debug, info, warn, error or fatal."),
        "model": ("nano", "World model: a shipped model's name or a folder."),
        "rviz": ("false", "Also start RViz with the planner's view and the robot's true place."),
        "rviz_config": (str(SHARE / "config" / "sim.rviz"), "RViz configuration file."),
        "seed": ("900003", "Which building, robot and start; the same number gives the same ones."),
        "family": ("lab", "Kind of building: lab (plain) or varied (patterns)."),
        "drive": ("differential", "What moves the robot: differential or ackermann."),
        "rate": ("1.0", "Times real time that is aimed at."),
    }
    passed_on = [name for name in arguments if name not in ("seed", "family", "drive", "rate")]
    kinds = {"seed": int, "family": str, "drive": str, "rate": float}
    parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, kind in kinds.items()
    }
    simulator = Node(
        package="sana_wm_ros",
        executable="simulator_node",
        additional_env={"OMP_WAIT_POLICY": "PASSIVE"},
        name="sana_wm_simulator",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            parameters | {"clock": ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)},
        ],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        respawn=LaunchConfiguration("use_respawn"),
        respawn_delay=2.0,
        output="screen",
    )
    planner = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "planner.launch.py")),
        launch_arguments=[(name, LaunchConfiguration(name)) for name in passed_on],
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in arguments.items()
    ]
    return LaunchDescription([*declared, simulator, planner])
