"""The simulated robot as a node: cmd_vel in; camera, odometry, scan, contact, TF and /clock out."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseArray, PoseStamped
from rclpy.node import Node

from sana_wm_ros.nodes import command_ear, conversions, robot_topics
from sana_wm_ros.nodes.command_ear import CommandEar
from sana_wm_ros.nodes.robot_process import declared, serve
from sana_wm_ros.nodes.robot_topics import RobotTopics
from sana_wm_ros.nodes.settings import Parameter
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.drive import DriveConfig
from sana_wm_ros.simulation.live_robot import LiveRobot
from sana_wm_ros.simulation.simulator import MAX_RANGE_M

NAME = "sana_wm_simulator"
MAP = "map"
TICK_S = 0.05
_MAX_BEHIND_S = 0.25
"""Further behind the wall clock than this, simulated time gives way instead of catching up."""
PARAMETERS = (
    Parameter(name="seed", default=900_003, text="Seed of building, robot and start.", low=0, high=2**31 - 1),
    Parameter(name="family", default="lab", text="Kind of building.", choices=("lab", "varied")),
    Parameter(
        name="drive", default="differential", text="What moves it.", choices=("differential", "ackermann")
    ),
    Parameter(name="width", default=192, text="Picture width, pixels.", low=32, high=1920),
    Parameter(name="height", default=128, text="Picture height, pixels.", low=32, high=1080),
    Parameter(name="camera_hz", default=10.0, text="Pictures per second.", low=1.0, high=20.0),
    Parameter(name="lens", default=True, text="The camera may have a lens that bends the picture."),
    Parameter(name="drift", default=True, text="Odometry drifts as wheels do; false: the truth."),
    Parameter(name="rate", default=1.0, text="Times real time that is aimed at.", low=0.05, high=20.0),
    *robot_topics.PARAMETERS,
    *command_ear.PARAMETERS,
)


class SimulatorNode(Node):
    """One robot in one building. ``run`` steps it, in the thread that calls it, until it is told to end."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__(NAME, **node_options)
        self._values = declared(self, PARAMETERS)
        self.robot: LiveRobot | None = None
        self._topics, self._ear = RobotTopics(self, self._values), CommandEar(self, self._values)
        self._true_pose = self.create_publisher(PoseStamped, "~/true_pose", 10)
        self._movers = self.create_publisher(PoseArray, "~/movers", 10)

    def run(self, ended: threading.Event) -> None:
        """Simulate in real time (times ``rate``), later where the machine is too slow."""
        values = self._values
        config = DriveConfig(
            family=values["family"],
            robot=Robot(drive=values["drive"]),
            width=values["width"],
            height=values["height"],
            lens=values["lens"],
        )
        self.robot = robot = LiveRobot(values["seed"], config, drifting=values["drift"])
        self.get_logger().info(
            f"{values['family']} building {values['seed']}: {len(robot.scene.plan.rooms)} rooms"
        )
        self._topics.introduce(robot.scene.camera.T_base_camera_44)
        every = max(1, round(1.0 / (values["camera_hz"] * TICK_S)))
        ticks, touched, due_s = 0, False, time.monotonic()
        try:
            while not ended.is_set():
                stamp = self._topics.stamp(robot.time_s)
                self._tell_motion(robot, stamp)
                if ticks % every == 0:
                    self._tell_sensors(robot, stamp, touched)
                    touched = False
                robot.step(self._ear.present, TICK_S)
                touched = touched or robot.touched
                ticks += 1
                due_s = max(due_s + TICK_S / values["rate"], time.monotonic() - _MAX_BEHIND_S)
                ended.wait(max(0.0, due_s - time.monotonic()))
        finally:
            robot.close()

    def _tell_motion(self, robot: LiveRobot, stamp: Any) -> None:
        self._topics.tell_motion(stamp, robot.odom_3, robot.twist_2)
        self._topics.tell_drift(stamp, MAP, robot.pose_3, robot.odom_3)
        true = PoseStamped(pose=conversions.to_pose(robot.pose_3))
        true.header.stamp, true.header.frame_id = stamp, MAP
        self._true_pose.publish(true)

    def _tell_sensors(self, robot: LiveRobot, stamp: Any, touched: bool) -> None:
        camera = robot.scene.camera
        self._topics.tell_picture(stamp, robot.picture(), camera.pinhole, camera.distortion)
        self._topics.tell_contact(touched)
        places = PoseArray(poses=[conversions.to_pose(np.array([x, y, 0.0])) for x, y in robot.movers_M2])
        places.header.stamp, places.header.frame_id = stamp, MAP
        self._movers.publish(places)
        self._topics.tell_scan(stamp, robot.ranges_R, MAX_RANGE_M)


def main(args: list[str] | None = None) -> int:
    """Simulate until told to end; 0, or 1 when it cannot begin (the log says why)."""
    return serve(SimulatorNode, NAME, args)


if __name__ == "__main__":
    sys.exit(main())
