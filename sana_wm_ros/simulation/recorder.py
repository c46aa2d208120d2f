"""Record a drive: a seed becomes a building, a robot, a driver, and then an episode."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.behaviours import Behaviour, Sense
from sana_wm_ros.simulation.building import draw_building
from sana_wm_ros.simulation.drivers import DRIVERS, Ways, draw_driver
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.odometry import DriftingOdometry
from sana_wm_ros.simulation.robot import Camera, advance, draw_camera, limit_command
from sana_wm_ros.simulation.simulator import Simulator
from sana_wm_ros.training.episodes import FRAME_RATE_HZ, Episode

FloatArray = NDArray[np.float64]
FRAMES_PER_LATENT = 4
AFTER_CONTACT_S = 2.0
"""An open-loop drive ends this long after it first hit something: pushing a wall teaches little more."""


@dataclass(frozen=True, kw_only=True)
class DriveConfig:
    """How drives are recorded. ``driver`` None draws one by the seed; frames are 4 k + 1."""

    family: str = "lab"
    seconds: float = 60.5
    width: int = 96
    height: int = 64
    samples: int = 4
    driver: str | None = None
    open_loop: bool | None = None
    robot: Robot = Robot()

    def __post_init__(self) -> None:
        if self.seconds < 1.0:
            raise ValueError(f"a drive of {self.seconds} s is too short; 1 s is the least")
        if self.driver is not None and self.driver not in DRIVERS:
            raise ValueError(f"no driver is called {self.driver!r}; choose one of {', '.join(DRIVERS)}")

    @property
    def frames(self) -> int:
        """Frames of a whole drive: the first one and whole latent frames after it."""
        return 1 + FRAMES_PER_LATENT * int(self.seconds * FRAME_RATE_HZ // FRAMES_PER_LATENT)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that a seed decides before the robot moves."""

    plan: FloorPlan
    ways: Ways
    camera: Camera
    start_3: FloatArray
    driver: str
    open_loop: bool
    drive_rng: np.random.Generator
    odometry_rng: np.random.Generator


def draw_scene(seed: int, config: DriveConfig) -> Scene:
    """Draw building, camera, start and driver of a seed, each from a stream of its own."""
    plan = draw_building(seed, config.family)
    camera_rng, start_rng, drive_rng, odometry_rng = (np.random.default_rng([seed, 1000 + i]) for i in range(4))
    ways = Ways(plan)
    name, open_loop = draw_driver(drive_rng)
    return Scene(
        plan=plan,
        ways=ways,
        camera=draw_camera(camera_rng, config.width, config.height),
        start_3=ways.draw_start(start_rng),
        driver=config.driver or name,
        open_loop=open_loop if config.open_loop is None else config.open_loop,
        drive_rng=drive_rng,
        odometry_rng=odometry_rng,
    )


class CommandSource:
    """Asks a driver for one command per frame and keeps it within the robot's limits.

    Open loop, the driver drives a robot of its own that never meets anything, and never hears of contacts.
    """

    def __init__(self, scene: Scene, robot: Robot, period_s: float) -> None:
        self._scene, self._robot, self._period_s = scene, robot, period_s
        self._behaviour: Behaviour | None = None
        self._ideal_3 = scene.start_3.copy()
        self._last = (0.0, 0.0)

    def next(self, time_s: float, pose_3: FloatArray, contact: bool) -> tuple[float, float]:
        """The command to hold from now on, given where the robot really is."""
        if self._scene.open_loop:
            sense = Sense(time_s=time_s, pose_3=self._ideal_3, contact=False)
        else:
            sense = Sense(time_s=time_s, pose_3=pose_3, contact=contact)
        if self._behaviour is None:
            scene = self._scene
            self._behaviour = DRIVERS[scene.driver](sense, scene.ways, scene.drive_rng)
            wanted = next(self._behaviour)
        else:
            wanted = self._behaviour.send(sense)
        self._last = limit_command(wanted, self._last, self._period_s, self._robot)
        self._ideal_3 = advance(self._ideal_3, self._last, self._period_s)
        return self._last


def record_episode(seed: int, config: DriveConfig) -> Episode:
    """Drive the seed's scene and keep every frame. The same seed and config give the same episode."""
    scene = draw_scene(seed, config)
    period_s = 1.0 / FRAME_RATE_HZ
    source = CommandSource(scene, config.robot, period_s)
    odometry = DriftingOdometry(scene.start_3, scene.odometry_rng)
    frames, poses, reported, commands, contacts, clearance = [], [], [], [], [], []
    last_frame = config.frames
    touched = False
    with Simulator(
        scene.plan,
        robot=config.robot,
        camera=scene.camera,
        start_3=scene.start_3,
        samples=config.samples,
    ) as simulator:
        while len(frames) < last_frame:
            pose_3 = simulator.pose_3
            frames.append(simulator.look())
            poses.append(pose_3)
            reported.append(odometry.pose_3)
            contacts.append(touched)
            clearance.append(simulator.clearance_K())
            if touched and scene.open_loop and last_frame == config.frames:
                last_frame = min(last_frame, _whole(len(frames) + round(AFTER_CONTACT_S * FRAME_RATE_HZ)))
            command = source.next((len(frames) - 1) * period_s, pose_3, touched)
            commands.append((command[0], 0.0, command[1]))
            touched = simulator.hold(command, period_s)
            odometry.update(pose_3, simulator.pose_3)
    return Episode(
        frames_THWC=np.stack(frames),
        poses_T3=np.array(poses, np.float32),
        odom_T3=np.array(reported, np.float32),
        commands_T3=np.array(commands, np.float32),
        contact_T=np.array(contacts, np.bool_),
        clearance_TK=np.stack(clearance),
        intrinsics_4=scene.camera.intrinsics_4,
        T_base_camera_44=scene.camera.T_base_camera_44.astype(np.float32),
        seed=seed,
        family=config.family,
        driver=scene.driver,
        open_loop=scene.open_loop,
    )


def with_driver(config: DriveConfig, driver: str, open_loop: bool) -> DriveConfig:
    """The same recording with a driver of one's choice."""
    return replace(config, driver=driver, open_loop=open_loop)


def _whole(frames: int) -> int:
    """The nearest 4 k + 1 not above a number of frames."""
    return 1 + FRAMES_PER_LATENT * ((frames - 1) // FRAMES_PER_LATENT)
