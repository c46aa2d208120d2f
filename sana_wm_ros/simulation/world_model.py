"""``SimulatorWorldModel``: the planning protocol with the true building behind it, as perfect imagination.

An oracle (it measures the planner alone) and a teacher. The robot does exactly as commanded until its disc
touches something, and stays there; walls, furniture and moving bodies are those of the simulator, worked out
from above instead of stepped (tested equal to MuJoCo). Pictures are drawn when somebody decodes.
Dimension letters: N candidates, F latent frames, T raw frames, R of them in a latent frame, M movers, K sectors,
X numbers of a state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sana_wm_ros.geometry import se2, se3
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.landmarks import Landmarks
from sana_wm_ros.simulation.movers import TICK_S, Crowd, Movers
from sana_wm_ros.simulation.robot import Camera
from sana_wm_ros.simulation.shapes import Fan, Shapes, circle_ranges
from sana_wm_ros.simulation.simulator import (
    BEARINGS_R,
    MAX_RANGE_M,
    RAY_HEIGHT_M,
    SECTORS,
    Simulator,
    Truth,
    sector_minimum,
)
from sana_wm_ros.simulation.walk import TICKS_PER_FRAME, Walkers, walk
from sana_wm_ros.world_model.autoencoder import Autoencoder
from sana_wm_ros.world_model.checks import checked_frames, checked_intrinsics, checked_poses
from sana_wm_ros.world_model.protocol import Intrinsics, ModelSpec, Rollout

FloatArray = NDArray[np.float64]

RAW_PER_LATENT = TICKS_PER_FRAME
_PLACE_WIDTH = 32


class SimulatorWorldModel:
    """The truth as a world model: contexts know the real state, forks copy it, imagination steps it.

    Contexts take measured camera poses, as with any model. Where ``truth`` is given (``lambda:
    simulator.truth``), each ``extend`` asks it for the state at its newest frame: so a drifting odometry is
    undone, and movers are where they are. Without it measured poses count as true ones in the building's
    frame and the movers begin at time zero with the first frame, as in a recorded drive.

    Latents are not a network's: ``(R, 1, 4 + 2 M)`` numbers, per raw frame the time, the true pose and the
    movers' places, which is what ``decode`` draws from. With an ``autoencoder`` every imagined frame is drawn
    and encoded (a millisecond each, for critics that look at latents), and ``decode`` is the autoencoder's.
    Nothing is uncertain: uncertainty is zero.
    """

    def __init__(
        self,
        plan: FloorPlan,
        *,
        robot: Robot,
        camera: Camera,
        truth: Callable[[], Truth] | None = None,
        autoencoder: Autoencoder | None = None,
    ) -> None:
        self.plan, self.robot, self.camera = plan, robot, camera
        self.truth, self.autoencoder = truth, autoencoder
        self.movers = Movers(plan.movers)
        self.walls = Shapes(solid.outline for solid in plan.solids if solid.blocks)
        self.screens = Shapes(solid.outline for solid in plan.solids if solid.spans(RAY_HEIGHT_M))
        self.landmarks = Landmarks(plan, robot.radius_m, _PLACE_WIDTH)
        self.T_camera_base_44 = se3.inverse(camera.T_base_camera_44)
        self._simulator: Simulator | None = None
        state_shape = (RAW_PER_LATENT, 1, 4 + 2 * len(self.movers))
        self.spec = ModelSpec(
            image_height=camera.height,
            image_width=camera.width,
            frame_rate_hz=1 / TICK_S,
            frames_per_latent=RAW_PER_LATENT,
            latent_shape=autoencoder.config.latent_shape if autoencoder else state_shape,
            sectors=SECTORS,
            max_range_m=MAX_RANGE_M,
            place_width=_PLACE_WIDTH,
        )

    def start(self, intrinsics: Intrinsics) -> SimulatorContext:
        """An empty context; the intrinsics are checked and then known better."""
        checked_intrinsics(intrinsics, self.spec)
        return SimulatorContext(model=self, crowd=self.movers.begin())

    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Draw what the robot sees: uint8 (F * R, H, W, 3). Needs MuJoCo's graphics."""
        if self.autoencoder is not None:
            return self.autoencoder.decode(latents_FCHW)
        if latents_FCHW.ndim != 4 or tuple(latents_FCHW.shape[1:]) != self.spec.latent_shape:
            raise ValueError(
                f"latents have shape {tuple(latents_FCHW.shape)}; expected (F, {self.spec.latent_shape})"
            )
        states_TX = latents_FCHW.detach().cpu().double().numpy().reshape(-1, latents_FCHW.shape[-1])
        if not np.isfinite(states_TX).all():
            raise ValueError("latents hold values that are not finite; nothing can be drawn of them")
        return torch.from_numpy(np.stack([self.draw(state_X) for state_X in states_TX]))

    def draw(self, state_X: FloatArray) -> NDArray[np.uint8]:
        """The picture (H, W, 3) of one state: time, pose, movers' places."""
        if self._simulator is None:
            self._simulator = Simulator(self.plan, robot=self.robot, camera=self.camera, start_3=state_X[1:4])
        self._simulator.set_moment(float(state_X[0]), state_X[1:4], state_X[4:].reshape(-1, 2))
        return self._simulator.look()

    def close(self) -> None:
        """Free the graphics memory, if pictures were drawn."""
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    def states(self, before_s: float, poses_T3: FloatArray, places_TM2: FloatArray) -> FloatArray:
        """Time, pose and movers' places of T successive raw frames (..., T, X), the first a tick on."""
        times_T = before_s + TICK_S * np.arange(1, poses_T3.shape[-2] + 1)
        times_T1 = np.broadcast_to(times_T[:, None], (*poses_T3.shape[:-1], 1))
        places_TX = places_TM2.reshape(*poses_T3.shape[:-1], 2 * len(self.movers))
        return np.concatenate([times_T1, poses_T3, places_TX], axis=-1)

    def latents(self, states_FRX: FloatArray) -> Tensor:
        """States of raw frames (F, R, X) as latents (F, C, H, W)."""
        if self.autoencoder is None:
            return torch.from_numpy(states_FRX[..., None, :].astype(np.float32))
        flat_TX = states_FRX.reshape(-1, states_FRX.shape[-1])
        frames_THWC = torch.from_numpy(np.stack([self.draw(state_X) for state_X in flat_TX]))
        groups = frames_THWC.unflatten(0, (-1, RAW_PER_LATENT))
        with torch.no_grad():
            return self.autoencoder.normalise(self.autoencoder.encode_groups(groups))


@dataclass(frozen=True, kw_only=True)
class SimulatorContext:
    """The state at the newest frame. align_3: the odometry's origin in the building."""

    model: SimulatorWorldModel
    crowd: Crowd
    time_s: float = 0.0
    pose_3: FloatArray | None = None
    align_3: FloatArray | None = None
    latent_frames: int = 0
    last_latent_CHW: Tensor | None = None

    def extend(self, frames_THWC: Tensor, poses_T44: Tensor) -> SimulatorContext:
        """Take in where the camera was; the pictures are checked, but the truth needs none."""
        model, first = self.model, self.latent_frames == 0
        frames = checked_frames(frames_THWC, model.spec, first)
        poses = checked_poses(poses_T44, (len(frames),)).cpu().numpy()
        measured_T3 = se3.to_planar(poses @ model.T_camera_base_44)
        if model.truth is not None:
            now = model.truth()
            align_3 = se2.compose(now.pose_3, se2.inverse(measured_T3[-1]))
            time_s, crowd = now.time_s, now.crowd
        else:
            align_3, time_s, crowd = np.zeros(3), self.time_s, self.crowd
            for pose_3 in measured_T3[:-1] if first else [self.pose_3, *measured_T3[:-1]]:
                crowd = model.movers.after_tick(crowd, pose_3[:2], model.robot.radius_m)
                time_s += TICK_S
        true_T3 = se2.compose(align_3, measured_T3)
        places_TM2 = np.tile(model.movers.places(crowd), (len(true_T3), 1, 1))
        states_TX = model.states(time_s - TICK_S * len(true_T3), true_T3, places_TM2)[-RAW_PER_LATENT:]
        states_RX = np.concatenate([np.repeat(states_TX[:1], RAW_PER_LATENT - len(states_TX), 0), states_TX])
        return replace(
            self,
            crowd=crowd,
            time_s=time_s,
            pose_3=true_T3[-1],
            align_3=align_3,
            latent_frames=self.latent_frames + (len(frames) - first) // RAW_PER_LATENT + first,
            last_latent_CHW=model.latents(states_RX[None])[0],
        )

    def fork(self, candidates: int) -> SimulatorBatch:
        """N copies of the true state."""
        if candidates < 1:
            raise ValueError(f"{candidates} candidates; expected at least 1")
        if self.pose_3 is None or self.align_3 is None:
            raise ValueError("nothing was seen yet; extend the context with a frame first")
        return SimulatorBatch(
            model=self.model,
            align_3=self.align_3,
            time_s=self.time_s,
            walkers=Walkers(
                asked_N3=np.tile(self.pose_3, (candidates, 1)),
                pose_N3=np.tile(self.pose_3, (candidates, 1)),
                stopped_N=np.zeros(candidates, np.bool_),
                crowd=self.crowd.spread(candidates),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class SimulatorBatch:
    """N true states. align_3: the odometry's origin in the building."""

    model: SimulatorWorldModel
    align_3: FloatArray
    time_s: float
    walkers: Walkers

    @property
    def size(self) -> int:
        return len(self.walkers.stopped_N)

    def select(self, index_N: Tensor) -> SimulatorBatch:
        """Keep some candidates, in the order given."""
        if not isinstance(index_N, Tensor) or index_N.ndim != 1 or index_N.is_floating_point():
            raise TypeError("select takes a one-dimensional tensor of candidate numbers (or a mask)")
        if index_N.dtype == torch.bool:
            index_N = index_N.nonzero()[:, 0]
        if len(index_N) == 0 or int(index_N.min()) < 0 or int(index_N.max()) >= self.size:
            raise ValueError(f"candidates {index_N.tolist()}; expected some of 0 to {self.size - 1}")
        return replace(self, walkers=self.walkers.select(index_N.cpu().numpy()))

    def imagine(
        self, poses_NF44: Tensor, *, steps: int | None = None, generator: torch.Generator | None = None
    ) -> tuple[SimulatorBatch, Rollout]:
        """Go on along commanded camera poses; ``steps`` and ``generator`` have nothing to decide here.

        collision is 0 or 1: 1 from the frame on in which the robot's disc touches something that it is
        driving towards. A robot that begins in contact and drives away is free.
        """
        model, (size, frames) = self.model, poses_NF44.shape[:2]
        poses = checked_poses(poses_NF44, (self.size, None)).cpu().numpy()
        asked_NF3 = se2.compose(self.align_3, se3.to_planar(poses @ model.T_camera_base_44))
        walked = walk(
            self.walkers,
            asked_NF3,
            walls=model.walls,
            movers=model.movers,
            radius_m=model.robot.radius_m,
        )
        ends = slice(RAW_PER_LATENT - 1, None, RAW_PER_LATENT)
        true_NF3, places_NFM2 = walked.poses_NT3[:, ends], walked.places_NTM2[:, ends]
        states_NTX = model.states(self.time_s, walked.poses_NT3, walked.places_NTM2)
        states_FRX = states_NTX.reshape(size * frames, RAW_PER_LATENT, -1)
        place_NFE = model.landmarks.embed(true_NF3.reshape(-1, 3)).reshape(size, frames, -1)
        rollout = Rollout(
            latents_NFCHW=model.latents(states_FRX).unflatten(0, (size, frames)),
            collision_NF=torch.from_numpy(walked.contact_NF.astype(np.float32)),
            clearance_NFK=torch.from_numpy(_clearance(model, true_NF3, walked.stood_NF, places_NFM2)),
            uncertainty_NF=torch.zeros(size, frames),
            place_NFE=torch.from_numpy(place_NFE.astype(np.float32)),
        )
        after = replace(self, time_s=float(states_NTX[0, -1, 0]), walkers=walked.after)
        return after, rollout


def _clearance(
    model: SimulatorWorldModel, poses_NF3: FloatArray, stood_NF: NDArray[np.bool_], places_NFM2: FloatArray
) -> NDArray[np.float32]:
    """Free metres (N, F, K) around the robot, by the rays of the simulator's scanner.

    stood: since the frame before, so only movers can have changed what is seen.
    """
    size, frames = stood_NF.shape
    new_P = np.flatnonzero(~stood_NF)
    source_NF = np.maximum.accumulate(
        np.where(stood_NF, 0, np.arange(size * frames).reshape(size, -1)), axis=1
    )
    row_NF = np.searchsorted(new_P, source_NF)
    poses_P3 = poses_NF3.reshape(-1, 3)[new_P]
    static_PR = model.screens.ranges(poses_P3[:, :2], poses_P3[:, 2:] + BEARINGS_R, MAX_RANGE_M)
    if len(model.movers) == 0:
        return sector_minimum(static_PR)[row_NF]
    ranges_PR = static_PR[row_NF.ravel()]
    fan = Fan.of_angles(poses_NF3[..., 2].reshape(-1, 1) + BEARINGS_R)
    for m, radius_m in enumerate(model.movers.radius_M):
        away_P2 = (places_NFM2[..., m, :] - poses_NF3[..., :2]).reshape(-1, 2).astype(np.float32)
        np.minimum(ranges_PR, circle_ranges(away_P2[:, :1], away_P2[:, 1:], radius_m, fan), out=ranges_PR)
    return sector_minimum(ranges_PR).reshape(size, frames, SECTORS)
