"""Navigation trials: an unseen building, a guided tour, then a goal out of sight; who drives there is exchangeable.

Poses are of the base: true ones in the building's frame, measured ones in ``odom``. Seconds, metres, radians.
Dimension letters: T ticks, M points of a way.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.types import Goal, Robot, RobotState
from sana_wm_ros.simulation.drive import CommandSource, DriveConfig, Scene, draw_scene, open_simulator
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.navigation import Navigator
from sana_wm_ros.simulation.odometry import DriftingOdometry
from sana_wm_ros.simulation.shapes import Shapes
from sana_wm_ros.simulation.simulator import BEARINGS_R, RAY_HEIGHT_M, Simulator

FloatArray = NDArray[np.float64]

TICK_S = 0.0625
TICKS_PER_PICTURE = 2
_HARD_MPS = 0.1
_ROUTE_MARGIN_M = 0.06


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """How trials are made. tour_s: the shortest and the longest tour; success_m: this near to the goal counts."""

    family: str = "lab"
    tour_s: tuple[float, float] = (30.0, 60.0)
    limit_s: float = 120.0
    success_m: float = 0.5
    least_way_m: float = 3.5
    robot: Robot = field(default_factory=Robot)


@dataclass(frozen=True, kw_only=True)
class Sensed:
    """What a robot senses in a tick. picture_HWC comes with every second one; ranges_R is a true scan."""

    state: RobotState
    picture_HWC: NDArray[np.uint8] | None
    ranges_R: FloatArray


class Contestant(Protocol):
    """Whoever drives. ``watch`` comes every tick, also on the tour; ``drive`` follows it once there is a goal."""

    def watch(self, sensed: Sensed) -> None:
        """Look on."""
        ...

    def drive(self, sensed: Sensed, goal: Goal) -> FloatArray:
        """The twist (3,) to hold for a tick."""
        ...

    def figures(self) -> dict[str, object]:
        """Whatever it wants to tell about itself; numbers, or lists of numbers."""
        ...


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One task. goal_2 is true; way_M2 the shortest way to it, of length way_m, or None where there is none.

    seen: the goal's place was in the camera's view on the tour. doors: how many rooms' borders the way crosses.
    """

    seed: int
    scene: Scene
    config: TrialConfig
    tour_s: float
    tour_T3: FloatArray
    goal_2: FloatArray
    way_M2: FloatArray
    way_m: float
    seen: bool
    doors: int


Enter = Callable[[Trial, Simulator], Contestant]
"""Brings a contestant to a trial; whoever knows the truth gets it from the simulator."""


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a trial ended. path_T3 is true, from the goal's coming on; clearance is beyond the robot's disc.

    end_distance_m: from the goal in truth; measured_distance_m: by odometry, which drifts, so that a robot may stand
    beside a goal that it has reached as far as it can know.
    """

    success: bool
    reason: str
    time_s: float
    path_T3: FloatArray
    path_m: float
    contacts: int
    hard_contact: bool
    least_clearance_m: float
    end_distance_m: float
    measured_distance_m: float
    figures: dict[str, object]


def draw_trial(seed: int, config: TrialConfig) -> Trial | None:
    """The trial of a seed, or None where its building has no goal that fits.

    The tour is driven once without pictures to know where it ends; ``run_trial`` repeats it exactly.
    """
    rng = np.random.default_rng([seed, 77])
    tour_s = TICK_S * TICKS_PER_PICTURE * round(rng.uniform(*config.tour_s) / TICK_S / TICKS_PER_PICTURE)
    scene = draw_scene(seed, _drive_config(config))
    with open_simulator(scene, _drive_config(config), pictures=False) as simulator:
        poses = [simulator.pose_3]
        for _ in _tour(scene, simulator, tour_s):
            poses.append(simulator.pose_3)
    tour_T3 = np.array(poses)
    navigator = Navigator(scene.plan, config.robot.radius_m + _ROUTE_MARGIN_M)
    found = navigator.search(*tour_T3[-1, :2])
    room = scene.plan.room_of(*tour_T3[-1, :2])
    away_P = np.hypot(*(navigator.cells_P2 - tour_T3[-1, :2]).T)
    good = np.isfinite(found.cost_P) & (away_P > 2.0) & (navigator.distance_P > config.robot.radius_m + 0.15)
    cells = np.flatnonzero(good)
    rng.shuffle(cells)
    walls = Shapes(solid.outline for solid in scene.plan.solids if solid.spans(RAY_HEIGHT_M))
    for cell in cells[:200]:
        goal_2 = navigator.cells_P2[cell]
        way = found.path_to(int(cell))
        way_m = float(np.hypot(*np.diff(way, axis=0).T).sum())
        if scene.plan.room_of(*goal_2) == room or way_m < config.least_way_m:
            continue
        if _visible(walls, scene, tour_T3[-1:], goal_2)[0]:
            continue
        seen = bool(_visible(walls, scene, tour_T3[::4], goal_2).any())
        rooms = [scene.plan.room_of(*point) for point in way]
        doors = sum(a != b for a, b in itertools.pairwise(rooms))
        return Trial(
            seed=seed,
            scene=scene,
            config=config,
            tour_s=tour_s,
            tour_T3=tour_T3,
            goal_2=goal_2,
            way_M2=way,
            way_m=way_m,
            seen=seen,
            doors=doors,
        )
    return None


def draw_trials(first_seed: int, count: int, config: TrialConfig) -> Iterator[Trial]:
    """``count`` trials on seeds from ``first_seed`` on; seeds without a fitting goal are passed over."""
    seed = first_seed
    while count:
        trial = draw_trial(seed, config)
        seed += 1
        if trial is not None:
            count -= 1
            yield trial


def run_trial(trial: Trial, enter: Enter, *, pictures: bool) -> Ending:
    """Tour, then the goal, driven by whom ``enter`` brings. Without pictures the camera sees black."""
    drive_config = _drive_config(trial.config)
    scene = draw_scene(trial.seed, drive_config)
    with open_simulator(scene, drive_config, pictures=pictures) as simulator:
        return _run(trial, scene, simulator, enter(trial, simulator), pictures=pictures)


def _run(
    trial: Trial, scene: Scene, simulator: Simulator, contestant: Contestant, *, pictures: bool
) -> Ending:
    config = trial.config
    odometry = DriftingOdometry(scene.start_3, scene.odometry_rng)
    clock = _Clock(simulator, odometry, pictures=pictures)
    contestant.watch(clock.sensed())
    for _ in _tour(scene, simulator, trial.tour_s):
        clock.tick()
        contestant.watch(clock.sensed())
    goal_odom = se2.compose(
        odometry.pose_3, se2.compose(se2.inverse(simulator.pose_3), np.array([*trial.goal_2, 0.0]))
    )
    goal = Goal(x_m=float(goal_odom[0]), y_m=float(goal_odom[1]))
    path, contacts, hard, touching, reason = [simulator.pose_3], 0, False, False, "timed out"
    for _ in range(round(config.limit_s / TICK_S)):
        twist = contestant.drive(clock.sensed(), goal)
        speed = abs(simulator.twist_2[0])
        touched = simulator.hold((float(twist[0]), float(twist[2])), TICK_S)
        clock.tick()
        path.append(simulator.pose_3)
        if touched and not touching:
            contacts += 1
            hard = hard or max(speed, abs(float(twist[0]))) > _HARD_MPS
        touching = touched
        contestant.watch(clock.sensed())
        if math.dist(path[-1][:2], trial.goal_2) <= config.success_m:
            reason = "reached"
            break
    path_T3 = np.array(path)
    return Ending(
        success=reason == "reached" and not hard,
        reason="hard contact" if reason == "reached" and hard else reason,
        time_s=(len(path_T3) - 1) * TICK_S,
        path_T3=path_T3,
        path_m=float(np.hypot(*np.diff(path_T3[:, :2], axis=0).T).sum()),
        contacts=contacts,
        hard_contact=hard,
        least_clearance_m=clearance_of(scene.plan, path_T3) - config.robot.radius_m,
        end_distance_m=math.dist(path_T3[-1, :2], trial.goal_2),
        measured_distance_m=math.dist(odometry.pose_3[:2], goal_odom[:2]),
        figures=contestant.figures(),
    )


class _Clock:
    """Time, measured motion and pictures of a simulator."""

    def __init__(self, simulator: Simulator, odometry: DriftingOdometry, *, pictures: bool) -> None:
        self._simulator, self._odometry, self._sees = simulator, odometry, pictures
        self._ticks, self._before_3 = 0, simulator.pose_3

    def tick(self) -> None:
        """The simulator moved on by one tick."""
        self._ticks += 1
        self._odometry.update(self._before_3, self._simulator.pose_3)
        self._before_3 = self._simulator.pose_3

    def sensed(self) -> Sensed:
        """All that the robot knows now."""
        speed, rate = self._simulator.twist_2
        picture = None
        if self._ticks % TICKS_PER_PICTURE == 0:
            camera = self._simulator.camera
            blank = np.zeros((camera.height, camera.width, 3), np.uint8)
            picture = self._simulator.look() if self._sees else blank
        return Sensed(
            state=RobotState(
                time_s=self._ticks * TICK_S,
                pose_3=np.array(self._odometry.pose_3),
                twist_3=np.array([speed, 0.0, rate]),
            ),
            picture_HWC=picture,
            ranges_R=self._simulator.ranges_R(),
        )


def _drive_config(config: TrialConfig) -> DriveConfig:
    return DriveConfig(family=config.family, driver="tour", open_loop=False, robot=config.robot)


def _tour(scene: Scene, simulator: Simulator, seconds: float) -> Iterator[None]:
    """Drive the tour; a tick per item."""
    source = CommandSource(scene, simulator.robot, TICK_S)
    touched = False
    for tick in range(round(seconds / TICK_S)):
        touched = simulator.hold(source.next(tick * TICK_S, simulator.pose_3, touched), TICK_S)
        yield


def _visible(walls: Shapes, scene: Scene, poses_P3: FloatArray, point_2: FloatArray) -> NDArray[np.bool_]:
    """From which poses (P,) a point on the floor is in the camera's view and nothing stands before it."""
    offset = point_2 - poses_P3[:, :2]
    bearing = np.arctan2(offset[:, 1], offset[:, 0])
    inside = np.abs(se2.wrap_angle(bearing - poses_P3[:, 2])) < scene.camera.hfov_rad / 2
    ranges = walls.ranges(poses_P3[:, :2], bearing[:, None], 50.0)[:, 0]
    return np.asarray(inside & (ranges > np.hypot(*offset.T)))


def clearance_of(plan: FloorPlan, path_T3: FloatArray) -> float:
    """The least distance from a path to anything that blocks."""
    blocking = Shapes(solid.outline for solid in plan.solids if solid.blocks)
    return float(blocking.distance(path_T3[:, :2]).min())


def scan_angles_R() -> FloatArray:
    """Bearings of ``Sensed.ranges_R``."""
    return np.asarray(BEARINGS_R)
