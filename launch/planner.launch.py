"""The planner on a robot: one lifecycle node, RViz if asked. Argument names are Nav2's."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchDescription

SHARE = Path(get_package_share_directory("sana_wm_ros"))
TOPICS = {
    "image": "Camera pictures, sensor_msgs/Image; those at TOPIC/compressed are heard, too.",
    "camera_info": "The camera's intrinsics, sensor_msgs/CameraInfo.",
    "odom": "Odometry, nav_msgs/Odometry.",
    "scan": "A laser scan, sensor_msgs/LaserScan, where the robot has one.",
    "goal_pose": "Goals, geometry_msgs/PoseStamped; RViz's 2D Goal Pose.",
    "cmd_vel": "Where commands go, geometry_msgs/TwistStamped (or Twist, by parameter).",
}


def generate_launch_description() -> LaunchDescription:
    """Declared arguments, the node, and RViz when ``rviz:=true``."""
    arguments = {
        "namespace": ("", "Namespace of the node and of all its relative topics."),
        "use_sim_time": ("false", "Take time from /clock: true with a simulator or a replay."),
        "autostart": ("true", "Configure and activate at once; false waits for lifecycle transitions."),
        "params_file": (str(SHARE / "config" / "planner.yaml"), "YAML file with the node's parameters."),
        "use_respawn": (
            "false",
            "Start the node again when it ends by a failure; with autostart it goes on.",
        ),
        "log_level": ("info", "Least severity that is logged: debug, info, warn, error or fatal."),
        "model": ("nano", "World model: a shipped model's name or a folder."),
        "rviz": ("false", "Also start RViz with the planner's view."),
        "rviz_config": (str(SHARE / "config" / "planner.rviz"), "RViz configuration file."),
    }
    arguments |= {topic: (topic, text) for topic, text in TOPICS.items()}
    image = LaunchConfiguration("image")
    remappings = [(topic, LaunchConfiguration(topic)) for topic in TOPICS]
    remappings.append(("image/compressed", [image, "/compressed"]))
    use_sim_time = ParameterValue(LaunchConfiguration("use_sim_time"), value_type=bool)
    planner = Node(
        package="sana_wm_ros",
        executable="planner_node",
        additional_env={"OMP_WAIT_POLICY": "PASSIVE"},  # threads that spin starve everything else on a robot
        name="sana_wm_planner",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            LaunchConfiguration("params_file"),
            {
                "use_sim_time": use_sim_time,
                "autostart": ParameterValue(LaunchConfiguration("autostart"), value_type=bool),
                "model.path": ParameterValue(LaunchConfiguration("model"), value_type=str),
            },
        ],
        remappings=remappings,
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        respawn=LaunchConfiguration("use_respawn"),
        respawn_delay=2.0,
        output="screen",
    )
    rviz = Node(
        condition=IfCondition(LaunchConfiguration("rviz")),
        package="rviz2",
        executable="rviz2",
        namespace=LaunchConfiguration("namespace"),
        parameters=[{"use_sim_time": use_sim_time}],
        arguments=["-d", LaunchConfiguration("rviz_config")],
        output="screen",
    )
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in arguments.items()
    ]
    return LaunchDescription([*declared, planner, rviz])
