"""The life of a node that steps itself: checked parameters, a thread for callbacks, an end in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from sana_wm_ros.nodes.settings import Parameter


class RobotNode(Protocol):
    """A node that does its work in ``run``, in the thread that calls it, until that is done or it is told to end."""

    def run(self, ended: threading.Event) -> None: ...


def declared(node: Node, parameters: Iterable[Parameter]) -> dict[str, Any]:
    """Values by name of parameters that are fixed while the node runs; ``ValueError`` names a bad one."""
    values: dict[str, Any] = {}
    for parameter in parameters:
        about = f"{parameter.text} {parameter.expectation}"
        descriptor = ParameterDescriptor(name=parameter.name, description=about, read_only=True)
        descriptor.dynamic_typing = True
        given = node.declare_parameter(parameter.name, parameter.default, descriptor).value
        values[parameter.name] = parameter.check(given)
    return values


def serve(make: Callable[[], Any], name: str, args: list[str] | None) -> int:
    """Run a node until it is done, or SIGINT or SIGTERM comes; 0, or 1 when it fails (the log says why)."""
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        spinner = threading.Thread(target=_spin, args=(executor,), name="executor", daemon=True)
        spinner.start()
        node.run(ended)
        executor.shutdown(timeout_sec=2.0)
        spinner.join(timeout=2.0)
        node.destroy_node()
    except (ValueError, OSError, ImportError) as error:
        rclpy.logging.get_logger(name).fatal(str(error))
        return 1
    finally:
        rclpy.try_shutdown()
    return 0


def _spin(executor: SingleThreadedExecutor) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        return
