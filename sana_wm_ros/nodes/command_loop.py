"""The one place that commands the robot: a thread on the steady clock that publishes a velocity or zero.

It is no ROS timer on purpose. A timer waits for its turn in the executor and, under ``use_sim_time``,
for ``/clock``; this thread waits for nobody, so the robot is stopped while a callback hangs, the
clock stands still or the executor died.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np

from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.nodes.supervisor import Stop

_QUIET_AFTER_S = 1.0


class CommandLoop:
    """Asks ``decide`` for a twist (vx, vy, yaw rate) or a reason to stop, and publishes what follows.

    decide: returns a twist or a ``Stop``; whatever it raises stops the robot, too.
    publish: sends a twist; runs in this thread and, on ``halt``, in the caller's.
    on_change: told when the reason to stop changes; None means that the robot may move again.
    """

    def __init__(
        self,
        *,
        period_s: float,
        decide: Callable[[], FloatArray | Stop],
        publish: Callable[[FloatArray], None],
        on_change: Callable[[Stop | None, Stop | None], None],
    ) -> None:
        self._period_s = period_s
        self._decide, self._publish, self._on_change = decide, publish, on_change
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._ended = False
        self.failures, self.last_failure = 0, ""
        self._stop: Stop | None = Stop(kind="not active", sentence="the node is not active", fault=False)
        self._stopped_at_s = float("-inf")
        self._thread = threading.Thread(target=self._run, name="command loop", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def stop(self) -> Stop | None:
        """Why the robot stands at the moment, or None while it may move."""
        return self._stop

    def tick(self) -> None:
        """Decide and publish once. After it returns, nothing that was decided earlier is published."""
        with self._lock:
            if self._ended:
                return
            now_s = time.monotonic()
            decision = self._decided()
            stop = decision if isinstance(decision, Stop) else None
            before, self._stop = self._stop, stop
            changed = _kind(before) != _kind(stop)
            if changed and (before is None or (stop is not None and stop.fault)):
                self._stopped_at_s = now_s
            if not isinstance(decision, Stop):
                self._publish(decision)
            elif decision.fault or now_s - self._stopped_at_s < _QUIET_AFTER_S:
                self._publish(np.zeros(3))
        if changed:
            self._on_change(before, stop)

    def wake(self) -> None:
        """Tick now instead of at the end of the period, for instance because a plan came."""
        self._wake.set()

    def halt(self) -> None:
        """End the thread; the last command is zero."""
        with self._lock:
            self._ended = True
            self._publish(np.zeros(3))
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=2.0)

    def _decided(self) -> FloatArray | Stop:
        try:
            decision = self._decide()
        except Exception as error:  # whatever it is, a robot must not run on
            return Stop(kind="exception", sentence=f"making a command failed: {error!r}")
        if isinstance(decision, Stop):
            return decision
        if decision.shape != (3,) or not np.isfinite(decision).all():
            return Stop(kind="command not finite", sentence=f"the follower commanded {decision}")
        return decision

    def _run(self) -> None:
        due_s = time.monotonic()
        while not self._ended:
            try:
                self.tick()
            except Exception as error:  # no message about a stop may ever end the stopping
                self.failures += 1
                self.last_failure = repr(error)
            now_s = time.monotonic()
            if now_s >= due_s:  # a tick that came early, by ``wake``, does not move the beat
                due_s = max(due_s + self._period_s, now_s)
            self._wake.wait(due_s - now_s)
            self._wake.clear()


def _kind(stop: Stop | None) -> str:
    return "" if stop is None else stop.kind
