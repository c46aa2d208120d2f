"""Who drives in navigation trials: the planner with any world model, and the rivals it is measured against."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sana_wm_ros.geometry import se2
from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.context_keeper import ContextKeeper, ContextLimits
from sana_wm_ros.planning.critic_manager import CriticManager, available
from sana_wm_ros.planning.follower import Follower
from sana_wm_ros.planning.motion_models import step_towards
from sana_wm_ros.planning.planner import Planner, PlannerSettings
from sana_wm_ros.planning.recovery import Recovery
from sana_wm_ros.planning.scan import Scan
from sana_wm_ros.planning.types import Goal, PlanResult, Robot, RobotState
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.trials import TICK_S, Sensed, scan_angles_R
from sana_wm_ros.world_model.observation_buffer import NewFrames, ObservationBuffer
from sana_wm_ros.world_model.protocol import Context, WorldModel

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Pacing:
    """Simulated time that planning takes: a plan is made every period_s and known think_s later.

    The planner itself runs to the end of its schedule, whatever that takes on this machine.
    """

    period_s: float = 1.0
    think_s: float = 0.5


class Sight:
    """A model's context of what the robot senses."""

    def __init__(
        self,
        model: WorldModel,
        camera: Camera,
        memory_s: float | None = None,
        on_frames: Callable[[NewFrames, Context], object] = lambda frames, context: None,
    ) -> None:
        self._buffer = ObservationBuffer(model.spec, camera.T_base_camera_44)
        self._buffer.set_camera(camera.pinhole)
        self._memory_s = memory_s
        limits = ContextLimits() if memory_s is None else ContextLimits(rebuild_s=memory_s)
        self.keeper = ContextKeeper(model, self._buffer, limits, taken=on_frames)

    def watch(self, sensed: Sensed) -> None:
        """Take in a tick."""
        state = sensed.state
        self._buffer.add_odometry(state.time_s, state.pose_3, state.twist_3)
        if sensed.picture_HWC is not None:
            self._buffer.add_image(state.time_s, sensed.picture_HWC)
            self.keeper.update()

    @property
    def context(self) -> Context:
        """What the model knows by now; with ``memory_s``, of the last seconds only."""
        if self._memory_s is not None:
            self.keeper.drop()
            self.keeper.update()
        if self.keeper.context is None:
            raise RuntimeError("nothing was seen yet")
        return self.keeper.context


class Ours:
    """The planner, the follower and a world model, as the node runs them, in simulated time."""

    def __init__(
        self,
        model: WorldModel,
        camera: Camera,
        robot: Robot,
        settings: PlannerSettings,
        *,
        seed: int = 0,
        pacing: Pacing | None = None,
        memory_s: float | None = None,
        use_scan: bool = False,
        warm_start: bool = True,
        on_result: Callable[[PlanResult], object] = lambda result: None,
    ) -> None:
        critics = CriticManager.load(sorted(available()))
        clock = Standstill()
        self._planner = Planner(robot, camera.T_base_camera_44, critics, settings, clock=clock)
        self._sight = Sight(model, camera, memory_s, self._saw)
        self._follower, self._recovery = Follower(robot), Recovery(robot)
        self._pacing, self._use_scan, self._on_result = pacing or Pacing(), use_scan, on_result
        self._random = np.random.default_rng(seed)
        self._due_s: float | None = None
        self._coming: tuple[float, PlanResult] | None = None
        self._plan_s: list[float] = []
        self._origins: dict[str, int] = {}
        self._without, self._warm_start = 0, warm_start
        self._seen_until_s, self._half_view_rad = -math.inf, camera.hfov_rad / 2

    def watch(self, sensed: Sensed) -> None:
        """Look on."""
        self._sight.watch(sensed)

    def drive(self, sensed: Sensed, goal: Goal) -> FloatArray:
        """Follow the newest plan that is known by now, and make the next one when it is due."""
        now_s = sensed.state.time_s
        scan = _scan(sensed) if self._use_scan else None
        if self._due_s is None or now_s >= self._due_s - 1e-9:
            self._due_s = now_s + self._pacing.period_s
            self._coming = (now_s + self._pacing.think_s, self._result(sensed.state, goal, scan))
        if self._coming is not None and now_s >= self._coming[0] - 1e-9:
            self._follower.set_plan(self._coming[1].plan)
            self._coming = None
        return self._follower.command(sensed.state, scan).twist_3

    def _saw(self, frames: NewFrames, context: Context) -> None:
        new_T = frames.stamps_T > self._seen_until_s
        self._planner.saw(frames.poses_T44[new_T], frames.end_stamp_s, context, self._half_view_rad)
        self._seen_until_s = frames.end_stamp_s

    def figures(self) -> dict[str, object]:
        """Plans, the processor time they took, where they came from, and how many cycles gave none."""
        return {
            "plans": len(self._plan_s),
            "plan_cpu_s": list(self._plan_s),
            "origins": dict(self._origins),
            "without_plan": self._without,
        }

    def _result(self, state: RobotState, goal: Goal, scan: Scan | None) -> PlanResult:
        begin_s = time.thread_time()
        result = self._planner.plan(
            self._sight.context,
            state,
            goal,
            math.inf,
            self._random,
            self._follower.plan if self._warm_start else None,
            scan=scan,
            commit_s=self._pacing.think_s,
        )
        self._plan_s.append(time.thread_time() - begin_s)
        if result.plan is None:
            self._without += 1
        else:
            origin = result.plan.origin
            self._origins[origin] = self._origins.get(origin, 0) + 1
        self._on_result(result)
        plan, reason = self._recovery.after(result, state, self._planner.memory.trail_P3, scan)
        return result if plan is result.plan else replace(result, plan=plan, reason=reason)


class Standstill:
    """A clock for which planning takes no time: schedules run to their end on any machine."""

    def __call__(self) -> float:
        return 0.0


class GoStraight:
    """Turns to the goal and drives there, whatever stands in the way."""

    def __init__(self, robot: Robot) -> None:
        self._robot = robot

    def watch(self, sensed: Sensed) -> None:
        """It does not look."""

    def drive(self, sensed: Sensed, goal: Goal) -> FloatArray:
        """Straight on, as fast as the turn allows."""
        return step_towards(
            self._robot, _towards(self._robot, sensed.state, goal), sensed.state.twist_3, TICK_S
        )

    def figures(self) -> dict[str, object]:
        """Nothing to tell."""
        return {}


class WallAvoider:
    """Steers for the free sector nearest to the goal's direction, by the model's clearance here and now.

    The vector field histogram's rule (Borenstein and Koren, 1991), on 24 sectors instead of a histogram.
    """

    def __init__(self, model: WorldModel, camera: Camera, robot: Robot, *, period_s: float = 0.25) -> None:
        self._sight, self._camera, self._robot = Sight(model, camera), camera, robot
        self._period_s, self._due_s = period_s, -math.inf
        self._wanted: FloatArray = np.zeros(3)

    def watch(self, sensed: Sensed) -> None:
        """Look on."""
        self._sight.watch(sensed)

    def drive(self, sensed: Sensed, goal: Goal) -> FloatArray:
        """Towards the best free sector; slower the nearer things are ahead."""
        state = sensed.state
        if state.time_s >= self._due_s - 1e-9:
            self._due_s = state.time_s + self._period_s
            self._wanted = self._steer(state, goal)
        return step_towards(self._robot, self._wanted, state.twist_3, TICK_S)

    def figures(self) -> dict[str, object]:
        """Nothing to tell."""
        return {}

    @torch.inference_mode()
    def _steer(self, state: RobotState, goal: Goal) -> FloatArray:
        stay = camera_poses(np.tile(state.pose_3, (1, 1, 1)), self._camera.T_base_camera_44)
        noise = torch.Generator().manual_seed(0)
        _, rollout = self._sight.context.fork(1).imagine(
            torch.from_numpy(stay).to(torch.float32), generator=noise
        )
        clearance_K = rollout.clearance_NFK[0, 0].double().cpu().numpy()
        bearings_K = se2.wrap_angle(2 * np.pi * np.arange(len(clearance_K)) / len(clearance_K))
        error = float(
            se2.wrap_angle(
                math.atan2(goal.y_m - state.pose_3[1], goal.x_m - state.pose_3[0]) - state.pose_3[2]
            )
        )
        away_m = math.hypot(goal.y_m - state.pose_3[1], goal.x_m - state.pose_3[0])
        needed_m = min(away_m, self._robot.radius_m + 0.5)
        # Its neighbours must be free as well: a robot is wider than a ray.
        beside_K = np.minimum(np.roll(clearance_K, 1), np.roll(clearance_K, -1))
        free_K = (clearance_K > needed_m) & (beside_K > self._robot.radius_m + 0.15)
        if not free_K.any():
            return np.array([0.0, 0.0, 0.6 * self._robot.max_yaw_rate_radps])
        off_K = np.abs(se2.wrap_angle(bearings_K - error))
        heading = float(bearings_K[np.argmin(np.where(free_K, off_K, np.inf))])
        ahead_m = float(clearance_K[np.abs(bearings_K) < 0.5].min()) - self._robot.radius_m
        speed = self._robot.max_speed_mps * min(1.0, max(0.0, ahead_m / 0.6)) * max(0.0, math.cos(heading))
        return np.array([speed, 0.0, np.clip(2.0 * heading, -1.0, 1.0)])


@dataclass(frozen=True, kw_only=True)
class MppiSettings:
    """As Nav2's MPPI controller is set by default, where it applies: batch, steps, noise and temperature."""

    batch: int = 400
    steps: int = 28
    step_s: float = 0.1
    period_s: float = 0.125
    speed_spread_mps: float = 0.2
    rate_spread_radps: float = 0.5
    temperature: float = 0.3
    inflation_m: float = 0.55
    obstacle_weight: float = 4.0
    contact_cost: float = 100.0
    goal_weight: float = 5.0
    heading_weight: float = 0.5
    robot: Robot = field(default_factory=Robot)


class LocalMppi:
    """Model predictive path integral control on what a true scanner sees now: nothing remembered, nothing imagined.

    Williams et al., "Information theoretic MPC", 2017, as Nav2 uses it: sampled twists, a costmap by distance to
    the scan's points, the goal's distance at the end, softmax over costs.
    """

    def __init__(self, settings: MppiSettings, seed: int = 0) -> None:
        self._settings = settings
        self._random = np.random.default_rng(seed)
        self._mean_S2 = np.zeros((settings.steps, 2))
        self._due_s = -math.inf
        self._wanted: FloatArray = np.zeros(3)

    def watch(self, sensed: Sensed) -> None:
        """It remembers nothing."""

    def drive(self, sensed: Sensed, goal: Goal) -> FloatArray:
        """The first twist of the weighted mean."""
        state, settings = sensed.state, self._settings
        if state.time_s >= self._due_s - 1e-9:
            self._due_s = state.time_s + settings.period_s
            self._wanted = self._optimise(sensed, goal)
        return step_towards(settings.robot, self._wanted, state.twist_3, TICK_S)

    def figures(self) -> dict[str, object]:
        """Nothing to tell."""
        return {}

    def _optimise(self, sensed: Sensed, goal: Goal) -> FloatArray:
        settings, robot = self._settings, self._settings.robot
        spread = np.array([settings.speed_spread_mps, settings.rate_spread_radps])
        self._mean_S2 = np.concatenate([self._mean_S2[1:], self._mean_S2[-1:]])
        twists = self._mean_S2 + spread * self._random.normal(size=(settings.batch, settings.steps, 2))
        twists[0] = self._mean_S2
        twists[1] = 0.0
        twists[..., 0] = np.clip(twists[..., 0], -robot.max_reverse_mps, robot.max_speed_mps)
        twists[..., 1] = np.clip(twists[..., 1], -robot.max_yaw_rate_radps, robot.max_yaw_rate_radps)
        full_NS3 = np.stack([twists[..., 0], np.zeros_like(twists[..., 0]), twists[..., 1]], axis=-1)
        starts = np.repeat(sensed.state.pose_3[None], settings.batch, axis=0)
        poses = se2.integrate(starts, full_NS3, settings.step_s)
        every = poses[:, 1::2]
        away = _scan(sensed).distances(every.reshape(-1, 3)).reshape(every.shape[:2]) - robot.radius_m
        near = np.clip(1.0 - away / settings.inflation_m, 0.0, 1.0) ** 2
        cost = settings.obstacle_weight * near.mean(axis=1)
        cost += settings.contact_cost * (away < 0.03).mean(axis=1)
        offset = np.array([goal.x_m, goal.y_m]) - poses[..., :2]
        left = np.hypot(offset[..., 0], offset[..., 1])
        cost += settings.goal_weight * (0.5 * left[:, -1] + 0.5 * left.mean(axis=1))
        facing = se2.wrap_angle(np.arctan2(offset[:, -1, 1], offset[:, -1, 0]) - poses[:, -1, 2])
        cost += settings.heading_weight * np.abs(facing)
        weight = np.exp(-(cost - cost.min()) / settings.temperature)
        self._mean_S2 = np.einsum("n,nsk->sk", weight / weight.sum(), twists)
        return np.array([self._mean_S2[0, 0], 0.0, self._mean_S2[0, 1]])


def _towards(robot: Robot, state: RobotState, goal: Goal) -> FloatArray:
    offset = np.array([goal.x_m, goal.y_m]) - state.pose_3[:2]
    error = float(se2.wrap_angle(math.atan2(offset[1], offset[0]) - state.pose_3[2]))
    speed = robot.max_speed_mps * max(0.0, math.cos(error)) * float(abs(error) < 1.0)
    return np.array([min(speed, 1.5 * float(np.hypot(*offset))), 0.0, 2.0 * error])


def _scan(sensed: Sensed) -> Scan:
    return Scan.from_ranges(
        sensed.ranges_R, scan_angles_R(), base_pose_3=sensed.state.pose_3, max_range_m=7.99
    )
