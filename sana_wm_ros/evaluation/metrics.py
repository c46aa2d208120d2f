"""How close pictures are to what the camera saw, and the simple guesses that a model must beat.

Dimension letters: T frames, M frames already seen. Pictures are uint8 RGB.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float64]
_WINDOW = 11


def psnr_db(seen_THWC: Pictures, guess_THWC: Pictures) -> Floats:
    """Peak signal-to-noise ratio of each frame in dB, shape (T,); infinite where frames are equal."""
    if seen_THWC.shape != guess_THWC.shape:
        raise ValueError(f"cannot compare pictures of shape {seen_THWC.shape} with {guess_THWC.shape}")
    error = seen_THWC.astype(np.float64) - guess_THWC.astype(np.float64)
    mean_square_T = (error**2).reshape(len(error), -1).mean(axis=1)
    with np.errstate(divide="ignore"):
        return np.asarray(10.0 * np.log10(255.0**2 / mean_square_T))


def ssim(seen_THWC: Pictures, guess_THWC: Pictures) -> Floats:
    """Structural similarity of each frame, (T,), 1 where frames are equal.

    Per channel with a Gaussian window of 11 pixels, sigma 1.5, K1 = 0.01, K2 = 0.03, range 255, mean over all
    places at which the window lies within the picture. Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality
    assessment: from error visibility to structural similarity", IEEE TIP 13(4), 2004.
    """
    if seen_THWC.shape != guess_THWC.shape or min(seen_THWC.shape[1:3]) < _WINDOW:
        raise ValueError(
            f"cannot compare pictures of shape {seen_THWC.shape} with {guess_THWC.shape}; "
            f"both must be alike and {_WINDOW} pixels or more"
        )
    return np.array([_ssim(*pair) for pair in zip(seen_THWC, guess_THWC, strict=True)], dtype=np.float64)


def _ssim(a_HWC: Pictures, b_HWC: Pictures) -> float:
    def blur(x_HWC: Floats) -> Floats:
        half = _WINDOW // 2
        blurred = np.asarray(cv2.GaussianBlur(x_HWC, (_WINDOW, _WINDOW), 1.5), dtype=np.float64)
        return blurred[half:-half, half:-half]

    a, b = a_HWC.astype(np.float64), b_HWC.astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = blur(a), blur(b)
    variances = blur(a * a) - mean_a**2 + blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return float((luminance * (2 * covariance + c2) / (variances + c2)).mean())


def mean_view(seen_MHWC: Pictures) -> Pictures:
    """The pixel-wise mean of all that was seen, (H, W, 3): the blur that beats most sharp guesses."""
    return np.asarray(np.rint(seen_MHWC.astype(np.float64).mean(axis=0)), dtype=np.uint8)


def nearest_view(
    poses_M44: Floats, poses_T44: Floats, *, metres_per_radian: float = 1.0
) -> NDArray[np.int64]:
    """Index of the seen view whose camera pose is nearest to each asked one, shape (T,).

    Distance is the root of position squared plus the view's angle squared, an angle of one radian
    counting as ``metres_per_radian``; of equally near views the newest wins.
    """
    offset_TM3 = poses_T44[:, None, :3, 3] - poses_M44[None, :, :3, 3]
    cosine_TM = (np.einsum("tij,mij->tm", poses_T44[:, :3, :3], poses_M44[:, :3, :3]) - 1.0) / 2.0
    angle_TM = np.arccos(np.clip(cosine_TM, -1.0, 1.0))
    distance_TM = np.sqrt((offset_TM3**2).sum(axis=-1) + (metres_per_radian * angle_TM) ** 2)
    newest_first = np.argmin(distance_TM[:, ::-1], axis=1)
    return np.asarray(len(poses_M44) - 1 - newest_first, dtype=np.int64)


def mean_of_known(values: Floats, axis: int = 0) -> Floats:
    """Mean over ``axis`` of all values but NaN; NaN where there is none."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0.0).sum(axis=axis)
    count = known.sum(axis=axis)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))
