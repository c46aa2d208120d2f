"""The simulated robot as a node: cmd_vel in; camera, odometry, scan, contact, TF and /clock out."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseArray, PoseStamped, Twist, TwistStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, LaserScan
from std_msgs.msg import Bool

from sana_wm_ros.geometry import se3
from sana_wm_ros.nodes import conversions, pictures, plain_qos
from sana_wm_ros.nodes.settings import Parameter
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.drive import DriveConfig
from sana_wm_ros.simulation.live_robot import LiveRobot
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.simulator import MAX_RANGE_M

try:
    from geometry_msgs.msg import TransformStamped
    from tf2_msgs.msg import TFMessage
except ImportError:  # not among the wheels: odometry carries the pose, and the log tells the camera's place
    TFMessage = None

BASE, CAMERA, ODOM, MAP = "base_link", "camera_optical_frame", "odom", "map"
TICK_S = 0.05
_MAX_BEHIND_S = 0.25
"""Further behind the wall clock than this, simulated time gives way instead of catching up."""
PARAMETERS = {
    parameter.name: parameter
    for parameter in (
        Parameter(
            name="seed", default=900_003, text="Seed of building, robot and start.", low=0, high=2**31 - 1
        ),
        Parameter(name="family", default="lab", text="Kind of building.", choices=("lab", "varied")),
        Parameter(
            name="drive", default="differential", text="What moves it.", choices=("differential", "ackermann")
        ),
        Parameter(name="width", default=192, text="Picture width, pixels.", low=32, high=1920),
        Parameter(name="height", default=128, text="Picture height, pixels.", low=32, high=1080),
        Parameter(name="camera_hz", default=10.0, text="Pictures per second.", low=1.0, high=20.0),
        Parameter(name="lens", default=True, text="The camera may have a lens that bends the picture."),
        Parameter(name="drift", default=True, text="Odometry drifts as wheels do; false: the truth."),
        Parameter(name="scan", default=True, text="Publish a laser scan, 72 rays."),
        Parameter(name="clock", default=False, text="Publish /clock and stamp with simulated time."),
        Parameter(name="rate", default=1.0, text="Times real time that is aimed at.", low=0.05, high=20.0),
        Parameter(
            name="cmd_timeout_s", default=0.5, text="Stop when commands are older.", low=0.1, high=10.0
        ),
        Parameter(name="stamped", default=True, text="Hear TwistStamped; false: Twist."),
    )
}


class SimulatorNode(Node):
    """One robot in one building. ``run`` steps it, in the thread that calls it, until it is told to end."""

    def __init__(self, **node_options: Any) -> None:
        super().__init__("sana_wm_simulator", **node_options)
        values: dict[str, Any] = {}
        for name, parameter in PARAMETERS.items():
            about = f"{parameter.text} {parameter.expectation}"
            descriptor = ParameterDescriptor(name=name, description=about, read_only=True)
            descriptor.dynamic_typing = True
            values[name] = parameter.check(self.declare_parameter(name, parameter.default, descriptor).value)
        self._values = values
        self._command, self._heard_s = (0.0, 0.0), -math.inf
        self._refused = 0
        self._lock = threading.Lock()
        self.robot: LiveRobot | None = None
        sensors = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)  # best-effort ears hear it, too
        self._image = self.create_publisher(Image, "image", sensors)
        self._info = self.create_publisher(CameraInfo, "camera_info", sensors)
        self._odometry = self.create_publisher(Odometry, "odom", 50)
        self._scan = self.create_publisher(LaserScan, "scan", sensors) if values["scan"] else None
        self._contact = self.create_publisher(Bool, "contact", 10)
        self._true_pose = self.create_publisher(PoseStamped, "~/true_pose", 10)
        self._movers = self.create_publisher(PoseArray, "~/movers", 10)
        self._time_out = self.create_publisher(Clock, "/clock", 10) if values["clock"] else None
        self._tf = self._tf_static = None
        if TFMessage is not None:
            latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
            self._tf = self.create_publisher(TFMessage, "/tf", 50)
            self._tf_static = self.create_publisher(TFMessage, "/tf_static", latched)
        kind = TwistStamped if values["stamped"] else Twist
        self.create_subscription(
            kind, "cmd_vel", self._on_command, 10, event_callbacks=plain_qos.for_subscription(self, "cmd_vel")
        )

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
        self._introduce(robot)
        every = max(1, round(1.0 / (values["camera_hz"] * TICK_S)))
        ticks, touched, due_s = 0, False, time.monotonic()
        try:
            while not ended.is_set():
                stamp = self._stamp(robot)
                if self._time_out is not None:
                    self._time_out.publish(Clock(clock=stamp))
                self._tell_motion(robot, stamp)
                if ticks % every == 0:
                    self._tell_sensors(robot, stamp, touched)
                    touched = False
                robot.step(self._present_command(), TICK_S)
                touched = touched or robot.touched
                ticks += 1
                due_s = max(due_s + TICK_S / values["rate"], time.monotonic() - _MAX_BEHIND_S)
                ended.wait(max(0.0, due_s - time.monotonic()))
        finally:
            robot.close()

    def _introduce(self, robot: LiveRobot) -> None:
        camera = robot.scene.camera
        say = self.get_logger().info
        say(f"{self._values['family']} building {self._values['seed']}: {len(robot.scene.plan.rooms)} rooms")
        if self._tf_static is None:
            say(
                "tf2_msgs is not installed, so no TF; the planner's parameters for this camera: "
                + " ".join(f"{name}:={value}" for name, value in planner_camera(camera).items())
            )
            return
        transform = TransformStamped(child_frame_id=CAMERA)
        transform.header.frame_id = BASE
        matrix_44 = camera.T_base_camera_44
        move, turn = transform.transform.translation, transform.transform.rotation
        move.x, move.y, move.z = (float(value) for value in matrix_44[:3, 3])
        turn.x, turn.y, turn.z, turn.w = (float(value) for value in se3.to_quaternion(matrix_44))
        self._tf_static.publish(TFMessage(transforms=[transform]))

    def _stamp(self, robot: LiveRobot) -> Any:
        # Simulated time begins at one second: zero stands for "no time yet" all over ROS.
        if self._time_out is not None:
            return conversions.to_stamp(1.0 + robot.time_s)
        return self.get_clock().now().to_msg()

    def _tell_motion(self, robot: LiveRobot, stamp: Any) -> None:
        message = Odometry(child_frame_id=BASE)
        message.header.stamp, message.header.frame_id = stamp, ODOM
        message.pose.pose = conversions.to_pose(robot.odom_3)
        speed, rate = robot.twist_2
        message.twist.twist = conversions.to_twist(np.array([speed, 0.0, rate]))
        self._odometry.publish(message)
        true = PoseStamped(pose=conversions.to_pose(robot.pose_3))
        true.header.stamp, true.header.frame_id = stamp, MAP
        self._true_pose.publish(true)
        if self._tf is not None:
            transform = TransformStamped(child_frame_id=BASE)
            transform.header.stamp, transform.header.frame_id = stamp, ODOM
            pose = message.pose.pose
            transform.transform.translation.x = pose.position.x
            transform.transform.translation.y = pose.position.y
            transform.transform.rotation = pose.orientation
            self._tf.publish(TFMessage(transforms=[transform]))

    def _tell_sensors(self, robot: LiveRobot, stamp: Any, touched: bool) -> None:
        picture = robot.picture()
        self._info.publish(camera_info(robot.scene.camera, stamp))
        self._image.publish(pictures.image_from_rgb(picture, stamp=stamp, frame_id=CAMERA))
        self._contact.publish(Bool(data=touched))
        places = PoseArray(poses=[conversions.to_pose(np.array([x, y, 0.0])) for x, y in robot.movers_M2])
        places.header.stamp, places.header.frame_id = stamp, MAP
        self._movers.publish(places)
        if self._scan is not None:
            ranges_R = robot.ranges_R()
            seen_R = np.where(ranges_R >= MAX_RANGE_M, np.inf, ranges_R)  # REP 117
            self._scan.publish(
                conversions.to_scan(seen_R, stamp=stamp, frame_id=BASE, max_range_m=MAX_RANGE_M)
            )

    def _on_command(self, message: Any) -> None:
        twist = message.twist if self._values["stamped"] else message
        command = (float(twist.linear.x), float(twist.angular.z))
        if not all(map(math.isfinite, command)):
            self._refused += 1
            if self._refused == 1:
                self.get_logger().error(f"the command {command} is not finite: the robot stops (said once)")
            command = (0.0, 0.0)
        with self._lock:
            self._command, self._heard_s = command, time.monotonic()

    def _present_command(self) -> tuple[float, float]:
        """The newest command, or zero when it is too old (by the wall clock: whoever sent it lives there)."""
        with self._lock:
            fresh = time.monotonic() - self._heard_s <= self._values["cmd_timeout_s"]
            return self._command if fresh else (0.0, 0.0)


def planner_camera(camera: Camera) -> dict[str, bool | float]:
    """The planner node's parameters that say where this camera is."""
    return {
        "camera.from_tf": False,
        "camera.x": round(camera.forward_m, 4),
        "camera.z": round(camera.up_m, 4),
        "camera.pitch": round(camera.pitch_rad, 4),
    }


def camera_info(camera: Camera, stamp: Any) -> CameraInfo:
    """The camera and its lens."""
    fx, fy, cx, cy = (float(value) for value in camera.intrinsics_4)
    message = CameraInfo(width=camera.width, height=camera.height, distortion_model="plumb_bob")
    message.header.stamp, message.header.frame_id = stamp, CAMERA
    message.d = [*camera.distortion, 0.0, 0.0, 0.0]
    message.k = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return message


def main(args: list[str] | None = None) -> int:
    """Simulate until told to end; 0, or 1 when it cannot begin (the log says why)."""
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        node = SimulatorNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        spinner = threading.Thread(target=_spin, args=(executor,), name="executor", daemon=True)
        spinner.start()
        node.run(ended)
        executor.shutdown(timeout_sec=2.0)
        spinner.join(timeout=2.0)
        node.destroy_node()
    except (ValueError, OSError, ImportError) as error:
        rclpy.logging.get_logger("sana_wm_simulator").fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return


if __name__ == "__main__":
    sys.exit(main())
