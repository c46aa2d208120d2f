"""A node that plays a recording and asks for goals, for launch files; ``sana_wm replay`` does it all in one command."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from sana_wm_ros.evaluation.bag_facts import BagFacts, read_facts
from sana_wm_ros.nodes.bag_player import BagPlayer
from sana_wm_ros.nodes.replay_goals import GoalPlan, GoalSender
from sana_wm_ros.nodes.robot_process import serve

NAME = "sana_wm_replay"
_TEXTS = {
    "bag": ("", "The recording: a rosbag2 folder or a ROS 1 file."),
    "rate": (1.0, "Times the recorded speed, above 0."),
    "loop": (1, "How often to play; 0 until the node is told to end."),
    "goal": ("ahead:10", "ahead:SECONDS, X,Y in the odometry frame, or none."),
    "image": ("", "The recording's camera topic, where there are several."),
    "camera_info": ("", "The recording's camera_info topic."),
    "odom": ("", "The recording's odometry topic."),
    "scan": ("", "The recording's scan topic."),
}
_WAIT_FOR_PLANNER_S = 120.0


class ReplayNode(Node):
    """Plays what its parameters name, once somebody listens to the pictures."""

    def __init__(self) -> None:
        super().__init__(NAME)
        values: dict[str, Any] = {
            name: self.declare_parameter(
                name, default, ParameterDescriptor(name=name, description=text)
            ).value
            for name, (default, text) in _TEXTS.items()
        }
        if not values["bag"]:
            raise ValueError("the parameter bag is empty: name a recording, e.g. -p bag:=my_bag")
        if not 0.0 < values["rate"] <= 100.0 or values["loop"] < 0:
            raise ValueError(
                f"rate = {values['rate']}, loop = {values['loop']}: expected (0, 100], and 0 or more"
            )
        wanted = {role: values[role] for role in ("image", "camera_info", "odom", "scan") if values[role]}
        self.facts: BagFacts = read_facts(Path(str(values["bag"])).expanduser(), wanted)
        self.rate, self.passes = float(values["rate"]), int(values["loop"])
        self.player = BagPlayer(self, self.facts)
        self.goals = GoalSender(self, self.facts, GoalPlan.parse(str(values["goal"])))
        for what in self.player.left_out:
            self.get_logger().warning(f"not sent: {what}")

    def run(self, ended: threading.Event) -> None:
        """Wait for a listener, then play to the end, or until ``ended``."""
        end_s = time.monotonic() + _WAIT_FOR_PLANNER_S
        while not self.player.subscribers("image") and not ended.wait(0.1):
            if time.monotonic() > end_s:
                raise TimeoutError(f"nobody listened to {self.facts.topics['image'].name} for 120 s")

        def go_on() -> bool:
            self.goals.send(self.player)
            return not ended.is_set()

        self.get_logger().info(f"plays {self.facts.path}, {self.facts.duration_s:.1f} s")
        self.player.play(rate=self.rate, passes=self.passes, go_on=go_on)
        self.get_logger().info(f"played {self.player.played_s:.1f} s")


def main(args: list[str] | None = None) -> int:
    """Play and end: 0 after the last pass or a signal, 1 after a failure."""
    return serve(ReplayNode, NAME, args)


if __name__ == "__main__":
    sys.exit(main())
