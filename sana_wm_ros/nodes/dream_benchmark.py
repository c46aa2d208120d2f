"""Whether a dream keeps up with real time: imagining alone, then the node as a robot on topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from sana_wm_ros.nodes.dream_drive import checked
from sana_wm_ros.nodes.dream_node import DreamNode
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.dream import Dream
from sana_wm_ros.simulation.dream_driver import driver_for

_WARM_UP_STEPS = 4


def measure_dream(
    bag: Path, model: str, *, seconds: float, threads: int, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Dream on from a recording, ``seconds`` twice: as fast as it goes, then in real time through the node.

    imagined: pictures_per_s and took_s (seconds of a latent frame at p50, p95, p99), decoding included.
    node: what its diagnostics say at the end (``real-time factor``, ``command to first picture``, ...).
    progress takes what is measured and the share that is done.
    """
    given = checked({"bag": str(bag), "model.path": model, "model.threads": threads})
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        node = DreamNode(seconds=seconds, parameter_overrides=overrides, context=context)
        results = {"imagined": _imagined(node.dream, given, seconds, progress)}
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        spinner = threading.Thread(target=executor.spin, daemon=True)
        spinner.start()
        progress("in real time through the node", 0.0)
        node.dream.time_s = 0.0
        node.run(threading.Event())
        results["node"] = node.facts()
        executor.shutdown(timeout_sec=2.0)
        node.destroy_node()
    finally:
        context.try_shutdown()
    return results


def _imagined(
    dream: Dream, given: dict[str, Any], seconds: float, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    driver, newest = driver_for(dream, Robot(drive=given["drive"])), None
    took = []
    for _ in range(_WARM_UP_STEPS + max(1, round(seconds / dream.period_s))):
        begin_s = time.perf_counter()
        newest = dream.step(driver.command(dream.pose_3, newest))
        took.append(time.perf_counter() - begin_s)
        progress("as fast as it goes", min(1.0, dream.time_s / seconds))
    timed = np.array(took[_WARM_UP_STEPS:])
    per_step = dream.model.spec.frames_per_latent
    return {
        "pictures_per_s": float(per_step * len(timed) / timed.sum()),
        "times_real_time": float(dream.period_s * len(timed) / timed.sum()),
        "took_s": {f"p{q}": float(np.percentile(timed, q)) for q in (50, 95, 99)},
    }
