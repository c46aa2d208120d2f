"""Watches a planner from outside, as an operator would: its diagnostics, and its memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray


class Watcher:
    """Reads the planner's diagnostics: durations of plans, stops, what came in."""

    def __init__(self, sent: Callable[[], int] = lambda: 0) -> None:
        self._sent = sent
        self.sent_then = 0
        self.stops_before: dict[str, int] = {}
        self.motion, self.planning, self.inputs = "", "", ""
        self.values: dict[str, dict[str, str]] = {}
        self.cycles_s: dict[int, float] = {}
        self.told_late = 0
        self._late_before = 0

    def take(self, message: DiagnosticArray) -> None:
        """One message of /diagnostics."""
        self.sent_then = self._sent()
        for status in message.status:
            kind = status.name.rpartition(": ")[2]
            values = {pair.key: pair.value for pair in status.values}
            self.values[kind] = values
            setattr(self, kind, status.message)
            if kind == "planning" and "cycle (s)" in values:
                self.cycles_s[int(values["plans"])] = float(values["cycle (s)"])
                late = int(values["late"])
                if late > self._late_before and status.message.startswith("late"):
                    self.told_late += late - self._late_before
                self._late_before = max(late, self._late_before)

    def begin(self) -> None:
        """Forget the stops so far: before the recording plays, there is no clock to drive by."""
        self.stops_before = self.counts("motion", "stops: ")

    def stops(self) -> dict[str, int]:
        """How often the robot was stopped since ``begin``, by reason."""
        now = self.counts("motion", "stops: ")
        since = {kind: count - self.stops_before.get(kind, 0) for kind, count in now.items()}
        return {kind: count for kind, count in since.items() if count}

    def number(self, kind: str, key: str) -> float:
        """A value as a number; nan where it was not told."""
        return float(self.values.get(kind, {}).get(key, "nan"))

    def counts(self, kind: str, prefix: str) -> dict[str, int]:
        """Counters whose key begins with ``prefix``."""
        found = self.values.get(kind, {}).items()
        return {key.removeprefix(prefix): int(value) for key, value in found if key.startswith(prefix)}


class MemoryMeter:
    """Resident memory of a process, once a second."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._due_s = 0.0
        self.samples_mib: list[float] = []
        self.peak_mib = float("nan")

    def look(self, *, now: bool = False) -> None:
        """Take a sample when one is due."""
        if not now and time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + 1.0
        with contextlib.suppress(OSError):
            values: dict[str, int] = {}
            for line in self._status.read_text().splitlines():
                name, _, value = line.partition(":")
                if name in ("VmRSS", "VmHWM"):
                    values[name] = int(value.split()[0])
            if values:
                self.samples_mib.append(round(values["VmRSS"] / 1024, 1))
                self.peak_mib = values["VmHWM"] / 1024
