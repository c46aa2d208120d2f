"""A world of discs that imagines the truth: the world model protocol, worked out by geometry."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from sana_wm_ros.geometry import camera, se2, se3
from sana_wm_ros.planning.types import Candidates, Futures, Goal, Plan, Robot, RobotState
from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec, Rollout

PERIOD = 0.5
MAX_RANGE = 8.0


@dataclass(kw_only=True)
class DiscWorld:
    """Disc obstacles (x, y, radius). A robot that touches one stays there, as a trained model imagines it.

    Each imagined frame of each candidate takes ``seconds_per_frame`` on ``clock``, and candidates listed in
    ``broken`` are imagined as NaN from frame ``broken_from`` on.
    """

    discs: tuple[tuple[float, float, float], ...] = ()
    radius: float = 0.2
    sectors: int = 24
    T_base_camera: np.ndarray = field(
        default_factory=lambda: camera.base_to_optical([0.1, 0, 0.3], [0, 0.1, 0])
    )
    clock: FakeClock | None = None
    seconds_per_frame: float = 0.0
    broken: tuple[int, ...] = ()
    broken_from: int = 0
    latent_frames: int = 5
    calls: list[tuple[int, int]] = field(default_factory=list)
    last_latent_CHW = None

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(
            image_height=64,
            image_width=96,
            frame_rate_hz=8.0,
            frames_per_latent=4,
            latent_shape=(1, 1, 1),
            sectors=self.sectors,
            max_range_m=MAX_RANGE,
            place_width=2,
        )

    def start(self, intrinsics: Intrinsics) -> DiscWorld:
        return self

    def extend(self, frames_THWC, poses_T44) -> DiscWorld:
        return self

    def fork(self, candidates: int) -> DiscBatch:
        return DiscBatch(world=self, rows=np.arange(candidates), stopped_N3=np.full((candidates, 3), np.nan))

    def decode(self, latents_FCHW):
        return torch.zeros(len(latents_FCHW) * 4, 64, 96, 3, dtype=torch.uint8)

    def distance(self, points: np.ndarray) -> np.ndarray:
        """From points (..., 2) to the nearest disc's edge."""
        result = np.full(points.shape[:-1], np.inf)
        for x, y, r in self.discs:
            result = np.minimum(result, np.hypot(points[..., 0] - x, points[..., 1] - y) - r)
        return result

    def ranges(self, poses_3: np.ndarray, bearings_R: np.ndarray) -> np.ndarray:
        """Where rays (..., R) from poses (..., 3) first meet a disc."""
        angle = poses_3[..., 2:] + bearings_R
        cos, sin = np.cos(angle), np.sin(angle)
        result = np.full(angle.shape, MAX_RANGE)
        for x, y, r in self.discs:
            dx, dy = x - poses_3[..., :1], y - poses_3[..., 1:2]
            along = dx * cos + dy * sin
            gap = r * r - (dx * dx + dy * dy - along**2)
            entry = along - np.sqrt(np.maximum(gap, 0))
            result = np.where((gap >= 0) & (entry > 0), np.minimum(result, entry), result)
        return result


@dataclass(frozen=True, kw_only=True)
class DiscBatch:
    world: DiscWorld
    rows: np.ndarray
    stopped_N3: np.ndarray
    done: int = 0

    @property
    def size(self) -> int:
        return len(self.rows)

    def select(self, index_N) -> DiscBatch:
        index = index_N.numpy()
        return DiscBatch(
            world=self.world, rows=self.rows[index], stopped_N3=self.stopped_N3[index], done=self.done
        )

    def imagine(self, poses_NF44, *, steps=None, generator=None):
        world, (size, frames) = self.world, poses_NF44.shape[:2]
        world.calls.append((size, frames))
        base = se3.to_planar(poses_NF44.double().numpy() @ se3.inverse(world.T_base_camera))
        stopped = self.stopped_N3.copy()
        collision = world.distance(base[..., :2]) < world.radius
        for n in range(size):
            if not np.isnan(stopped[n, 0]):
                collision[n], base[n] = True, stopped[n]
            elif collision[n].any():
                first = int(np.argmax(collision[n]))
                collision[n, first:], base[n, first:] = True, base[n, first]
                stopped[n] = base[n, first]
        # Five rays through each sector, the middle one through its centre.
        fine = (np.arange(world.sectors * 5) - 2) * 2 * np.pi / (world.sectors * 5)
        clearance = world.ranges(base, fine).reshape(size, frames, world.sectors, 5).min(axis=-1)
        bad = np.isin(self.rows, world.broken)[:, None] & (self.done + np.arange(frames) >= world.broken_from)
        clearance[bad] = np.nan
        if world.clock is not None:
            world.clock.now += world.seconds_per_frame * size * frames
        rollout = Rollout(
            latents_NFCHW=torch.zeros(size, frames, 1, 1, 1),
            collision_NF=torch.from_numpy(collision).float(),
            clearance_NFK=torch.from_numpy(clearance).float(),
            uncertainty_NF=torch.zeros(size, frames),
            place_NFE=torch.ones(size, frames, 2),
        )
        return DiscBatch(world=world, rows=self.rows, stopped_N3=stopped, done=self.done + frames), rollout


@dataclass
class FakeClock:
    """A clock that only moves when told."""

    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def state(x=0.0, y=0.0, yaw=0.0, v=0.0, w=0.0, time_s=0.0, vy=0.0) -> RobotState:
    return RobotState(time_s=time_s, pose_3=np.array([x, y, yaw]), twist_3=np.array([v, vy, w]))


def plan_from(twists_F3, start: RobotState, valid_s: float = 1e6) -> Plan:
    twists = np.asarray(twists_F3, dtype=float)
    return Plan(
        start=start,
        times_F=PERIOD * np.arange(1, len(twists) + 1),
        poses_F3=se2.integrate(start.pose_3, twists, PERIOD),
        twists_F3=twists,
        cost=0.0,
        valid_until_s=start.time_s + valid_s,
        origin="test",
    )


def futures(
    twists_NF3,
    *,
    collision=0.0,
    clearance=MAX_RANGE,
    uncertainty=0.0,
    goal: Goal | None = None,
    start: RobotState | None = None,
    sectors: int = 24,
    robot: Robot | None = None,
) -> Futures:
    """Futures along given twists; the other values broadcast to (N, F) or (N, F, K)."""
    twists = np.asarray(twists_NF3, dtype=float)
    size, frames = twists.shape[:2]
    start = start or state()
    tensor = lambda value, *shape: torch.as_tensor(value, dtype=torch.float64).expand(shape).clone()  # noqa: E731
    return Futures(
        start=start,
        candidates=Candidates(
            times_F=PERIOD * np.arange(1, frames + 1),
            poses_NF3=se2.integrate(np.repeat(start.pose_3[None], size, axis=0), twists, PERIOD),
            twists_NF3=twists,
            origins=("test",) * size,
        ),
        rollout=Rollout(
            latents_NFCHW=torch.zeros(size, frames, 1, 1, 1),
            collision_NF=tensor(collision, size, frames),
            clearance_NFK=tensor(clearance, size, frames, sectors),
            uncertainty_NF=tensor(uncertainty, size, frames),
            place_NFE=torch.ones(size, frames, 2),
        ),
        goal=goal,
        robot=robot or Robot(),
    )


class Kit:
    """What the tests of this room share (they are imported as files, so not from each other)."""

    DiscWorld, FakeClock = DiscWorld, FakeClock
    state, plan_from, futures = staticmethod(state), staticmethod(plan_from), staticmethod(futures)
    PERIOD, MAX_RANGE = PERIOD, MAX_RANGE


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit
