"""A robot that lives in the imagination: commands in; what its camera, wheels, ranges and bumper would say out.

Every half second (a latent frame) is imagined from all that happened before, for the command that is held during it,
and then remembered as having happened; so the dream goes on without end in memory of constant size. What was really
seen stays as it was: a dreamed view is kept as a keyframe only where nothing was known before.
Dimension letters: M moments, T raw frames, K bearing sectors.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sana_wm_ros.geometry import se3
from sana_wm_ros.geometry.camera import Pinhole, camera_poses
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.robot import Handling
from sana_wm_ros.simulation.wheels import FreeRobot, Twist2
from sana_wm_ros.world_model.keyframes import HEADING_M
from sana_wm_ros.world_model.model import NavigationContext
from sana_wm_ros.world_model.protocol import Intrinsics, WorldModel

FloatArray = NDArray[np.float64]
Pictures = NDArray[np.uint8]

MOMENTS_PER_PICTURE = 5
NEW_VIEW_M = 0.6
"""A view this far from all known ones is new; turning by a radian counts ``HEADING_M`` metres."""


@dataclass(frozen=True, kw_only=True)
class DreamStart:
    """What was really seen before the dream begins, at the model's size and rate: 1 + k * frames_per_latent frames.

    poses_T44: camera-to-world in ``odom``. T_base_camera_44: the camera's optical frame on the robot. name: of the
    picture or the recording, for people.
    """

    frames_THWC: Pictures
    poses_T44: FloatArray
    intrinsics: Intrinsics
    T_base_camera_44: FloatArray
    name: str

    @property
    def poses_T3(self) -> FloatArray:
        """Of the robot's base, (x, y, yaw)."""
        return se3.to_planar(self.poses_T44 @ se3.inverse(self.T_base_camera_44))


@dataclass(frozen=True, kw_only=True)
class DreamStep:
    """One latent frame that was dreamed.

    time_s: dreamed seconds at its beginning. times_M: moments in it, the last one its end, every
    ``MOMENTS_PER_PICTURE``-th that of a picture in pictures_THWC. poses_M3 in ``odom``; twists_M2 (speed, yaw rate).
    clearance_K: metres by bearing sector at its end. probability: of contact; contact: whether it stopped the robot.
    uncertainty: expected error in standard deviations. took_s: how long imagining it took.
    """

    time_s: float
    command: Twist2
    times_M: FloatArray
    poses_M3: FloatArray
    twists_M2: FloatArray
    pictures_THWC: Pictures
    clearance_K: FloatArray
    probability: float
    contact: bool
    uncertainty: float
    took_s: float

    def clearance_at(self, moment: int) -> FloatArray:
        """Clearance by sector (K,) at a moment: that of the end, turned and moved back along the way."""
        end_3, here_3 = self.poses_M3[-1], self.poses_M3[moment]
        bearings_K = 2 * math.pi * np.arange(len(self.clearance_K)) / len(self.clearance_K)
        turned_K = bearings_K + here_3[2] - end_3[2]
        clearance_K = np.interp(turned_K, bearings_K, self.clearance_K, period=2 * math.pi)
        towards_K2 = np.stack([np.cos(bearings_K + here_3[2]), np.sin(bearings_K + here_3[2])], axis=1)
        return np.maximum(0.0, clearance_K + towards_K2 @ (end_3[:2] - here_3[:2]))


class Dream:
    """The dream of one robot. Not for use from several threads at once.

    contact_probability: the collision head's word from which on the robot touched something. denoising: steps per
    latent frame (None: the model's own number); more give crisper pictures for more time.
    Raises ``ValueError`` for a model that foretells no contact or keeps no memory of dreamed frames.
    """

    def __init__(
        self,
        model: WorldModel,
        start: DreamStart,
        *,
        robot: Robot | None = None,
        seed: int = 0,
        contact_probability: float = 0.5,
        denoising: int | None = None,
    ) -> None:
        model.spec.require("collision", "clearance", "uncertainty")
        self.model, self.start = model, start
        self.picture_HWC: Pictures = start.frames_THWC[-1]
        self.time_s = 0.0
        self.contacts = 0
        self._limit, self._denoising = contact_probability, denoising
        self._generator = torch.Generator().manual_seed(seed)
        poses_T3 = start.poses_T3
        self._wheels = FreeRobot(robot or Robot(), Handling(), poses_T3[-1])
        self._known = [_place(pose_3) for pose_3 in poses_T3[:: model.spec.frames_per_latent]]
        self._held: float = 0.0  # the direction of travel in which something is in the way
        with torch.inference_mode():
            context = model.start(start.intrinsics).extend(
                torch.from_numpy(start.frames_THWC), torch.from_numpy(start.poses_T44).float()
            )
        if not isinstance(context, NavigationContext):
            raise ValueError(
                f"{type(model).__name__} cannot be dreamed in: it takes pictures only; use nano, small or one like them"
            )
        self._context = context

    @property
    def pose_3(self) -> FloatArray:
        """Where the robot is, in ``odom``."""
        return self._wheels.pose_3

    @property
    def period_s(self) -> float:
        """Seconds of a step."""
        return self.model.spec.latent_period_s

    @property
    def camera(self) -> Pinhole:
        """The dreamed camera, which has no lens that bends the picture."""
        height, width = self.picture_HWC.shape[:2]
        k = self.start.intrinsics
        return Pinhole(fx=k.fx, fy=k.fy, cx=k.cx, cy=k.cy, width=width, height=height)

    @torch.inference_mode()
    def step(self, command: Twist2) -> DreamStep:
        """Dream on by one latent frame while a command (speed, yaw rate) is held."""
        begin_s = time.perf_counter()
        before_3 = self._wheels.pose_3
        poses_M3, twists_M2 = self._way(command)
        _, rollout = self._context.fork(1).imagine(
            self._camera_pose(poses_M3[-1])[None], steps=self._denoising, generator=self._generator
        )
        probability = float(rollout.collision_NF[0, 0])
        contact = probability > self._limit and self._drives_on(command[0])
        if contact:
            # A wall stops the way, not the turn; the view is that of a robot that was stopped already.
            poses_M3[:, :2], twists_M2[:, 0] = before_3[:2], 0.0
            self._wheels.place(poses_M3[-1])
            self.contacts += 1
            self._held = math.copysign(1.0, command[0])
        elif command != (0.0, 0.0):
            self._held = 0.0
        latents_FCHW = rollout.latents_NFCHW[0]
        self._remember(latents_FCHW, poses_M3[-1])
        pictures_THWC = self.model.decode(latents_FCHW).cpu().numpy()
        step = DreamStep(
            time_s=self.time_s,
            command=command,
            times_M=self.time_s + self._moments_M,
            poses_M3=poses_M3,
            twists_M2=twists_M2,
            pictures_THWC=pictures_THWC,
            clearance_K=rollout.clearance_NFK[0, 0].double().cpu().numpy(),
            probability=probability,
            contact=contact,
            uncertainty=float(rollout.uncertainty_NF[0, 0]),
            took_s=time.perf_counter() - begin_s,
        )
        self.time_s += self.period_s
        self.picture_HWC = pictures_THWC[-1]
        return step

    @property
    def _moments_M(self) -> FloatArray:
        count = MOMENTS_PER_PICTURE * self.model.spec.frames_per_latent
        return self.period_s * np.arange(1, count + 1) / count

    def _way(self, command: Twist2) -> tuple[FloatArray, FloatArray]:
        """Where the wheels lead while the command is held, had the robot nothing to run into."""
        moments_M = self._moments_M
        poses, twists = [], []
        for _ in moments_M:
            self._wheels.hold(command, float(moments_M[0]))
            poses.append(self._wheels.pose_3)
            twists.append(self._wheels.twist_2)
        return np.array(poses), np.array(twists)

    def _drives_on(self, speed: float) -> bool:
        """Whether the robot drives, and not back from what it touched: there it came from, so there is room."""
        return speed != 0.0 and speed * self._held >= 0.0

    def _remember(self, latents_FCHW: torch.Tensor, pose_3: FloatArray) -> None:
        place = _place(pose_3)
        new = min(float(np.linalg.norm(place - known)) for known in self._known) > NEW_VIEW_M
        if new:
            self._known.append(place)
        self._context = self._context.extend_latents(latents_FCHW, self._camera_pose(pose_3), seen=new)

    def _camera_pose(self, pose_3: FloatArray) -> torch.Tensor:
        """(1, 4, 4)."""
        return torch.from_numpy(camera_poses(pose_3, self.start.T_base_camera_44)).float()[None]


def _place(pose_3: FloatArray) -> FloatArray:
    """Position and heading as one point, as keyframes are told apart."""
    x, y, yaw = pose_3
    return np.array([x, y, HEADING_M * math.cos(yaw), HEADING_M * math.sin(yaw)])
