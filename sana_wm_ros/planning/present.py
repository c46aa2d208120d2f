"""The newest odometry carried on to the present."""

from __future__ import annotations

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.types import RobotState
from sana_wm_ros.world_model.observation_buffer import StampedMotion

_MAX_EXTRAPOLATION_S = 0.3


def present_state(motion: StampedMotion | None, now_s: float) -> RobotState | None:
    """The state at a time, at most 0.3 s of motion after the newest odometry; None while there is none."""
    if motion is None:
        return None
    ahead_s = min(max(now_s - motion.stamp_s, 0.0), _MAX_EXTRAPOLATION_S)
    pose_3 = se2.compose(motion.pose_3, se2.exp(motion.twist_3, ahead_s))
    return RobotState(time_s=now_s, pose_3=pose_3, twist_3=motion.twist_3)
