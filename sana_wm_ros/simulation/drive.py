"""One drive: a seed becomes a building, a camera, a start and a driver, and then moves tick by tick."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.planning.motion_models import max_curvature, step_towards
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.behaviours import Behaviour, Sense, Twist2
from sana_wm_ros.simulation.building import draw_building
from sana_wm_ros.simulation.drivers import DRIVERS, Ways, draw_driver
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.lens import Lens
from sana_wm_ros.simulation.odometry import DriftingOdometry
from sana_wm_ros.simulation.robot import Camera, Handling, draw_camera, draw_handling
from sana_wm_ros.simulation.simulator import Simulator
from sana_wm_ros.simulation.wheels import FreeRobot

FloatArray = NDArray[np.float64]
_FULL_LOCK_MPS = 0.3


@dataclass(frozen=True, kw_only=True)
class DriveConfig:
    """How drives are made. ``driver`` and ``open_loop`` None are drawn by the seed.

    ``lens``: cameras may have one that bends the picture, as recordings of robots do; training episodes hold
    straightened pictures, as the node's buffer makes them. ``obeys``: wheels do as they are told, without slip
    or latency, so that an open-loop drive stays on its commands' way for a minute and more.
    """

    family: str = "lab"
    seconds: float = 60.5
    width: int = 96
    height: int = 64
    samples: int = 4
    lens: bool = False
    obeys: bool = False
    driver: str | None = None
    open_loop: bool | None = None
    robot: Robot = field(default_factory=Robot)

    def __post_init__(self) -> None:
        if self.seconds < 1.0:
            raise ValueError(f"a drive of {self.seconds} s is too short; 1 s is the least")
        if self.driver is not None and self.driver not in DRIVERS:
            raise ValueError(f"no driver is called {self.driver!r}; choose one of {', '.join(DRIVERS)}")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that a seed decides before the robot moves."""

    plan: FloorPlan
    ways: Ways
    camera: Camera
    handling: Handling
    start_3: FloatArray
    driver: str
    open_loop: bool
    drive_rng: np.random.Generator
    odometry_rng: np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Tick:
    """One moment of a drive, and the command held from it to the next.

    twist_2 (speed, yaw rate) is true, odom_3 is what odometry reports; touched says whether the robot
    touched something since the tick before.
    """

    time_s: float
    pose_3: FloatArray
    twist_2: tuple[float, float]
    odom_3: FloatArray
    command: tuple[float, float]
    touched: bool


def draw_scene(seed: int, config: DriveConfig) -> Scene:
    """Draw building, camera, start and driver of a seed, each from a stream of its own."""
    plan = draw_building(seed, config.family)
    camera_rng, start_rng, drive_rng, odometry_rng, handling_rng = (
        np.random.default_rng([seed, 1000 + stream]) for stream in range(5)
    )
    ways = Ways(plan)
    name, open_loop = draw_driver(drive_rng)
    return Scene(
        plan=plan,
        ways=ways,
        camera=draw_camera(camera_rng, config.width, config.height, family=config.family, lens=config.lens),
        handling=Handling() if config.obeys else draw_handling(handling_rng, config.family),
        start_3=ways.draw_start(start_rng),
        driver=config.driver or name,
        open_loop=open_loop if config.open_loop is None else config.open_loop,
        drive_rng=drive_rng,
        odometry_rng=odometry_rng,
    )


def open_simulator(scene: Scene, config: DriveConfig, *, pictures: bool = True) -> Simulator:
    """The scene's simulator with the robot at its start; use it in a ``with``.

    It draws ideal pictures: of ``Lens(scene.camera).ideal`` where the camera has a lens.
    """
    return Simulator(
        scene.plan,
        robot=config.robot,
        camera=Lens(scene.camera).ideal,
        handling=scene.handling,
        start_3=scene.start_3,
        pictures=pictures,
        samples=config.samples,
    )


def drive(scene: Scene, simulator: Simulator, *, period_s: float) -> Iterator[Tick]:
    """Drive for ever, one tick per period; at each tick the simulator stands where the tick says."""
    source = CommandSource(scene, simulator.robot, period_s)
    handling = scene.handling
    odometry = DriftingOdometry(
        scene.start_3, scene.odometry_rng, slip_along=handling.slip_along, slip_turn=handling.slip_turn
    )
    touched, ticks = False, 0
    while True:
        pose_3 = simulator.pose_3
        command = source.next(ticks * period_s, pose_3, touched)
        yield Tick(
            time_s=ticks * period_s,
            pose_3=pose_3,
            twist_2=simulator.twist_2,
            odom_3=odometry.pose_3,
            command=command,
            touched=touched,
        )
        touched = simulator.hold(command, period_s)
        odometry.update(pose_3, simulator.pose_3)
        ticks += 1


class CommandSource:
    """Asks a driver for one command per tick and keeps it within the robot's limits.

    Open loop, the driver drives a robot of its own, which lags and slips as the real one does but never meets
    anything; it never hears of contacts.
    """

    def __init__(self, scene: Scene, robot: Robot, period_s: float) -> None:
        self._scene, self._robot, self._period_s = scene, robot, period_s
        self._behaviour: Behaviour | None = None
        rehearsed = FreeRobot(robot, scene.handling, scene.start_3)
        self._rehearsed = rehearsed if scene.open_loop else None
        self._last_3: FloatArray = np.zeros(3)

    def next(self, time_s: float, pose_3: FloatArray, contact: bool) -> tuple[float, float]:
        """The command to hold from now on, given where the robot really is."""
        if self._rehearsed is not None:
            sense = Sense(time_s=time_s, pose_3=self._rehearsed.pose_3, contact=False)
        else:
            sense = Sense(time_s=time_s, pose_3=pose_3, contact=contact)
        if self._behaviour is None:
            scene = self._scene
            self._behaviour = DRIVERS[scene.driver](sense, scene.ways, scene.drive_rng)
            wanted = next(self._behaviour)
        else:
            wanted = self._behaviour.send(sense)
        if self._robot.drive == "ackermann":
            wanted = _rolling(wanted, max_curvature(self._robot))
        wanted_3 = np.array([wanted[0], 0.0, wanted[1]])
        self._last_3 = step_towards(self._robot, wanted_3, self._last_3, self._period_s)
        command = float(self._last_3[0]), float(self._last_3[2])
        if self._rehearsed is not None:
            self._rehearsed.hold(command, self._period_s)
        return command


def _rolling(wanted: Twist2, curvature: float) -> Twist2:
    """What a car makes of a wish to turn more tightly than it can: a slow arc at full lock."""
    speed, rate = wanted
    needed = min(abs(rate) / curvature, _FULL_LOCK_MPS)
    if abs(speed) >= needed:
        return wanted
    return math.copysign(needed, speed), rate
