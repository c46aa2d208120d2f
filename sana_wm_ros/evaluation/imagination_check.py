"""Hold the imagination against the recording: from some moments on, imagine what was driven and compare.

In a replay the robot drives the recording and not our plan, so a plan's own imagination has nothing to be
compared with. This offline pass can be: at some moments the context ends, the model imagines under the
recording's own later camera poses, and each imagined picture is compared with what the camera saw then,
beside guesses that know no model.

Dimension letters: T raw frames, F latent frames.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from sana_wm_ros.evaluation.foretelling import (
    BASELINES,
    MODEL,
    STILL,
    Drive,
    Foretelling,
    foretell,
    latent_errors,
)
from sana_wm_ros.evaluation.metrics import Floats, Pictures, mean_of_known, psnr_db
from sana_wm_ros.world_model.protocol import Context, WorldModel

_STRIDE = 8


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
    latents: bool = False,
    progress: Callable[[float], None] = lambda done: None,
) -> ImaginationCheck:
    """Imagine from each of ``starts`` (latent frames of context) to the drive's end or the horizon.

    ``latents``: also measure latent errors, for which every latent frame is taken in by itself. ``progress`` is
    told the part done, in [0, 1]. Raises ValueError where a start leaves nothing to compare.
    """
    group = model.spec.frames_per_latent
    count = (len(drive) - 1) // group
    if not starts or min(starts) < 1 or max(starts) >= count:
        raise ValueError(
            f"starts {list(starts)} must lie within 1 .. {count - 1} latent frames of this drive"
        )
    context = model.start(drive.intrinsics)
    foretellings: list[Foretelling] = []
    imagined: list[tuple[int, torch.Tensor]] = []
    observed: list[torch.Tensor] = []
    ceiling: list[float] = []
    first = 0
    # Few long strides are quicker than many short ones; the context is the same.
    stops = range(count + 1) if latents else sorted({*starts, *range(_STRIDE, max(starts), _STRIDE)})
    for seen in stops:
        last = 1 + seen * group
        context = context.extend(
            torch.from_numpy(drive.frames_THWC[first:last]),
            torch.from_numpy(drive.poses_T44[first:last]).float(),
        )
        first = last
        if latents and context.last_latent_CHW is not None:
            observed.append(context.last_latent_CHW)
        if seen % _STRIDE == 0 or seen in starts:
            ceiling.append(_seen_through_the_autoencoder(model, context, drive.frames_THWC[last - 1]))
        if seen in starts:
            other = _other_start(starts, seen)
            one, latents_MFCHW = foretell(model, context, drive, seen, other, horizon_s, seed)
            foretellings.append(one)
            imagined.append((seen, latents_MFCHW))
        progress(seen / stops[-1])
    if latents:
        foretellings = [
            replace(one, latent_error=latent_errors(one, seen, told, torch.stack(observed), drive, group))
            for one, (seen, told) in zip(foretellings, imagined, strict=True)
        ]
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


def _other_start(starts: Sequence[int], seen: int) -> int | None:
    """A start far from this one in the list; of two halves of a drive, motions differ most."""
    ordered = sorted(starts)
    return None if len(ordered) < 2 else ordered[(ordered.index(seen) + len(ordered) // 2) % len(ordered)]


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
