"""How far it is to drive between the places of a clip, which the place embedding learns to tell.

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


def place_loss(embedding_BFE: Tensor, distance_BFF: Tensor, weight_BF: Tensor) -> Tensor:
    """Squared error of 1 - cos between all pairs of a clip's frames, weighted by both frames' weights."""
    unit = torch.nn.functional.normalize(embedding_BFE, dim=-1)
    apart = 1.0 - unit @ unit.transpose(1, 2)
    weight = weight_BF[:, :, None] * weight_BF[:, None, :]
    error = (apart - place_target(distance_BFF)).square()
    return (weight * error).sum() / weight.sum().clamp_min(1.0)
