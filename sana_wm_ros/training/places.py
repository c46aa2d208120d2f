"""How far views are from each other, and how far it is to drive between them (what the embedding learns).

Dimension letters: B clips, F latent frames, E embedding width.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

METRES_PER_RADIAN = 0.3  # what turning on the spot counts: half a turn is about a metre
NEAR_M = 0.4  # poses this close are one place, whatever lies between their times
SCALE_M = 3.0
RADIAN_M = 1.5  # a view one radian aside is as far as one 1.5 m away
SEEN_M = 1.0  # a view this near to a seen one shows a place that was seen


def view_distance(poses_M3: NDArray[np.float64], poses_F3: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far every seen view is from every other one, (F, M): metres, a radian aside as ``RADIAN_M``."""
    moved = poses_F3[:, None, :2] - poses_M3[None, :, :2]
    turn = np.abs((poses_F3[:, None, 2] - poses_M3[None, :, 2] + np.pi) % (2 * np.pi) - np.pi)
    return np.asarray(np.hypot(moved[..., 0], moved[..., 1]) + RADIAN_M * turn)


def travel_distance(poses_F3: NDArray[np.floating]) -> NDArray[np.float64]:
    """Metres to drive between every two poses of a clip, (F, F), by the shortest way that the clip shows.

    Steps lead from frame to frame, and across time between poses less than ``NEAR_M`` apart; so coming back
    makes two views near, and a wall between two close rooms still keeps them far.
    """
    poses = np.asarray(poses_F3, dtype=np.float64)
    moved = np.hypot(*(poses[:, None, :2] - poses[None, :, :2]).transpose(2, 0, 1))
    turned = np.abs((poses[:, None, 2] - poses[None, :, 2] + np.pi) % (2 * np.pi) - np.pi)
    step = moved + METRES_PER_RADIAN * turned
    count = np.arange(len(poses))
    allowed = (np.abs(count[:, None] - count[None]) <= 1) | (moved < NEAR_M)
    distance = np.where(allowed, step, np.inf)
    for middle in range(len(poses)):  # Floyd and Warshall
        distance = np.minimum(distance, distance[:, middle, None] + distance[None, middle])
    return distance


def place_target(distance: Tensor) -> Tensor:
    """The embedding distance 1 - cos that stands for a driving distance in metres: 1 - exp(-d / 3 m)."""
    return 1.0 - torch.exp(-distance / SCALE_M)


def place_errors(embedding_BFE: Tensor, distance_BFF: Tensor, weight_BF: Tensor) -> tuple[Tensor, Tensor]:
    """Squared error of 1 - cos between all pairs of a clip's frames, and its weight (both frames'), (B, F, F)."""
    unit = torch.nn.functional.normalize(embedding_BFE, dim=-1)
    apart = 1.0 - unit @ unit.transpose(1, 2)
    weight = weight_BF[:, :, None] * weight_BF[:, None, :]
    return (apart - place_target(distance_BFF)).square(), weight
