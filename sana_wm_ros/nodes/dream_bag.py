"""A dream as a bag: the messages that its node publishes, filed under the dream's own time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message
from std_msgs.msg import Bool

from sana_wm_ros.evaluation.bag_writer import STORE, header, make, vector
from sana_wm_ros.geometry import se3
from sana_wm_ros.nodes import conversions, pictures, robot_topics
from sana_wm_ros.nodes.bag_recorder import BagRecorder
from sana_wm_ros.simulation.dream import MOMENTS_PER_PICTURE, Dream, DreamStep

_TOPICS = {
    "/image/compressed": "sensor_msgs/msg/CompressedImage",
    "/camera_info": "sensor_msgs/msg/CameraInfo",
    "/odom": "nav_msgs/msg/Odometry",
    "/scan": "sensor_msgs/msg/LaserScan",
    "/contact": "std_msgs/msg/Bool",
    "/cmd_vel": "geometry_msgs/msg/TwistStamped",
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
}


class DreamBag:
    """Writes a dream from where it is now on; use it as a context manager. Raises ``FileExistsError``."""

    def __init__(self, path: Path, dream: Dream) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._dream, self._bag = dream, BagRecorder(path, lambda: 0)

    def __enter__(self) -> DreamBag:
        self._bag.__enter__()
        for topic, kind in _TOPICS.items():
            self._bag.announce(topic, kind)
        dream = self._dream
        self._place(
            "/tf_static", dream.time_s, robot_topics.BASE, robot_topics.CAMERA, dream.start.T_base_camera_44
        )
        self._motion(dream.time_s, dream.pose_3, (0.0, 0.0))
        self._picture(dream.time_s, dream.picture_HWC)
        return self

    def __exit__(self, *failure: object) -> None:
        self._bag.__exit__(*failure)

    def take(self, step: DreamStep) -> None:
        """Write what one latent frame says."""
        begin = conversions.to_stamp(1.0 + step.time_s)
        twist_3 = conversions.planar_twist(step.command)
        command = conversions.to_twist_stamped(twist_3, stamp=begin, frame_id=robot_topics.BASE)
        self._write("/cmd_vel", step.time_s, command)
        for moment, time_s in enumerate(step.times_M):
            speed, turn = (float(value) for value in step.twists_M2[moment])
            self._motion(float(time_s), step.poses_M3[moment], (speed, turn))
            picture, rest = divmod(moment + 1, MOMENTS_PER_PICTURE)
            if rest == 0:
                stamp = conversions.to_stamp(1.0 + float(time_s))
                self._picture(float(time_s), step.pictures_THWC[picture - 1])
                self._write("/contact", float(time_s), Bool(data=step.contact))
                reach_m = self._dream.model.spec.max_range_m
                self._write(
                    "/scan", float(time_s), robot_topics.scan(stamp, step.clearance_at(moment), reach_m)
                )

    def _motion(self, time_s: float, pose_3: Any, twist_2: tuple[float, float]) -> None:
        self._write(
            "/odom", time_s, robot_topics.odometry(conversions.to_stamp(1.0 + time_s), pose_3, twist_2)
        )
        self._place("/tf", time_s, robot_topics.ODOM, robot_topics.BASE, se3.from_planar(pose_3))

    def _picture(self, time_s: float, picture_HWC: pictures.Picture) -> None:
        stamp = conversions.to_stamp(1.0 + time_s)
        self._write("/camera_info", time_s, robot_topics.camera_info(stamp, self._dream.camera))
        jpeg = pictures.jpeg_from_rgb(picture_HWC, stamp=stamp, frame_id=robot_topics.CAMERA, quality=95)
        self._write("/image/compressed", time_s, jpeg)

    def _place(self, topic: str, time_s: float, parent: str, child: str, matrix_44: Any) -> None:
        """TF, whose message type comes from the bag's library: it is not among the wheels."""
        x, y, z, w = (float(value) for value in se3.to_quaternion(matrix_44))
        transform = make(
            "geometry_msgs/msg/TransformStamped",
            header=header(1.0 + time_s, parent),
            child_frame_id=child,
            transform=make(
                "geometry_msgs/msg/Transform",
                translation=vector(*matrix_44[:3, 3]),
                rotation=make("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w),
            ),
        )
        message = make("tf2_msgs/msg/TFMessage", transforms=[transform])
        self._bag.write(topic, _nanoseconds(time_s), bytes(STORE.serialize_cdr(message, message.__msgtype__)))

    def _write(self, topic: str, time_s: float, message: Any) -> None:
        self._bag.write(topic, _nanoseconds(time_s), serialize_message(message))


def _nanoseconds(time_s: float) -> int:
    return round((1.0 + time_s) * 1e9)
