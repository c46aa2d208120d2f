"""What a replayed planner is asked for: a place that the recording reaches later, a fixed place, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.nodes import conversions
from sana_wm_ros.nodes.bag_facts import BagFacts
from sana_wm_ros.nodes.bag_player import BagPlayer


@dataclass(frozen=True, kw_only=True)
class GoalPlan:
    """ahead_s: the goal is where the recording is so many seconds later. place_2: a fixed (x, y). Else none."""

    ahead_s: float | None = None
    place_2: tuple[float, float] | None = None

    @staticmethod
    def parse(text: str) -> GoalPlan:
        """Read ``ahead:SECONDS``, ``X,Y`` (metres in the odometry frame) or ``none``."""
        try:
            if text == "none":
                return GoalPlan()
            if text.startswith("ahead:"):
                ahead_s = float(text.removeprefix("ahead:"))
                if 0 < ahead_s < np.inf:
                    return GoalPlan(ahead_s=ahead_s)
            else:
                x, y = (float(part) for part in text.split(","))
                if np.isfinite((x, y)).all():
                    return GoalPlan(place_2=(x, y))
        except ValueError:
            pass
        raise ValueError(
            f"goal {text!r} is not understood: expected ahead:SECONDS, X,Y (metres in odom) or none"
        )

    @property
    def interval_s(self) -> float:
        """Seconds between two goals: a new one well before the old one's time."""
        return float("inf") if self.ahead_s is None else max(0.5, self.ahead_s / 4)

    def at(self, facts: BagFacts, now_s: float) -> FloatArray | None:
        """The goal pose (x, y, yaw) at a time of the recording, or None."""
        if self.place_2 is not None:
            return np.array([*self.place_2, 0.0])
        return None if self.ahead_s is None else facts.pose_at(now_s + self.ahead_s)


class GoalSender:
    """Publishes goals on ``/goal_pose`` as the recording goes on."""

    def __init__(self, node: Node, facts: BagFacts, plan: GoalPlan) -> None:
        self._publisher = node.create_publisher(PoseStamped, "/goal_pose", 10)
        self._facts, self._plan = facts, plan
        self._due_s = 0.0

    def send(self, player: BagPlayer) -> None:
        """Send a goal when one is due, once the recording has begun."""
        if (
            player.now_s == 0.0
            or player.played_s < self._due_s
            or not self._publisher.get_subscription_count()
        ):
            return
        self._due_s = player.played_s + self._plan.interval_s
        goal_3 = self._plan.at(self._facts, player.now_s)
        if goal_3 is not None:
            message = PoseStamped(pose=conversions.to_pose(goal_3))
            message.header.stamp = conversions.to_stamp(player.now_s)
            message.header.frame_id = self._facts.odometry_frame
            self._publisher.publish(message)
