"""What a replayed planner is asked for: a place that the recording reaches later, a fixed place, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sana_wm_ros.evaluation.bag_facts import BagFacts
from sana_wm_ros.geometry.se2 import FloatArray


@dataclass(frozen=True, kw_only=True)
class GoalPlan:
    """ahead_s: the goal is where the recording is so many seconds later. place_2: a fixed (x, y). Else none."""

    ahead_s: float | None = None
    place_2: tuple[float, float] | None = None

    @staticmethod
    def parse(text: str) -> GoalPlan:
        """Read ``ahead:SECONDS``, ``X,Y`` (metres in the odometry frame) or ``none``."""
        try:
            if text == "none":
                return GoalPlan()
            if text.startswith("ahead:"):
                ahead_s = float(text.removeprefix("ahead:"))
                if 0 < ahead_s < np.inf:
                    return GoalPlan(ahead_s=ahead_s)
            else:
                x, y = (float(part) for part in text.split(","))
                if np.isfinite((x, y)).all():
                    return GoalPlan(place_2=(x, y))
        except ValueError:
            pass
        raise ValueError(
            f"goal {text!r} is not understood: expected ahead:SECONDS, X,Y (metres in odom) or none"
        )

    @property
    def interval_s(self) -> float:
        """Seconds between two goals: a new one well before the old one's time."""
        return float("inf") if self.ahead_s is None else max(0.5, self.ahead_s / 4)

    def at(self, facts: BagFacts, now_s: float) -> FloatArray | None:
        """The goal pose (x, y, yaw) at a time of the recording, or None."""
        if self.place_2 is not None:
            return np.array([*self.place_2, 0.0])
        return None if self.ahead_s is None else facts.pose_at(now_s + self.ahead_s)
