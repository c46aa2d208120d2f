"""Sends a replayed planner its goals as the recording goes on."""

from __future__ import annotations

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node

from sana_wm_ros.evaluation.bag_facts import BagFacts
from sana_wm_ros.evaluation.goal_plan import GoalPlan
from sana_wm_ros.nodes import conversions
from sana_wm_ros.nodes.bag_player import BagPlayer


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
