"""Hold the imagination against the recording: imagine under the motion that was really driven, then compare.

In a replay the robot drives the recording and not our plan, so a plan's own imagination has nothing to be
compared with. This offline pass can be: at some moments the context ends, the model imagines under the
recording's own later camera poses, and each imagined picture is compared with what the camera saw then,
beside guesses that know no model.

Dimension letters: T raw frames, F latent frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from sana_wm_ros.evaluation.metrics import Floats, Pictures, mean_of_known, mean_view, nearest_view, psnr_db
from sana_wm_ros.world_model.protocol import Context, Intrinsics, WorldModel

BASELINES = ("last frame", "nearest view", "mean view")
MODEL = "imagined"
# The control: imagined under commands to stand still. A model that does not listen to motion fares no worse so.
STILL = "told to stand still"
_STRIDE = 8


@dataclass(frozen=True, kw_only=True)
class Drive:
    """A recording on the model's frame grid, T = 1 + k * frames_per_latent frames without a gap.

    frames_THWC: uint8 RGB at the model's size. poses_T44: measured camera poses. stamps_T: seconds.
    """

    frames_THWC: Pictures
    poses_T44: Floats
    stamps_T: Floats
    intrinsics: Intrinsics

    def __len__(self) -> int:
        return len(self.frames_THWC)


@dataclass(frozen=True, kw_only=True)
class Foretelling:
    """One start: what was seen afterwards, and each guess of it, per latent frame.

    start_s: seconds after the drive's first frame. now_HWC: the last frame of the context. guesses: name to
    pictures (F, H, W, 3). psnr: name to dB (F,). clearance_FK and collision_F: the heads' word.
    """

    start_s: float
    now_HWC: Pictures
    lead_F: Floats
    seen_FHWC: Pictures
    guesses: dict[str, Pictures]
    psnr: dict[str, Floats]
    clearance_FK: Floats
    collision_F: Floats


@dataclass(frozen=True, kw_only=True)
class Octave:
    """Mean PSNR in dB by name over the leads from ``from_s`` to ``to_s``; ``starts`` reach its beginning."""

    from_s: float
    to_s: float
    psnr: dict[str, float]
    starts: int

    @property
    def best_guess(self) -> str:
        """The baseline that is closest."""
        return max(BASELINES, key=lambda name: self.psnr[name])

    @property
    def is_better(self) -> bool:
        """Whether the imagination beats every baseline."""
        return self.psnr[MODEL] > self.psnr[self.best_guess]

    @property
    def label(self) -> str:
        """Its seconds, for people."""
        return f"{self.from_s:g}" if self.from_s == self.to_s else f"{self.from_s:g}–{self.to_s:g}"


@dataclass(frozen=True, kw_only=True)
class ImaginationCheck:
    """All starts, and the means over them.

    lead_F: seconds ahead. psnr: name to mean dB (F,), NaN where no start reaches. starts_F: how many do.
    ceiling_db: mean PSNR of frames only encoded and decoded, the best that the model's eye allows.
    """

    foretellings: list[Foretelling]
    lead_F: Floats
    psnr: dict[str, Floats]
    starts_F: NDArray[np.int64]
    ceiling_db: float

    def octaves(self) -> list[Octave]:
        """Means over leads that double: to 0.5 s, 1 s, 2 s, 4 s, ...; single frames swing too much to judge by."""
        found = []
        reach = float(self.lead_F[-1])
        edges = [0.0, *(2.0**power for power in range(-1, 7) if 2.0**power < reach), reach]
        for low, high in pairwise(edges):
            inside = (self.lead_F > low) & (self.lead_F <= high)
            if inside.any():
                psnr = {
                    name: _weighted(values[inside], self.starts_F[inside])
                    for name, values in self.psnr.items()
                }
                lead = self.lead_F[inside]
                starts = int(self.starts_F[inside].max())
                found.append(Octave(from_s=float(lead[0]), to_s=float(lead[-1]), psnr=psnr, starts=starts))
        return found

    @property
    def better(self) -> tuple[int, int] | None:
        """First and last octave of the longest run in which the imagination beats every baseline; None: never.

        Only octaves that at least half of the starts reach count: a single start proves nothing.
        """
        ahead = [one.is_better and 2 * one.starts >= len(self.foretellings) for one in self.octaves()]
        edges = np.flatnonzero(np.diff(np.array([False, *ahead, False]).astype(np.int8)))
        runs = [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]
        return max(runs, key=lambda run: run[1] - run[0], default=None)

    @property
    def better_s(self) -> tuple[float, float] | None:
        """From and to how many seconds ahead that run reaches."""
        if self.better is None:
            return None
        octaves = self.octaves()
        return octaves[self.better[0]].from_s, octaves[self.better[1]].to_s


def check_imagination(
    model: WorldModel,
    drive: Drive,
    *,
    starts: Sequence[int],
    horizon_s: float = 60.0,
    seed: int = 0,
    progress: Callable[[float], None] = lambda done: None,
) -> ImaginationCheck:
    """Imagine from each of ``starts`` (latent frames of context) to the drive's end or the horizon.

    ``progress`` is told the part done, in [0, 1]. Raises ValueError where a start leaves nothing to compare.
    """
    group = model.spec.frames_per_latent
    latents = (len(drive) - 1) // group
    if not starts or min(starts) < 1 or max(starts) >= latents:
        raise ValueError(
            f"starts {list(starts)} must lie within 1 .. {latents - 1} latent frames of this drive"
        )
    context = model.start(drive.intrinsics)
    foretellings: list[Foretelling] = []
    ceiling: list[float] = []
    first = 0
    # Few long strides are quicker than many short ones; the context is the same.
    for seen in sorted({*starts, *range(_STRIDE, max(starts), _STRIDE)}):
        last = 1 + seen * group
        context = context.extend(
            torch.from_numpy(drive.frames_THWC[first:last]),
            torch.from_numpy(drive.poses_T44[first:last]).float(),
        )
        first = last
        ceiling.append(_seen_through_the_autoencoder(model, context, drive.frames_THWC[last - 1]))
        if seen in starts:
            foretellings.append(_foretell(model, context, drive, seen, horizon_s, seed))
            progress(len(foretellings) / len(starts))
    return _summarise(foretellings, ceiling)


def spread_starts(latent_frames: int, count: int, *, period_s: float = 0.5) -> list[int]:
    """Latent frames to start from: after a quarter of the drive (8 s at most), early enough to compare 4 s.

    The first start lets the imagination run longest. Raises ValueError for a drive that is too short.
    """
    first = max(2, min(round(8.0 / period_s), latent_frames // 4))
    last = latent_frames - min(round(4.0 / period_s), latent_frames // 4)
    if latent_frames < 8 or last <= first:
        raise ValueError(
            f"a drive of {latent_frames * period_s:.1f} s is too short to check an imagination on"
        )
    return sorted({round(start) for start in np.linspace(first, last, count)})


def _foretell(
    model: WorldModel, context: Context, drive: Drive, seen: int, horizon_s: float, seed: int
) -> Foretelling:
    group = model.spec.frames_per_latent
    now = seen * group
    ahead = min((len(drive) - 1 - now) // group, round(horizon_s / model.spec.latent_period_s))
    ends = now + group * np.arange(1, ahead + 1)
    driven_F44 = torch.from_numpy(drive.poses_T44[ends]).float()
    still_F44 = torch.from_numpy(drive.poses_T44[now]).float().expand(ahead, 4, 4)
    poses_2F44 = torch.stack([driven_F44, still_F44])
    _, rollout = context.fork(2).imagine(poses_2F44, generator=torch.Generator().manual_seed(seed))
    imagined_THWC, unmoved_THWC = (model.decode(latents).cpu().numpy() for latents in rollout.latents_NFCHW)
    past = drive.frames_THWC[: now + 1]
    nearest = nearest_view(drive.poses_T44[: now + 1], drive.poses_T44[ends])
    guesses = {
        MODEL: imagined_THWC[group - 1 :: group],
        STILL: unmoved_THWC[group - 1 :: group],
        "last frame": np.repeat(past[-1:], ahead, axis=0),
        "nearest view": past[nearest],
        "mean view": np.repeat(mean_view(past)[None], ahead, axis=0),
    }
    seen_FHWC = drive.frames_THWC[ends]
    return Foretelling(
        start_s=float(drive.stamps_T[now] - drive.stamps_T[0]),
        now_HWC=past[-1],
        lead_F=model.spec.latent_period_s * np.arange(1, ahead + 1),
        seen_FHWC=seen_FHWC,
        guesses=guesses,
        psnr={name: psnr_db(seen_FHWC, guess) for name, guess in guesses.items()},
        clearance_FK=rollout.clearance_NFK[0].double().cpu().numpy(),
        collision_F=rollout.collision_NF[0].double().cpu().numpy(),
    )


def _seen_through_the_autoencoder(model: WorldModel, context: Context, frame_HWC: Pictures) -> float:
    latent = context.last_latent_CHW
    if latent is None:
        return float("nan")
    decoded = model.decode(latent[None]).cpu().numpy()[-1:]
    return float(psnr_db(frame_HWC[None], decoded)[0])


def _summarise(foretellings: list[Foretelling], ceiling: list[float]) -> ImaginationCheck:
    longest = max(foretellings, key=lambda one: len(one.lead_F))
    length = len(longest.lead_F)

    def mean(name: str) -> Floats:
        padded = [
            np.pad(f.psnr[name], (0, length - len(f.lead_F)), constant_values=np.nan) for f in foretellings
        ]
        return mean_of_known(np.array(padded))

    return ImaginationCheck(
        foretellings=foretellings,
        lead_F=longest.lead_F,
        psnr={name: mean(name) for name in (MODEL, STILL, *BASELINES)},
        starts_F=np.array([sum(len(f.lead_F) > k for f in foretellings) for k in range(length)]),
        ceiling_db=float(mean_of_known(np.array(ceiling, dtype=np.float64))) if ceiling else float("nan"),
    )


def _weighted(values_F: Floats, starts_F: NDArray[np.int64]) -> float:
    """The mean over all starts and leads, from each lead's mean over its starts."""
    return float((values_F * starts_F).sum() / starts_F.sum())
