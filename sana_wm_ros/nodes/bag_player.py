"""Sends a recording again over DDS, with ``/clock``, at any rate and as often as asked, byte for byte."""

from __future__ import annotations

import importlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock

from sana_wm_ros.evaluation.bag_facts import TF, BagFacts
from sana_wm_ros.evaluation.bags import open_bag
from sana_wm_ros.nodes.conversions import to_stamp

_CLOCK_PERIOD_S = 0.02


class BagPlayer:
    """Plays the topics of ``facts``.

    on_message: told of every message that was sent: topic, time in ns as ``file_ns``, bytes.
    ``now_s`` is the clock's time (that of header stamps); ``played_s`` counts on over all passes.
    """

    def __init__(
        self, node: Node, facts: BagFacts, *, on_message: Callable[[str, int, bytes], None] | None = None
    ) -> None:
        self._facts, self._on_message = facts, on_message
        self._publishers: dict[str, Any] = {}
        self.left_out: list[str] = []
        self.sent: Counter[str] = Counter()
        self.now_s, self.played_s, self._first_s = 0.0, 0.0, 0.0
        types = {topic.name: topic.msgtype for topic in facts.topics.values()}
        types |= dict.fromkeys(facts.transforms, TF)
        for name, msgtype in types.items():
            kind = message_class(msgtype)
            if kind is None:
                self.left_out.append(f"{name} ({msgtype} is not installed)")
                continue
            latched = name.endswith("tf_static")
            durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            self._publishers[name] = node.create_publisher(
                kind, name, QoSProfile(depth=10, durability=durability)
            )
        self._clock = node.create_publisher(Clock, "/clock", 10)

    @property
    def file_ns(self) -> int:
        """A time for filing messages: the clock's in the first pass, growing on in later ones."""
        return round((self._first_s + self.played_s) * 1e9)

    def subscribers(self, role: str) -> int:
        """How many listen to the topic of an input such as "image"."""
        publisher = self._publishers.get(self._facts.topics[role].name)
        return 0 if publisher is None else int(publisher.get_subscription_count())

    def play(self, *, rate: float, passes: int, go_on: Callable[[], bool]) -> None:
        """Play ``passes`` times (0: without end) at ``rate`` times the recorded speed, while ``go_on()``."""
        done = 0
        while (passes == 0 or done < passes) and go_on():
            self._play_once(rate, done * self._facts.duration_s, go_on)
            done += 1

    def _play_once(self, rate: float, before_s: float, go_on: Callable[[], bool]) -> None:
        begin_s, first_ns = time.monotonic(), None
        with open_bag(self._facts.path) as bag:
            for topic, time_ns, data in bag.serialized(self._facts.names):
                if first_ns is None:
                    first_ns = time_ns
                    self._first_s = first_ns * 1e-9 + self._facts.stamp_ahead_s
                elapsed_s = (time_ns - first_ns) * 1e-9
                if not self._wait(begin_s + elapsed_s / rate, time_ns * 1e-9, rate, go_on):
                    return
                self.played_s = before_s + elapsed_s
                self._tick(time_ns * 1e-9)
                if topic in self._publishers:
                    self._publishers[topic].publish(data)
                    self.sent[topic] += 1
                if self._on_message is not None:
                    self._on_message(topic, self.file_ns, data)

    def _wait(self, until_s: float, time_s: float, rate: float, go_on: Callable[[], bool]) -> bool:
        """Keep the clock going until a message is due; false when playing should end."""
        while go_on():
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return True
            if left_s > _CLOCK_PERIOD_S:
                self._tick(time_s - left_s * rate)
            time.sleep(min(left_s, _CLOCK_PERIOD_S))
        return False

    def _tick(self, recorded_s: float) -> None:
        self.now_s = recorded_s + self._facts.stamp_ahead_s
        self._clock.publish(Clock(clock=to_stamp(self.now_s)))


def message_class(msgtype: str) -> Any | None:
    """The Python class of a type such as ``nav_msgs/msg/Odometry``, or None where its package is not installed."""
    package, _, name = msgtype.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), name)
    except (ImportError, AttributeError):
        return None
