"""QoS mismatches in plain words: who offers what, who asks what, and what to change."""

from __future__ import annotations

from typing import Any

from rclpy.event_handler import (
    PublisherEventCallbacks,
    SubscriptionEventCallbacks,
    UnsupportedEventTypeError,
)
from rclpy.node import Node
from rclpy.qos import qos_policy_name_from_kind

_MEANING = {
    "RELIABILITY": "one side sends best effort, the other insists on reliable",
    "DURABILITY": "one side sends volatile, the other asks for messages kept for late joiners (transient local)",
    "DEADLINE": "one side promises messages less often than the other asks",
    "LIVELINESS": "one side promises less about being alive than the other asks",
}

__all__ = ["UnsupportedEventTypeError", "for_publisher", "for_subscription"]


def for_subscription(node: Node, topic: str) -> SubscriptionEventCallbacks:
    """Logs when a publisher offers less than this node asks."""

    def incompatible(event: Any) -> None:
        node.get_logger().error(
            f"a publisher on {node.resolve_topic_name(topic)} cannot be heard: {_why(event)}. "
            "Set the publisher's QoS to match"
        )

    return SubscriptionEventCallbacks(incompatible_qos=incompatible)


def for_publisher(node: Node, topic: str) -> PublisherEventCallbacks:
    """Logs when a subscriber asks more than this node offers."""

    def incompatible(event: Any) -> None:
        node.get_logger().error(
            f"a subscriber on {node.resolve_topic_name(topic)} gets nothing: {_why(event)}. "
            "Set the subscriber's QoS to match"
        )

    return PublisherEventCallbacks(incompatible_qos=incompatible)


def _why(event: Any) -> str:
    name = qos_policy_name_from_kind(event.last_policy_kind).removesuffix("_QOS_POLICY")
    return (
        f"the QoS policies for {name.lower()} do not match ({_MEANING.get(name, 'see the ROS 2 QoS manual')})"
    )
