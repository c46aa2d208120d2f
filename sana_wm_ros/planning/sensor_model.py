"""What a clearance that the model reads from a picture says of the cells around the camera.

An inverse sensor model (Thrun, Burgard, Fox, "Probabilistic Robotics", 2005, section 9.2), drawn through what nano
reads on tours through validation buildings: ``scripts/sensor_model_table.py`` prints, by range relative to the
clearance in their direction, how many cells in view are blocked, against all of them. A model reads ranges to a
fifth or so: half of a wall's evidence lies before it, half behind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Evidence = NDArray[np.float32]

SURE = (-4.0, 3.0)  # log odds beyond which more of the same changes nothing
_SHARE = np.array([0.0, 0.65, 0.75, 0.85, 0.95, 1.1, 1.25])  # range of a cell by clearance
_LOG_ODDS = np.array([-2.5, -1.8, -0.8, 0.3, 0.8, 0.7, 0.0])  # that it is blocked
_ALIKE = 0.2  # scans from places nearby err alike, so that each counts less than it would alone
_SHARP_M, _BLUNT, _SHARPEST = 1.6, 0.35, 1.3  # walls that are far are told less surely, in proportion
_NEAR_M, _NEARER = 1.0, 0.12  # what is near seems further off than it is
_LEAST_M = 0.05


def log_odds(range_MM: Evidence, clearance_MM: Evidence) -> Evidence:
    """What to add to the log odds (M, M) of cells to be blocked, by their range and the clearance there, in metres.

    A range of inf, out of reach, adds nothing.
    """
    clearance_MM = np.maximum(clearance_MM, _LEAST_M)
    share = range_MM / clearance_MM + _NEARER * (clearance_MM < _NEAR_M)
    found = np.interp(share, _SHARE, _LOG_ODDS)
    sharp = np.clip(_SHARP_M / clearance_MM, _BLUNT, _SHARPEST)
    found = np.where(found > 0, found * sharp, found)
    return (_ALIKE * np.where(np.isfinite(range_MM), found, 0.0)).astype(np.float32)


def most_sure(clearance_MM: Evidence) -> Evidence:
    """Log odds (M, M) to be blocked that views alone may raise a cell to: looking longer makes no far wall sharper."""
    sharp = np.minimum(1.0, np.square(_SHARP_M / np.maximum(clearance_MM, _LEAST_M)))
    return (SURE[1] * sharp).astype(np.float32)
