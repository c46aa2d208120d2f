"""A robot that lives in the imagination, the planner and RViz. Argument names are Nav2's."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

SHARE = Path(get_package_share_directory("sana_wm_ros"))


def generate_launch_description() -> LaunchDescription:
    """Declared arguments, the robot, and the planner's own launch file beside it."""
    arguments = {
        "namespace": ("", "Namespace of both nodes and of all their relative topics."),
        "use_sim_time": ("true", "The dream gives the time on /clock; false: all use the wall clock."),
        "autostart": ("true", "Configure and activate the planner at once."),
        "params_file": (str(SHARE / "config" / "planner.yaml"), "YAML file with the planner's parameters."),
        "use_respawn": ("false", "Start a node again when it ends by a failure."),
        "log_level": ("info", "Least severity that is logged: debug, info, warn, error or fatal."),
        "model": ("nano", "World model: a shipped model's name or a folder."),
        "rviz": ("false", "Also start RViz with the planner's view."),
        "rviz_config": (str(SHARE / "config" / "planner.rviz"), "RViz configuration file."),
        "picture": ("", "A picture that the dream begins with, in place of a recording."),
        "bag": (str(SHARE / "demo" / "lab_60s"), "A recording whose beginning the dream goes on from."),
        "context_s": ("30.0", "How much of the recording is seen first, s."),
        "dream_model": ("nano", "World model that dreams; the planner has its own, model."),
        "seed": ("0", "Seed of what is imagined; the same number gives the same dream."),
        "drive": ("differential", "What moves the robot: differential or ackermann."),
        "rate": ("1.0", "Times real time that is aimed at."),
        "planner": ("true", "Also start the planner; false leaves cmd_vel to teleop."),
    }
    dreams = {"picture": str, "bag": str, "context_s": float, "seed": int, "drive": str, "rate": float}
    passed_on = [name for name in arguments if name not in (*dreams, "dream_model", "planner")]
    parameters = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, kind in dreams.items()
    }
    picture, bag = LaunchConfiguration("picture"), LaunchConfiguration("bag")
    given = PythonExpression(["'' if '", picture, "' else '", bag, "'"])
    parameters["bag"] = ParameterValue(given, value_type=str)
    parameters["model.path"] = ParameterValue(LaunchConfiguration("dream_model"), value_type=str)
    parameters["clock"] = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    dream = Node(
        package="sana_wm_ros",
        executable="dream_node",
        additional_env={"OMP_WAIT_POLICY": "PASSIVE"},
        name="sana_wm_dream",
        namespace=LaunchConfiguration("namespace"),
        parameters=[parameters],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        respawn=LaunchConfiguration("use_respawn"),
        respawn_delay=2.0,
        output="screen",
    )
    planner = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(SHARE / "launch" / "planner.launch.py")),
        condition=IfCondition(LaunchConfiguration("planner")),
        launch_arguments=[(name, LaunchConfiguration(name)) for name in passed_on],
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in arguments.items()
    ]
    return LaunchDescription([*declared, dream, planner])
