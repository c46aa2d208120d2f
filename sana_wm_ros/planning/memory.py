"""What the planner keeps from one plan to the next: where the robot was, what seemed free, which places it saw."""

from __future__ import annotations

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from sana_wm_ros.geometry import se2
from sana_wm_ros.planning.critics.contact import ContactModel, drops
from sana_wm_ros.planning.free_space import FreeSpace, FreeSpaceSettings
from sana_wm_ros.planning.routes import Routes, WayLeft
from sana_wm_ros.planning.tracking import references
from sana_wm_ros.planning.trail import Trail
from sana_wm_ros.planning.types import FloatArray, Futures, Goal, Plan, RobotState

_PLACES = 400
_JUMP_M, _FASTEST_MPS = 1.0, 5.0
_SEEN_FREE = 0.75  # as sure as a view makes it
_CONTACT_DROP = 0.3  # of the chance to have touched nothing, in one frame
_BUMP_S, _BUMP_MPS, _BUMP_KEPT_S = 0.5, 0.1, 60.0
_PLACE_APART, _VIEW_APART = (0.3, 0.5), (0.12, 0.2)  # metres and radians from the last one that was kept


class Memory:
    """Of one robot, in one ``odom`` frame."""

    def __init__(
        self, radius_m: float, settings: FreeSpaceSettings | None = None, *, trail_is_free: bool = True
    ) -> None:
        self.free_space = FreeSpace(radius_m, settings)
        self._routes = Routes(self.free_space)
        self._radius_m, self._contact, self._trail_is_free = radius_m, ContactModel(), trail_is_free
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.free_space.clear()
        self._trail = Trail()
        self._places: list[Tensor] = []
        self._place_pose_3: FloatArray | None = None
        self._view_pose_3: FloatArray | None = None
        self._view_s = -np.inf
        self._last: RobotState | None = None
        self._bumps: list[tuple[float, FloatArray]] = []

    @property
    def bumps_B2(self) -> FloatArray:
        """Points (B, 2) on things that stopped the robot in the last minute, whatever was imagined there."""
        return np.array([point for _, point in self._bumps]) if self._bumps else np.zeros((0, 2))

    @property
    def trail_P3(self) -> FloatArray:
        """Poses (P, 3) where the robot has been, the oldest first, a tenth of a metre apart."""
        return self._trail.poses_P3

    def trodden(self, poses_NF3: FloatArray) -> NDArray[np.bool_]:
        """Which poses (N, F) lie on the trail, to a few centimetres: through doorways there are no more to spare."""
        if not self._trail_is_free:
            return np.zeros(poses_NF3.shape[:2], dtype=np.bool_)
        return self._trail.carries(poses_NF3[..., :2])

    @property
    def visited_ME(self) -> Tensor | None:
        """Place embeddings of where plans were made, or None before the first."""
        return torch.stack(self._places) if self._places else None

    def been(self, poses_P3: FloatArray) -> None:
        """The robot was at these poses, in order of time."""
        self._trail.add(poses_P3)

    def tried(self, start: RobotState, plan: Plan) -> bool:
        """The robot followed ``plan`` until now. Where it stands though it was to move, something stops it: true."""
        elapsed_s = start.time_s - plan.start.time_s
        if not _BUMP_S <= elapsed_s <= plan.times_F[-1]:
            return False
        wanted_3 = (
            se2.log(se2.between(*references(plan, np.array([elapsed_s - _BUMP_S, elapsed_s])))) / _BUMP_S
        )
        wanted_mps, moves_mps = np.hypot(*wanted_3[:2]), np.hypot(*start.twist_3[:2])
        behind_m = np.hypot(*(references(plan, np.array([elapsed_s]))[0, :2] - start.pose_3[:2]))
        if wanted_mps < _BUMP_MPS or moves_mps > 0.3 * wanted_mps or behind_m < 0.3 * _BUMP_S * wanted_mps:
            return False
        heading = start.pose_3[2] + np.arctan2(wanted_3[1], wanted_3[0])
        point_2 = start.pose_3[:2] + self._radius_m * np.array([np.cos(heading), np.sin(heading)])
        self._bumps = [(time_s, at) for time_s, at in self._bumps if np.hypot(*(at - point_2)) > 0.1]
        self._bumps.append((start.time_s, point_2))
        return True

    def arrive(self, start: RobotState) -> None:
        """A plan begins here. A clock that went back, or a pose too far to have driven there, clears it all."""
        if self._last is not None:
            passed_s = start.time_s - self._last.time_s
            moved_m = float(np.hypot(*(start.pose_3[:2] - self._last.pose_3[:2])))
            if passed_s < 0 or moved_m > _JUMP_M + _FASTEST_MPS * passed_s:
                self.clear()
        self._last = start
        self.been(start.pose_3[None])
        self.free_space.follow(start.pose_3[:2], start.time_s)
        if self._trail_is_free:
            self.free_space.add_trail(self.trail_P3[:, :2])
        self._bumps = [(time_s, at) for time_s, at in self._bumps if start.time_s - time_s < _BUMP_KEPT_S]
        self.free_space.add_bumps(self.bumps_B2)

    def view(
        self,
        pose_3: FloatArray,
        time_s: float,
        clearance_K: FloatArray,
        camera_yaw_rad: float,
        half_view_rad: float,
    ) -> None:
        """Take in the clearance that the model reads from what the camera sees now, unless it just did from here."""
        if time_s < self._view_s:
            self.clear()
        self._view_s, last = time_s, self._view_pose_3
        if last is None or _left(last, pose_3, _VIEW_APART):
            self._view_pose_3 = pose_3
            self.free_space.follow(pose_3[:2], time_s)
            self.free_space.add_view(pose_3, clearance_K, camera_yaw_rad, half_view_rad)

    def known(self, poses_NF3: FloatArray) -> tuple[FloatArray, FloatArray]:
        """How surely (N, F) the floor is free at these poses, and how surely something stands there.

        On the trail 1 and 0, elsewhere by what the camera saw.
        """
        free_NF, barred_NF = self.free_space.seen(poses_NF3[..., :2])
        trodden_NF = self.trodden(poses_NF3)
        return np.where(trodden_NF, 1.0, _SEEN_FREE * free_NF), np.where(trodden_NF, 0.0, barred_NF)

    def imagined(self, futures: Futures) -> None:
        """Take in what was imagined for all candidates: its clearance, and the place of standing here."""
        survival_NF = self._contact.survival(futures)
        weight_NF = survival_NF * self._contact.weights(futures)
        clearance_NFK = futures.rollout.clearance_NFK
        self.free_space.add_scans(
            futures.candidates.poses_NF3.reshape(-1, 3),
            clearance_NFK.reshape(-1, clearance_NFK.shape[-1]).double().cpu().numpy(),
            weight_NF.reshape(-1).double().cpu().numpy(),
        )
        self._imagined_contacts(futures, survival_NF)
        pose_3 = futures.start.pose_3
        elsewhere = self._place_pose_3 is None or _left(self._place_pose_3, pose_3, _PLACE_APART)
        if "stop" in futures.candidates.origins and elsewhere:
            row = futures.candidates.origins.index("stop")
            self._places.append(futures.rollout.place_NFE[row, 0].float().cpu())
            del self._places[:-_PLACES]
            self._place_pose_3 = pose_3

    def _imagined_contacts(self, futures: Futures, survival_NF: Tensor) -> None:
        """Something is where a future most likely touches it first."""
        drop_NF = drops(survival_NF).double().cpu().numpy()
        poses_NF3, twists_NF3 = futures.candidates.poses_NF3, futures.candidates.twists_NF3
        rows, frames = np.nonzero(drop_NF > _CONTACT_DROP)
        heading = poses_NF3[rows, frames, 2] + np.where(twists_NF3[rows, frames, 0] < 0, np.pi, 0.0)
        ahead = self._radius_m * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        self.free_space.add_contacts(poses_NF3[rows, frames, :2] + 0.5 * ahead, drop_NF[rows, frames])

    def ways(self, start_3: FloatArray, goal: Goal, count: int, generator: Generator) -> list[FloatArray]:
        """Different ways (M, 2) to the goal through what seems free."""
        ways = self._routes.ways(start_3[:2], np.array([goal.x_m, goal.y_m]), count, generator)
        return self._trail.onto(ways) if self._trail_is_free else ways

    def way_left(self, goal: Goal) -> WayLeft | None:
        """What is left to the goal from anywhere, as far as known."""
        return self._routes.way_left(np.array([goal.x_m, goal.y_m]))

    def openings(self, start_3: FloatArray, goal: object, count: int) -> list[FloatArray]:
        """Ways (M, 2) to where what seems free ends at the unknown."""
        towards = np.array([goal.x_m, goal.y_m]) if isinstance(goal, Goal) else None
        return self._routes.openings(start_3[:2], towards, count)


def _left(last_3: FloatArray, pose_3: FloatArray, apart: tuple[float, float]) -> bool:
    """Whether a pose is so many metres, or radians, away from the last."""
    x, y, yaw = se2.between(last_3, pose_3)
    return bool(np.hypot(x, y) > apart[0] or abs(yaw) > apart[1])
