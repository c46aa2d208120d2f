"""True place embeddings: a pose as its driving distances to a few landmarks, so that near means soon there.

Dimension letters: P poses, L landmarks, E embedding width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.navigation import Navigator

FloatArray = NDArray[np.float64]

_SCALE_M = 3.0
_YAW_WEIGHT = 0.35


class Landmarks:
    """Landmarks spread over a building's floor, as far from each other by road as they can be."""

    def __init__(self, plan: FloorPlan, radius_m: float, width: int) -> None:
        self._navigator = Navigator(plan, radius_m)
        if len(self._navigator.cells_P2) == 0:
            raise ValueError(f"a robot of radius {radius_m} m fits nowhere into this building")
        found, goal = [], self._navigator.cells_P2[0]
        nearest_P = np.full(len(self._navigator.cells_P2), np.inf)
        for _ in range(width - 2):
            cost_P = self._navigator.search(*goal).cost_P
            found.append(cost_P)
            nearest_P = np.minimum(nearest_P, np.where(np.isfinite(cost_P), cost_P, nearest_P))
            goal = self._navigator.cells_P2[int(np.argmax(np.where(np.isfinite(nearest_P), nearest_P, -1)))]
        self._near_PL = np.exp(-np.stack(found, axis=1) / _SCALE_M)

    def embed(self, poses_P3: FloatArray) -> FloatArray:
        """Unit vectors (P, E): one part by nearness to each landmark, two by the heading."""
        near_PL = self._near_PL[self._navigator.nearest_cells(poses_P3[:, :2])]
        near_PL = near_PL / np.maximum(np.linalg.norm(near_PL, axis=1, keepdims=True), 1e-12)
        yaw_P2 = _YAW_WEIGHT * np.stack([np.cos(poses_P3[:, 2]), np.sin(poses_P3[:, 2])], axis=1)
        embedding_PE = np.concatenate([near_PL, yaw_P2], axis=1)
        return np.asarray(embedding_PE / np.linalg.norm(embedding_PE, axis=1, keepdims=True))
