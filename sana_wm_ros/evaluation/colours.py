"""The colours of a plan: cost on a perceptually uniform scale, red where contact is expected.

The node's markers and the report's pictures share them, so a colour means the same in RViz and on paper.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

CONTACT_RGB = (220, 38, 38)
CHOSEN_RGB = (245, 130, 32)
UNKNOWN_RGB = (148, 150, 156)
# Where a candidate was not imagined: what it asks for is known, what would come of it is not.
FAINT_ALPHA = 0.15

# Viridis without its ends: the darkest and the palest colours vanish on RViz's grey and on white paper.
_BEST, _WORST = 0.78, 0.08


def cost_range(costs_N: ArrayLike) -> tuple[float, float]:
    """The finite lowest and highest cost, (0, 1) where there is none; never an empty range."""
    costs = np.asarray(costs_N, dtype=np.float64)
    # Beyond the clip differences overflow; nobody reads such costs off a colour bar anyway.
    finite = np.clip(costs[np.isfinite(costs)], -1e30, 1e30)
    if finite.size == 0:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    # Costs that differ by rounding only are the same cost.
    return (low, high) if high - low > 1e-4 * max(abs(low), abs(high)) else (low, low + max(abs(low), 1.0))


def scale_colours(position_N: ArrayLike) -> NDArray[np.uint8]:
    """Colours (N, 3) RGB of positions in [0, 1] on the scale, 0 the best; NaN is grey."""
    position = np.atleast_1d(np.asarray(position_N, dtype=np.float64))
    if position.size == 0:
        return np.zeros((0, 3), np.uint8)
    known = np.isfinite(position)
    level = np.where(known, np.clip(position, 0.0, 1.0), 0.0)
    index = np.rint(255.0 * (_BEST + (_WORST - _BEST) * level)).astype(np.uint8)
    viridis_bgr = cv2.applyColorMap(index[:, None], cv2.COLORMAP_VIRIDIS)[:, 0]
    colours = viridis_bgr[:, ::-1].copy()
    colours[~known] = UNKNOWN_RGB
    return colours


def cost_colours(costs_N: ArrayLike) -> NDArray[np.uint8]:
    """Colours (N, 3) RGB of costs between the lowest (bright green) and the highest (dark violet).

    A cost that is not finite is grey: it was never compared.
    """
    costs = np.atleast_1d(np.asarray(costs_N, dtype=np.float64))
    low, high = cost_range(costs)
    clipped = np.clip(np.where(np.isfinite(costs), costs, np.nan), low, high)
    position = (clipped - low) / (high - low)
    return scale_colours(position)
