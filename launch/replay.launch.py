"""A recording through the planner into RViz; ends when the recording does. ``bag:=`` names the recording."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction, RegisterEventHandler, Shutdown
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

SHARE = Path(get_package_share_directory("sana_wm_ros"))


def generate_launch_description() -> LaunchDescription:
    """Declared arguments, then what the recording asks for."""
    arguments = {
        "namespace": ("", "Namespace of the nodes."),
        "use_sim_time": ("true", "A replay gives the time; false only makes sense for looking at refusals."),
        "autostart": ("true", "Configure and activate the planner at once."),
        "params_file": (
            str(SHARE / "config" / "planner.yaml"),
            "YAML file with the planner's parameters; what the recording tells (camera, speed) comes on top.",
        ),
        "use_respawn": ("false", "Start the planner again when it ends by a failure."),
        "log_level": ("info", "Least severity that is logged: debug, info, warn, error or fatal."),
        "rate": ("1.0", "Times the recorded speed."),
        "loop": ("1", "How often to play; 0 goes on until Ctrl-C."),
        "goal": (
            "ahead:10",
            "ahead:SECONDS (where the recording is then), X,Y in odometry's frame, or none.",
        ),
        "model": ("nano", "World model: a shipped model's name or a folder."),
        "rviz": ("true", "Also start RViz with the planner's view."),
        "rviz_config": (str(SHARE / "config" / "planner.rviz"), "RViz configuration file."),
    }
    declared = [
        DeclareLaunchArgument("bag", description="The recording: a rosbag2 folder or a ROS 1 file."),
        *(
            DeclareLaunchArgument(name, default_value=default, description=text)
            for name, (default, text) in arguments.items()
        ),
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_nodes)])


def _nodes(context: LaunchContext) -> list[Node | RegisterEventHandler]:
    from sana_wm_ros.evaluation.bag_facts import read_facts
    from sana_wm_ros.nodes.replay import planner_setup

    def value(name: str) -> str:
        return context.perform_substitution(LaunchConfiguration(name))

    parameters, remaps = planner_setup(read_facts(Path(value("bag")).expanduser()), model=value("model"))
    sim_time = {"use_sim_time": value("use_sim_time").lower() == "true"}
    parameters |= sim_time | {"autostart": value("autostart").lower() == "true"}
    log = ["--ros-args", "--log-level", value("log_level")]
    planner = Node(
        package="sana_wm_ros",
        executable="planner_node",
        additional_env={"OMP_WAIT_POLICY": "PASSIVE"},  # threads that spin starve everything else on a robot
        name="sana_wm_planner",
        namespace=value("namespace"),
        parameters=[value("params_file"), parameters],
        remappings=list(remaps.items()),
        arguments=log,
        respawn=value("use_respawn").lower() == "true",
        respawn_delay=2.0,
        output="screen",
    )
    player = Node(
        package="sana_wm_ros",
        executable="replay_node",
        name="sana_wm_replay",
        namespace=value("namespace"),
        parameters=[
            {
                "bag": value("bag"),
                "rate": ParameterValue(LaunchConfiguration("rate"), value_type=float),
                "loop": ParameterValue(LaunchConfiguration("loop"), value_type=int),
                "goal": ParameterValue(LaunchConfiguration("goal"), value_type=str),
            }
        ],
        arguments=log,
        output="screen",
    )
    rviz = Node(
        condition=IfCondition(LaunchConfiguration("rviz")),
        package="rviz2",
        executable="rviz2",
        parameters=[sim_time],
        arguments=["-d", value("rviz_config")],
        output="screen",
    )
    over = OnProcessExit(target_action=player, on_exit=[Shutdown(reason="the recording is over")])
    return [planner, player, rviz, RegisterEventHandler(over)]
