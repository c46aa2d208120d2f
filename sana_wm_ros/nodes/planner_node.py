"""The lifecycle node: configure loads and warms the model, activate plans, deactivate stops the robot.

SIGINT and SIGTERM stop the robot before anything is taken down. SIGKILL or a power cut cannot: give the base
driver a command timeout of its own.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import MultiThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions

from sana_wm_ros.nodes import model_loading
from sana_wm_ros.nodes.parameter_server import ParameterServer
from sana_wm_ros.nodes.planner_factory import critics_for, shipped_weights
from sana_wm_ros.nodes.runtime import Runtime
from sana_wm_ros.planning.critic_manager import BadCritic

# How long a thread that computes may keep others from running Python: planning must not delay a picture.
GIL_SWITCH_S = 0.0005
_MAX_FAILURES = 20


class PlannerNode(LifecycleNode):
    """Plans with a world model.

    load_model: makes the model from the settings (None: the shipped loader). trace: told of events as they
    happen, for measuring latencies (``overhead.py`` uses them).
    """

    def __init__(
        self,
        *,
        load_model: model_loading.LoadModel | None = None,
        trace: Callable[[str, float], None] | None = None,
        **node_options: Any,
    ) -> None:
        super().__init__("sana_wm_planner", **node_options)
        self._load_model = load_model or model_loading.load
        self._trace = trace or (lambda event, value: None)
        self._running = False
        self._runtime: Runtime | None = None
        self.server = ParameterServer(
            self, shipped_weights(), frozen=lambda: self._running, on_change=self._on_parameters
        )
        for sentence in self.server.unknown:
            self.get_logger().warning(sentence)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load and warm the model, then listen to the sensors."""
        begin_s = time.monotonic()
        try:
            model = self._load_model(self.server.settings.model)
            critics_for(
                model.spec, self.server.critic_weights
            )  # refused by name before the model is tried out
            model_loading.warm(model, self.server.settings.planner.candidates)
            self._runtime = Runtime(self, model, self.server, self._trace)
        except Exception as error:
            self.get_logger().error(f"cannot be configured: {error}")
            return TransitionCallbackReturn.FAILURE
        self._running = True
        self.get_logger().info(
            f"model {self.server.settings.model.path} is ready after {time.monotonic() - begin_s:.1f} s"
        )
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Plan, and drive."""
        if self._runtime is not None:
            self._runtime.activate(True)
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the robot before anything else."""
        if self._runtime is not None:
            self._runtime.activate(False)
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Let go of the model and of all topics."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the robot and let go of everything."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the robot; the node can be configured again."""
        self.close()
        return TransitionCallbackReturn.SUCCESS

    def close(self) -> None:
        """Stop the robot, end all threads. May be called in any state, more than once."""
        runtime, self._runtime, self._running = self._runtime, None, False
        if runtime is not None:
            runtime.close()

    def destroy_node(self) -> None:
        """Leave the graph whole: the state machine publishes by itself, and rclpy leaves it to the collector."""
        self._state_machine.destroy_when_not_in_use()
        super().destroy_node()

    def stop_robot(self) -> None:
        """Command zero, and nothing after it; what else the node holds stays until ``close``."""
        if self._runtime is not None:
            self._runtime.stop_robot()

    def autostart(self) -> bool:
        """Configure and activate; false when that failed (the log says why)."""
        done = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == done and self.trigger_activate() == done

    def _on_parameters(self) -> None:
        if self._runtime is not None:
            self._runtime.take_parameters()


def main(args: list[str] | None = None) -> int:
    """Run the node until it is told to end; the robot stands when this returns. 0, or 1 after a failure."""
    # rclpy's own handlers would take the context, and with it every publisher, away before a zero can be sent.
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    sys.setswitchinterval(GIL_SWITCH_S)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        node = PlannerNode()
    except (ValueError, BadCritic) as error:
        rclpy.logging.get_logger("sana_wm_planner").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = MultiThreadedExecutor(num_threads=4)
    executor.add_node(node)
    failures: list[Exception] = []
    spinner = threading.Thread(
        target=spin, args=(node, executor, ended, failures), name="executor", daemon=True
    )
    spinner.start()
    if node.server.autostart:
        node.autostart()
    while not ended.wait(0.5):
        pass
    node.stop_robot()  # before anything that could fail, or wait
    executor.shutdown(timeout_sec=2.0)
    spinner.join(timeout=2.0)
    node.close()
    node.destroy_node()
    rclpy.try_shutdown()
    return 1 if len(failures) >= _MAX_FAILURES else 0


def spin(
    node: PlannerNode, executor: MultiThreadedExecutor, ended: threading.Event, failures: list[Exception]
) -> None:
    """Serve callbacks. What rclpy raises, now and then while entities are destroyed, does not end the node.

    The robot is safe meanwhile: the command loop does not depend on the executor, and data that is not
    delivered goes stale.
    """
    while not ended.is_set():
        try:
            executor.spin()
            ended.set()  # it only returns by itself when its context is gone
        except Exception as error:
            if ended.is_set():
                return
            failures.append(error)
            node.get_logger().error(f"a callback failed: {error!r}")
            if len(failures) >= _MAX_FAILURES:
                node.get_logger().fatal(f"ends after {_MAX_FAILURES} such failures")
                ended.set()


if __name__ == "__main__":
    sys.exit(main())
