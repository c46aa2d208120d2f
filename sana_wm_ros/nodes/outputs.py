"""The node's publishers, and what is sent on them after each plan; costly messages only while somebody listens."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Twist, TwistStamped
from nav_msgs.msg import OccupancyGrid, Path
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image, LaserScan
from std_msgs.msg import Float32
from visualization_msgs.msg import MarkerArray

from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.nodes import conversions, diagnostics, pictures, plain_qos, visualization
from sana_wm_ros.planning.free_space import FreeSpace
from sana_wm_ros.planning.types import PlanResult


class Outputs:
    """Everything that the node says, by topic."""

    def __init__(self, node: Node, *, stamped: bool, base_frame: str) -> None:
        self._node, self._stamped, self._base_frame = node, stamped, base_frame
        self.command = self._publisher(TwistStamped if stamped else Twist, "cmd_vel")
        self.plan = self._publisher(Path, "plan")
        self.rollouts = self._publisher(MarkerArray, "~/rollouts")
        self.image = self._publisher(Image, "~/imagined/image")
        self.film_strip = self._publisher(Image, "~/imagined/film_strip")
        self.scan = self._publisher(LaserScan, "~/imagined/scan")
        self.free_space = self._publisher(OccupancyGrid, "~/free_space")
        self.critics = self._publisher(DiagnosticArray, "~/critics")
        self.trust_horizon = self._publisher(Float32, "~/trust_horizon")
        self.diagnostics = self._publisher(DiagnosticArray, "/diagnostics", depth=10)

    def close(self) -> None:
        """Withdraw all publishers."""
        for publisher in (
            self.command,
            self.plan,
            self.rollouts,
            self.image,
            self.film_strip,
            self.scan,
            self.free_space,
            self.critics,
            self.trust_horizon,
            self.diagnostics,
        ):
            self._node.destroy_publisher(publisher)

    def send_command(self, twist_3: FloatArray) -> None:
        """A twist of the base."""
        if self._stamped:
            message = conversions.to_twist_stamped(twist_3, stamp=self._now(), frame_id=self._base_frame)
            self.command.publish(message)
        else:
            self.command.publish(conversions.to_twist(twist_3))

    def settle(self) -> None:
        """Wait a moment until subscribers have the last command."""
        self.command.wait_for_all_acked(Duration(seconds=0.3))

    def show(
        self,
        result: PlanResult,
        *,
        odometry_frame: str,
        weights: dict[str, float],
        max_range_m: float,
        most: int,
        lifetime_s: float,
        explained: int,
        scan_s: tuple[float, ...],
    ) -> None:
        """What came of a planning cycle, to those who look; explained: the row that they ask about, or -1."""
        stamp = self._now()
        if result.plan is not None:
            self.plan.publish(conversions.to_path(result.plan, stamp=stamp, frame_id=odometry_frame))
        if result.trust_s is not None:
            self.trust_horizon.publish(Float32(data=float(result.trust_s)))
        if _heard(self.rollouts):
            markers = visualization.rollout_markers(
                result,
                stamp=stamp,
                frame_id=odometry_frame,
                most=most,
                lifetime_s=lifetime_s,
                explained=explained,
                scan_s=scan_s,
            )
            self.rollouts.publish(markers)
        if _heard(self.scan) and (clearance_K := visualization.imagined_clearance(result)) is not None:
            scan = conversions.to_scan(
                clearance_K, stamp=stamp, frame_id=self._base_frame, max_range_m=max_range_m
            )
            self.scan.publish(scan)
        if _heard(self.critics):
            shown = [way.row for way in visualization.shown_ways(result, most, explained)]
            name = self._node.get_name()
            statuses = diagnostics.critics_statuses(name, result, weights, shown, explained)
            self.critics.publish(diagnostics.array(stamp, statuses))

    def show_free_space(self, space: FreeSpace, odometry_frame: str) -> None:
        """What is known of the floor, to those who look."""
        if _heard(self.free_space) and not space.empty:
            grid = conversions.to_occupancy_grid(space, stamp=self._now(), frame_id=odometry_frame)
            self.free_space.publish(grid)

    def pictures_wanted(self) -> tuple[bool, bool]:
        """Whether anybody looks at the imagined video, and at the film strip."""
        return _heard(self.image), _heard(self.film_strip)

    @property
    def watched(self) -> bool:
        """Whether anybody looks at imagined ways or pictures."""
        return any(self.pictures_wanted()) or _heard(self.rollouts)

    def show_frame(self, picture_HWC: NDArray[np.uint8]) -> None:
        """One picture of the imagined video."""
        self.image.publish(pictures.image_from_rgb(picture_HWC, stamp=self._now(), frame_id=self._base_frame))

    def show_strip(self, picture_HWC: NDArray[np.uint8]) -> None:
        """A film strip."""
        self.film_strip.publish(
            pictures.image_from_rgb(picture_HWC, stamp=self._now(), frame_id=self._base_frame)
        )

    def report(self, statuses: list[DiagnosticStatus]) -> None:
        """Diagnostics."""
        self.diagnostics.publish(diagnostics.array(self._now(), statuses))

    def _now(self) -> Time:
        stamp: Time = self._node.get_clock().now().to_msg()
        return stamp

    def _publisher(self, kind: type, topic: str, *, depth: int = 1) -> Any:
        events = plain_qos.for_publisher(self._node, topic)
        return self._node.create_publisher(kind, topic, QoSProfile(depth=depth), event_callbacks=events)


def _heard(publisher: Any) -> bool:
    return bool(publisher.get_subscription_count())
