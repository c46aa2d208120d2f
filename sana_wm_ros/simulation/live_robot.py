"""A simulated robot that somebody else drives: commands in, what its sensors say out; knows no ROS."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.simulation.drive import DriveConfig, Scene, draw_scene, open_simulator
from sana_wm_ros.simulation.lens import Lens
from sana_wm_ros.simulation.odometry import DriftingOdometry

FloatArray = NDArray[np.float64]


class LiveRobot:
    """The robot of a seed at its start. Use it from one thread: graphics belong to the thread that made them.

    drifting: odometry errs as wheels do; otherwise it reports the truth.
    """

    def __init__(self, seed: int, config: DriveConfig, *, drifting: bool = True) -> None:
        self.scene = draw_scene(seed, config)
        self.lens = Lens(self.scene.camera)
        self._simulator = open_simulator(self.scene, config)
        handling = self.scene.handling
        self._odometry = DriftingOdometry(
            self.scene.start_3,
            self.scene.odometry_rng,
            slip_along=handling.slip_along,
            slip_turn=handling.slip_turn,
        )
        self._drifting = drifting
        self.touched = False

    @property
    def time_s(self) -> float:
        """Simulated seconds since the start."""
        return self._simulator.time_s

    @property
    def pose_3(self) -> FloatArray:
        """Where it really is, in the building's frame."""
        return self._simulator.pose_3

    @property
    def odom_3(self) -> FloatArray:
        """Where odometry believes it is; at the start that is the truth."""
        return self._odometry.pose_3 if self._drifting else self._simulator.pose_3

    @property
    def movers_M2(self) -> FloatArray:
        """Where people and carts really are."""
        return self._simulator.movers_M2

    @property
    def twist_2(self) -> tuple[float, float]:
        """Speed and yaw rate, as they are."""
        return self._simulator.twist_2

    def step(self, command: tuple[float, float], duration_s: float) -> None:
        """Hold a command; ``touched`` then says whether the robot ran into something meanwhile."""
        before_3 = self._simulator.pose_3
        self.touched = self._simulator.hold(command, duration_s)
        self._odometry.update(before_3, self._simulator.pose_3)

    def picture(self) -> NDArray[np.uint8]:
        """What the camera sees, (H, W, 3) RGB, through its lens."""
        return self.lens.bend(self._simulator.look())

    def ranges_R(self) -> FloatArray:
        """A full turn of ranges from the base's centre, metres; its reach where nothing is met."""
        return self._simulator.ranges_R()

    def close(self) -> None:
        """Free the graphics memory."""
        self._simulator.close()


def goal_for(
    scene: Scene,
    low_m: float = 2.5,
    high_m: float = 5.0,
    *,
    from_2: FloatArray | None = None,
    random: np.random.Generator | None = None,
) -> FloatArray:
    """A free place (x, y) some way off from the start, or from ``from_2``, that can be driven to.

    Without ``random`` the same for the same seed.
    """
    x, y = scene.start_3[:2] if from_2 is None else from_2
    navigator = scene.ways.navigator(False)
    cost_P = navigator.search(float(x), float(y)).cost_P
    fit = np.flatnonzero((cost_P > low_m) & (cost_P < high_m) & (navigator.distance_P > 0.5))
    if len(fit) == 0:
        fit = np.array([int(np.argmax(np.where(np.isfinite(cost_P), cost_P, -math.inf)))])
    rng = random or np.random.default_rng([scene.plan.seed, 2000])
    return np.asarray(navigator.cells_P2[int(rng.choice(fit))])
