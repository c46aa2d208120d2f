"""What the node costs without its model: picture in to planner, plan to command, over real DDS.

A camera process sends 640x480 colour pictures at 30 Hz and odometry at 50 Hz; the real node runs here with a
world model that does nothing (``null_model``). Run as a program this file is that camera.
"""

from __future__ import annotations

import array
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import rclpy
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.executors import MultiThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image

from sana_wm_ros.nodes import conversions
from sana_wm_ros.nodes.null_model import NullModel
from sana_wm_ros.nodes.planner_node import GIL_SWITCH_S, PlannerNode

WIDTH, HEIGHT, CAMERA_HZ, ODOMETRY_HZ = 640, 480, 30.0, 50.0
_START_TIMEOUT_S = 60.0


def measure_overhead(
    seconds: float = 20.0, *, plans_per_s: float = 10.0, warm_up_s: float = 2.0
) -> dict[str, dict[str, float]]:
    """Run camera process and node for so long; count, p50, p95 and max in seconds of each latency.

    picture_in: from just before the camera process publishes until the picture is in the planner's buffer, DDS
    included. picture_handled: the part of it that is the node's callback. plan_out: from the planner's return
    until the first command after it is published. Raises ``RuntimeError`` when nothing came through.
    """
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(GIL_SWITCH_S)
    context = rclpy.Context()
    rclpy.init(context=context)
    found: dict[str, list[float]] = {"picture_in": [], "picture_handled": [], "plan_out": []}
    plan_came_s: list[float] = []
    seen: set[str] = set()
    counts = threading.Event()

    def trace(event: str, value: float) -> None:
        now_s = time.time()
        if event == "plan":
            plan_came_s[:] = [now_s]
        seen.add(event)
        if not counts.is_set():
            return
        if event == "command" and plan_came_s:
            found["plan_out"].append(now_s - plan_came_s.pop())
        elif event == "image":
            found["picture_in"].append(now_s - value)
        elif event == "image handled":
            found["picture_handled"].append(value)

    values = {"planner.rate_hz": plans_per_s, "planner.candidates": 4, "planner.horizon_s": 4.0}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    node = PlannerNode(
        load_model=lambda _: NullModel(), trace=trace, context=context, parameter_overrides=overrides
    )
    executor = MultiThreadedExecutor(4, context=context)
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    camera = subprocess.Popen(
        [sys.executable, "-m", "sana_wm_ros.nodes.overhead", str(seconds + warm_up_s + _START_TIMEOUT_S)]
    )
    try:
        node.autostart()
        goals = node.create_publisher(PoseStamped, "goal_pose", 10)
        goal = PoseStamped()
        goal.header.frame_id, goal.pose.position.x = "odom", 50.0
        end_s = time.monotonic() + _START_TIMEOUT_S
        while not {"image", "plan"} <= seen and time.monotonic() < end_s:
            goals.publish(goal)
            time.sleep(0.5)
        time.sleep(warm_up_s)
        counts.set()
        time.sleep(seconds)
        counts.clear()
    finally:
        camera.terminate()
        camera.wait()
        executor.shutdown(timeout_sec=2.0)  # first: it must not gather what the node takes down
        spinner.join(timeout=2.0)
        node.close()
        node.destroy_node()
        context.try_shutdown()
        sys.setswitchinterval(switch_s)
    if not all(found.values()):
        raise RuntimeError("nothing came through DDS: are two processes on this machine allowed to talk?")
    return {name: _described(np.array(values)) for name, values in found.items()}


def _described(values: NDArray[np.float64]) -> dict[str, float]:
    p50, p95 = np.percentile(values, (50, 95))
    return {"count": float(len(values)), "p50": float(p50), "p95": float(p95), "max": float(values.max())}


def run_camera(seconds: float) -> None:
    """Publish pictures, camera_info and odometry for so long."""
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # it is simply ended from outside
    node = rclpy.create_node("overhead_camera")
    images = node.create_publisher(Image, "image", 5)
    infos = node.create_publisher(CameraInfo, "camera_info", 5)
    odometry = node.create_publisher(Odometry, "odom", 5)
    pixels = np.random.default_rng(0).integers(0, 255, HEIGHT * WIDTH * 3, dtype=np.uint8)
    image = Image(
        height=HEIGHT, width=WIDTH, encoding="rgb8", step=3 * WIDTH, data=array.array("B", pixels.tobytes())
    )
    image.header.frame_id = "camera"
    info = CameraInfo(width=WIDTH, height=HEIGHT, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [320.0, 0.0, 319.5, 0.0, 320.0, 239.5, 0.0, 0.0, 1.0]
    motion = Odometry(child_frame_id="base_link")
    motion.header.frame_id, motion.pose.pose.orientation.w = "odom", 1.0
    begin_s = time.monotonic()
    due: dict[str, Any] = {"image": 0.0, "odom": 0.0}
    while (now_s := time.monotonic() - begin_s) < seconds:
        if now_s >= due["odom"]:
            due["odom"] += 1.0 / ODOMETRY_HZ
            motion.header.stamp = conversions.to_stamp(time.time())
            odometry.publish(motion)
        if now_s >= due["image"]:
            due["image"] += 1.0 / CAMERA_HZ
            infos.publish(info)
            image.header.stamp = conversions.to_stamp(time.time())
            images.publish(image)
        time.sleep(max(0.0, min(due.values()) - (time.monotonic() - begin_s)))
    rclpy.try_shutdown()


if __name__ == "__main__":
    run_camera(float(sys.argv[1]))
