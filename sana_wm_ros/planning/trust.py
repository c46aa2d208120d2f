"""The trust horizon: how many seconds ahead this model can be believed on this robot, here, now.

Every imagination of what the robot then did is kept until the camera has seen what it foretold. The error of its
latents, as a multiple of the error that the model itself expected (its uncertainty head is calibrated on unseen
buildings), is averaged per lead; the horizon ends where that multiple becomes too large.
Dimension letters: F latent frames, C H W a latent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sana_wm_ros.geometry.se2 import wrap_angle
from sana_wm_ros.planning.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class TrustSettings:
    """leads_s: where the error is kept apart, each for leads up to it; longest_s: the horizon while nothing speaks
    against it; tolerance: the multiple of the expected error at which belief ends; newest_share: of an average;
    floor: the least expected error, in standard deviations of the latents.

    same_s, same_m, same_rad: a picture taken so near to a foretold one in time and pose shows what that foretold;
    otherwise the robot did something else, and nothing can be learnt.
    """

    leads_s: tuple[float, ...] = (0.75, 1.5, 3.0, 6.0, 12.0, 24.0)
    longest_s: float = 20.0
    least_s: float = 0.5
    tolerance: float = 1.35
    newest_share: float = 0.3
    floor: float = 0.1
    same_s: float = 0.26
    same_m: float = 0.15
    same_rad: float = 0.15

    def __post_init__(self) -> None:
        if not self.leads_s or any(b <= a for a, b in zip((0.0, *self.leads_s), self.leads_s, strict=False)):
            raise ValueError(f"leads_s must be positive and grow, got {self.leads_s}")
        if not 0 < self.least_s <= self.longest_s or not self.tolerance > 1 or not 0 < self.newest_share <= 1:
            raise ValueError(f"least_s, longest_s, tolerance and newest_share do not fit together: {self}")


@dataclass(frozen=True, kw_only=True)
class Foretold:
    """One imagination: base poses, latents and expected errors at times of the node's clock."""

    made_s: float
    times_F: FloatArray
    poses_F3: FloatArray
    latents_FCHW: Tensor
    expected_F: FloatArray


class TrustHorizon:
    """Takes in what was foretold and what was seen; ``seconds`` is the horizon."""

    def __init__(self, settings: TrustSettings | None = None) -> None:
        self.settings = settings or TrustSettings()
        self._waiting: deque[Foretold] = deque(maxlen=64)
        self.clear()

    def clear(self) -> None:
        """Forget everything: time or place jumped."""
        self._waiting.clear()
        self._ratio_L = np.full(len(self.settings.leads_s), np.nan)
        self.checked = 0

    def foretold(self, imagination: Foretold) -> None:
        """Keep an imagination of what the robot is about to do."""
        self._waiting.append(imagination)

    def observed(self, time_s: float, pose_3: FloatArray, latent_CHW: Tensor) -> None:
        """The camera saw this, from this base pose."""
        settings = self.settings
        while self._waiting and self._waiting[0].times_F[-1] < time_s - settings.same_s:
            self._waiting.popleft()
        checks = []
        for one in self._waiting:
            frame = int(np.argmin(np.abs(one.times_F - time_s)))
            if self._same(one, frame, time_s, pose_3):
                # Root mean square, as the uncertainty head learnt it.
                difference = one.latents_FCHW[frame].float() - latent_CHW.to(one.latents_FCHW.device).float()
                error = float(difference.square().mean().sqrt())
                checks.append((time_s - one.made_s, error, float(one.expected_F[frame])))
        self.compared(checks)

    def compared(self, checks: Iterable[tuple[float, float, float]]) -> None:
        """What one moment showed: seconds ahead, error and expected error of each imagination that foretold it."""
        settings = self.settings
        ratios: dict[int, list[float]] = {}
        for lead_s, error, expected in checks:
            bin_ = int(np.searchsorted(settings.leads_s, lead_s))
            if lead_s <= 0 or bin_ == len(settings.leads_s):
                continue
            ratio = self.ratio(error, expected)
            if np.isfinite(ratio):
                ratios.setdefault(bin_, []).append(ratio)
        for bin_, found in ratios.items():
            new, known = float(np.mean(found)), self._ratio_L[bin_]
            share = settings.newest_share
            self._ratio_L[bin_] = new if np.isnan(known) else known + share * (new - known)
            self.checked += len(found)

    def ratio(self, error: float, expected: float) -> float:
        """Error as a multiple of what was expected; NaN for a model that expects none: it is the truth, or can't be
        judged by what it expects."""
        return error / max(expected, self.settings.floor) if expected > 0 else float("nan")

    @property
    def ratios(self) -> dict[float, float]:
        """Error over expected error by lead in seconds, where anything was checked."""
        pairs = zip(self.settings.leads_s, self._ratio_L, strict=True)
        return {lead_s: float(ratio) for lead_s, ratio in pairs if np.isfinite(ratio)}

    @property
    def seconds(self) -> float:
        """The horizon: up to the first lead at which imagination was worse than tolerable, interpolated."""
        settings = self.settings
        before_s, before = 0.0, 1.0
        for lead_s, ratio in self.ratios.items():
            if ratio > settings.tolerance:
                share = (settings.tolerance - before) / max(ratio - before, 1e-9)
                crossing_s = before_s + min(max(share, 0.0), 1.0) * (lead_s - before_s)
                return float(np.clip(crossing_s, settings.least_s, settings.longest_s))
            before_s, before = lead_s, ratio
        return settings.longest_s

    def _same(self, one: Foretold, frame: int, time_s: float, pose_3: FloatArray) -> bool:
        settings = self.settings
        offset = pose_3 - one.poses_F3[frame]
        return bool(
            abs(one.times_F[frame] - time_s) <= settings.same_s
            and np.hypot(offset[0], offset[1]) <= settings.same_m
            and abs(wrap_angle(offset[2])) <= settings.same_rad
        )
