"""A robot in a building: hold a command for a while, look through the camera, measure free distance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.gl import mujoco, open_gl_context
from sana_wm_ros.simulation.mjcf import (
    DECOR_GROUP,
    HULL_GROUP,
    ROBOT_GROUP,
    building_xml,
    texture_files,
)
from sana_wm_ros.simulation.movers import TICK_S, Crowd, Movers
from sana_wm_ros.simulation.robot import Camera, Handling
from sana_wm_ros.simulation.wheels import TIME_STEP_S, Wheels

SECTORS = 24
RAYS_PER_SECTOR = 3
MAX_RANGE_M = 8.0
RAY_HEIGHT_M = 0.25
BEARINGS_R = np.arange(SECTORS * RAYS_PER_SECTOR) * (2 * math.pi / (SECTORS * RAYS_PER_SECTOR))
"""Of the rays, counter-clockwise from straight ahead."""
_NO_NORMAL = (None,) if "normal:" in (mujoco.mj_multiRay.__doc__ or "") else ()
"""MuJoCo 4 can return the surfaces' normals and wants to be told not to; 3 could not."""
_SEEN_BY_SCANNERS = np.array([group != DECOR_GROUP for group in range(6)], np.uint8)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """All that changes: seconds since the beginning, the robot's true pose, and what the movers do."""

    time_s: float
    pose_3: NDArray[np.float64]
    crowd: Crowd


_STEPS_PER_TICK = round(TICK_S / TIME_STEP_S)


class Simulator:
    """One robot in one building. Deterministic: the same calls give the same numbers and pictures.

    Poses are (x, y, yaw) of the base in the building's frame. ``close`` frees the pictures' memory.
    """

    def __init__(
        self,
        plan: FloorPlan,
        *,
        robot: Robot,
        camera: Camera,
        start_3: NDArray[np.float64],
        handling: Handling | None = None,
        pictures: bool = True,
        samples: int = 4,
    ) -> None:
        """Set the robot down at ``start_3``; ``pictures=False`` needs no graphics at all.

        ``handling``: how commands become motion (default: a lag of 0.06 s, nothing else).
        """
        self.plan, self.robot, self.camera = plan, robot, camera
        xml = building_xml(plan, robot, camera, samples=samples)
        self._model = mujoco.MjModel.from_xml_string(xml, texture_files(plan))
        self._data = mujoco.MjData(self._model)
        self._body = self._model.body("robot").id
        self._ray_hit_R = np.zeros(len(BEARINGS_R), np.int32)
        self._ray_length_R = np.zeros(len(BEARINGS_R))
        self._picture = _Picture(self._model, camera) if pictures else None
        self._movers = Movers(plan.movers)
        self._steps, self._moment_s = 0, 0.0
        self._crowd = self._next_crowd = self._movers.begin()
        self._show_movers(self._movers.places(self._crowd))
        self._wheels = Wheels(robot, handling or Handling())
        self.place(start_3)

    def place(self, pose_3: NDArray[np.float64]) -> None:
        """Set the robot down somewhere, at rest."""
        self._data.qpos[:3] = pose_3
        self._data.qvel[:3] = 0.0
        self._wheels.stand()
        mujoco.mj_forward(self._model, self._data)

    def set_moment(self, time_s: float, pose_3: NDArray[np.float64], movers_M2: NDArray[np.float64]) -> None:
        """Show a moment as it was or will be: the robot at rest at a pose, the movers where they are then.

        For looking and measuring only; ``hold`` goes on from where the movers really are.
        """
        self._show_movers(movers_M2)
        self._moment_s = time_s
        self.place(pose_3)

    @property
    def time_s(self) -> float:
        """Seconds that commands were held."""
        return self._steps * TIME_STEP_S

    @property
    def truth(self) -> Truth:
        """The whole state; between two ticks of the movers, theirs is that of the last tick."""
        return Truth(time_s=self.time_s, pose_3=self.pose_3, crowd=self._crowd)

    @property
    def pose_3(self) -> NDArray[np.float64]:
        return np.array(self._data.qpos[:3])

    @property
    def twist_2(self) -> tuple[float, float]:
        """Forward speed and yaw rate, as they are (not as commanded)."""
        yaw = self._data.qpos[2]
        forward = self._data.qvel[0] * math.cos(yaw) + self._data.qvel[1] * math.sin(yaw)
        return float(forward), float(self._data.qvel[2])

    @property
    def touching(self) -> bool:
        """Whether the robot touches something now."""
        return self._data.ncon > 0

    def hold(self, command: tuple[float, float], duration_s: float) -> bool:
        """Hold (speed, yaw rate) for a whole number of time steps; True if the robot touched something.

        The wheels keep the robot's limits of speed, turning and acceleration, whatever is commanded.
        Raises ``ValueError`` for a command that is not finite.
        """
        steps = round(duration_s / TIME_STEP_S)
        if steps < 1 or abs(steps * TIME_STEP_S - duration_s) > 1e-9:
            raise ValueError(f"{duration_s} s is not a whole number of steps of {TIME_STEP_S} s")
        if not (math.isfinite(command[0]) and math.isfinite(command[1])):
            raise ValueError(f"the command {command} is not finite")
        data, touched = self._data, False
        for _ in range(steps):
            speed, rate = self._wheels.push(command, self.twist_2)
            heading = data.qpos[2] + rate * TIME_STEP_S / 2  # the middle of the step: exact on arcs
            data.qvel[0] = speed * math.cos(heading)
            data.qvel[1] = speed * math.sin(heading)
            data.qvel[2] = rate
            self._move_movers()
            mujoco.mj_step(self._model, data)
            touched = touched or data.ncon > 0
        self._moment_s = self.time_s
        return touched

    @property
    def movers_M2(self) -> NDArray[np.float64]:
        """Where the movers are, (M, 2)."""
        return np.array(self._data.mocap_pos[:, :2])

    def _move_movers(self) -> None:
        """Bring the movers to where they are at the end of the coming step."""
        if len(self._movers) == 0:
            self._steps += 1
            return
        if self._steps % _STEPS_PER_TICK == 0:
            self._crowd = self._next_crowd
            self._next_crowd = self._movers.after_tick(self._crowd, self.pose_3[:2], self.robot.radius_m)
            self._way_M2 = self._movers.places(self._crowd), self._movers.places(self._next_crowd)
        self._steps += 1
        part = (self._steps - 1) % _STEPS_PER_TICK + 1
        before_M2, after_M2 = self._way_M2
        self._show_movers(before_M2 + part / _STEPS_PER_TICK * (after_M2 - before_M2))
        if part == _STEPS_PER_TICK:
            self._crowd = self._next_crowd

    def _show_movers(self, movers_M2: NDArray[np.float64]) -> None:
        self._data.mocap_pos[:, :2] = movers_M2

    def ranges_R(self) -> NDArray[np.float64]:
        """Distance from the base's centre along each ray, counter-clockwise from straight ahead, metres."""
        data = self._data
        mujoco.mj_kinematics(self._model, data)
        angles_R = BEARINGS_R + data.qpos[2]
        rays_R3 = np.stack([np.cos(angles_R), np.sin(angles_R), np.zeros_like(angles_R)], axis=1)
        origin_3 = np.array([data.qpos[0], data.qpos[1], RAY_HEIGHT_M])
        mujoco.mj_multiRay(
            self._model,
            data,
            origin_3,
            rays_R3.ravel(),
            _SEEN_BY_SCANNERS,
            True,
            self._body,
            self._ray_hit_R,
            self._ray_length_R,
            *_NO_NORMAL,
            len(angles_R),
            MAX_RANGE_M,
        )
        missed_R = self._ray_hit_R < 0
        return np.where(missed_R, MAX_RANGE_M, np.minimum(self._ray_length_R, MAX_RANGE_M))

    def clearance_K(self) -> NDArray[np.float32]:
        """Free distance in each sector: the least of its rays, sector 0 centred straight ahead."""
        return sector_minimum(self.ranges_R())

    def look(self) -> NDArray[np.uint8]:
        """The camera's picture, (height, width, 3) RGB."""
        if self._picture is None:
            raise RuntimeError("this simulator was made with pictures=False")
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        light = self.plan.light
        brightness = light.brightness(self._moment_s)
        self._model.light_ambient[0] = brightness * np.array(light.ambient)
        self._model.light_diffuse[0] = brightness * np.array(light.diffuse)
        return self._picture.draw(self._model, self._data)

    def close(self) -> None:
        """Free the graphics memory; the simulator still moves, but sees no more."""
        if self._picture is not None:
            self._picture.close()
            self._picture = None

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def sector_minimum(ranges_R: NDArray[np.float64]) -> NDArray[np.float32]:
    """Least range (..., K) of ranges (..., R); the rays of sector k lie around bearing 2 pi k / SECTORS."""
    centred_R = np.roll(ranges_R, RAYS_PER_SECTOR // 2, axis=-1)
    sectors = centred_R.reshape(*centred_R.shape[:-1], SECTORS, RAYS_PER_SECTOR)
    return np.asarray(sectors.min(axis=-1), dtype=np.float32)


class _Picture:
    """MuJoCo's scene and drawing context for one model."""

    def __init__(self, model: mujoco.MjModel, camera: Camera) -> None:
        self._gl = open_gl_context(camera.width, camera.height)
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 8)
        for flag in ("SHADOW", "REFLECTION", "SKYBOX", "FOG", "HAZE"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}")] = 0
        self._option = mujoco.MjvOption()
        self._option.geomgroup[:] = 1
        self._option.geomgroup[[ROBOT_GROUP, HULL_GROUP]] = 0
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = model.camera("camera").id
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._rect = mujoco.MjrRect(0, 0, camera.width, camera.height)
        self._pixels_HWC = np.zeros((camera.height, camera.width, 3), np.uint8)

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData) -> NDArray[np.uint8]:
        self._gl.make_current()
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(model, data, self._option, None, self._view, everything, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._pixels_HWC, None, self._rect, self._context)
        return self._pixels_HWC[::-1].copy()  # OpenGL's rows start at the bottom

    def close(self) -> None:
        self._gl.make_current()
        self._context.free()
