"""Successive halving over imagined futures: all a little ahead, the better ones further, until time is up.

The state of the world model is recurrent, so a candidate that goes on costs only the seconds that are new,
and dropping one costs the others nothing. Source: Jamieson and Talwalkar, "Non-stochastic best arm
identification and hyperparameter optimization", 2016; the arms here are candidates, the budget is horizon.

Dimension letters: N candidates, F latent frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sana_wm_ros.planning.types import Candidates, FloatArray
from sana_wm_ros.world_model.protocol import Batch, Rollout

Index = NDArray[np.int64]
Score = Callable[[Candidates, Rollout], tuple[FloatArray, dict[str, FloatArray]]]
"""Costs (N,) and shares of candidates (whole) and what was imagined of them (F frames), all finite."""


@dataclass(frozen=True, kw_only=True)
class HalvingSettings:
    """rounds_s: horizons at which the worse ones are dropped; keep_fraction: how many stay (1: all).

    keep_least: so many stay in any case. piece_frames: latent frames imagined between two looks at the
    clock; fewer when time is short, in whole chunks of the model (chunk_frames), and one chunk first, to
    measure. margin: time that a piece is expected to take, over what was measured.
    """

    rounds_s: tuple[float, ...] = (8.0, 16.0, 32.0, 60.0)
    keep_fraction: float = 0.5
    keep_least: int = 2
    piece_frames: int = 4
    chunk_frames: int = 2
    margin: float = 1.2

    def __post_init__(self) -> None:
        if not self.rounds_s or any(
            b <= a for a, b in zip((0.0, *self.rounds_s), self.rounds_s, strict=False)
        ):
            raise ValueError(f"rounds_s must be positive and grow, got {self.rounds_s}")
        if not 0 < self.keep_fraction <= 1:
            raise ValueError(f"keep_fraction must lie in (0, 1], got {self.keep_fraction}")
        if self.keep_least < 1 or self.chunk_frames < 1 or not self.margin > 0:
            raise ValueError(f"keep_least, chunk_frames and margin must be positive, got {self}")
        if self.piece_frames < 1 or self.piece_frames % self.chunk_frames:
            raise ValueError(
                f"piece_frames must be a multiple of {self.chunk_frames}, got {self.piece_frames}"
            )


@dataclass(frozen=True, kw_only=True)
class Round:
    """The candidates ``index_N`` (rows among all), imagined to ``horizon_s`` and scored; inf: not finite."""

    horizon_s: float
    index_N: Index
    rollout: Rollout
    costs_N: FloatArray
    shares: dict[str, FloatArray]


@dataclass(frozen=True, kw_only=True)
class Search:
    """What came of it.

    ranking: rows of candidates from best to worst; whoever survived longer stands before whoever was dropped,
    as costs at different horizons do not compare. complete: the last horizon was reached.
    not_finite: how many candidates were dropped because what was imagined for them was not finite.
    """

    rounds: tuple[Round, ...]
    ranking: Index
    complete: bool
    not_finite: int
    imagine_s: float
    score_s: float

    @property
    def horizon_s(self) -> float:
        """How far the survivors were imagined."""
        return self.rounds[-1].horizon_s


def search(
    candidates: Candidates,
    camera_poses_NF44: torch.Tensor,
    batch: Batch,
    score: Score,
    settings: HalvingSettings,
    *,
    deadline_s: float,
    clock: Callable[[], float],
    generator: torch.Generator | None = None,
) -> Search:
    """Imagine and halve until the last horizon or, by the clock, ``deadline_s``.

    At least one chunk is imagined. A round that the deadline cuts short is scored at the horizon it reached.
    """
    stopwatch = _Stopwatch(clock, deadline_s)
    frames_total = min(len(candidates.times_F), _frames(candidates, settings.rounds_s[-1]))
    alive: Index = np.arange(len(candidates))
    rollout: Rollout | None = None
    rounds: list[Round] = []
    done = 0
    for horizon_s in settings.rounds_s:
        until = min(frames_total, _frames(candidates, horizon_s))
        if until <= done:
            continue
        before = done
        while done < until:
            frames = min(stopwatch.affordable(settings), until - done)
            if frames == 0:
                break
            poses = camera_poses_NF44[torch.from_numpy(alive)][:, done : done + frames]
            with stopwatch.imagining(frames):
                batch, piece = batch.imagine(poses, generator=generator)
            rollout = piece if rollout is None else Rollout.cat([rollout, piece])
            done += frames
        if done == before:
            break
        assert rollout is not None
        with stopwatch.scoring():
            rounds.append(_score(candidates, alive, rollout, done, score))
        if done < until or done == frames_total:
            break
        keep = _keep(rounds[-1].costs_N, settings)
        if len(keep) == 0:
            break
        index = torch.from_numpy(keep)
        batch, rollout, alive = batch.select(index), _select(rollout, index), alive[keep]
    return Search(
        rounds=tuple(rounds),
        ranking=_rank(rounds),
        complete=done == frames_total,
        not_finite=len(_broken(rounds)),
        imagine_s=stopwatch.imagine_s,
        score_s=stopwatch.score_s,
    )


def _frames(candidates: Candidates, horizon_s: float) -> int:
    return max(1, int(np.searchsorted(candidates.times_F, horizon_s + 1e-6)))


def _select(rollout: Rollout, index_N: torch.Tensor) -> Rollout:
    return rollout.select(index_N.to(rollout.collision_NF.device))


def _score(candidates: Candidates, alive: Index, rollout: Rollout, frames: int, score: Score) -> Round:
    finite = finite_rows(rollout)
    costs = np.full(len(alive), np.inf)
    shares: dict[str, FloatArray] = {}
    if finite.any():
        rows = np.flatnonzero(finite)
        costs[rows], found = score(candidates.select(alive[rows]), _select(rollout, torch.from_numpy(rows)))
        for name, share in found.items():
            shares[name] = np.full(len(alive), np.nan)
            shares[name][rows] = share
    return Round(
        horizon_s=float(candidates.times_F[frames - 1]),
        index_N=alive,
        rollout=rollout,
        costs_N=costs,
        shares=shares,
    )


def finite_rows(rollout: Rollout) -> NDArray[np.bool_]:
    """Which candidates (N,) have only finite values in all that was imagined."""
    rows = [torch.isfinite(value).flatten(1).all(dim=1) for value in vars(rollout).values()]
    finite: NDArray[np.bool_] = torch.stack(rows).all(dim=0).cpu().numpy()
    return finite


def _keep(costs_N: FloatArray, settings: HalvingSettings) -> Index:
    finite = int(np.isfinite(costs_N).sum())
    count = min(finite, max(settings.keep_least, int(np.ceil(settings.keep_fraction * len(costs_N)))))
    return np.sort(np.argsort(costs_N, kind="stable")[:count])


def _rank(rounds: list[Round]) -> Index:
    ranking: list[int] = []
    placed: set[int] = set()
    for last in reversed(rounds):
        order = np.argsort(last.costs_N, kind="stable")
        placed |= {int(last.index_N[i]) for i in order if not np.isfinite(last.costs_N[i])}
        new = [int(last.index_N[i]) for i in order if int(last.index_N[i]) not in placed]
        ranking += new
        placed |= set(new)
    return np.array(ranking, dtype=np.int64)


def _broken(rounds: list[Round]) -> set[int]:
    return {int(i) for one in rounds for i in one.index_N[~np.isfinite(one.costs_N)]}


class _Stopwatch:
    """Foretells how much more imagining, and scoring after it, still fits before the deadline.

    Batches only shrink, so a frame takes at most what one of the last piece took.
    """

    def __init__(self, clock: Callable[[], float], deadline_s: float) -> None:
        self.clock, self._deadline_s = clock, deadline_s
        self.imagine_s = self.score_s = 0.0
        self._frame_s: float | None = None
        self._scoring_s = 0.0

    def affordable(self, settings: HalvingSettings) -> int:
        """Latent frames of the next piece; 0 when not even one chunk fits any more."""
        if self._frame_s is None:
            return settings.chunk_frames
        left_s = (self._deadline_s - self.clock()) / settings.margin - self._scoring_s
        chunk_s = self._frame_s * settings.chunk_frames
        if left_s >= chunk_s * settings.piece_frames / settings.chunk_frames:
            return settings.piece_frames
        return max(0, int(left_s / chunk_s)) * settings.chunk_frames

    @contextmanager
    def imagining(self, frames: int) -> Iterator[None]:
        begin = self.clock()
        yield
        spent = self.clock() - begin
        self.imagine_s += spent
        self._frame_s = spent / frames

    @contextmanager
    def scoring(self) -> Iterator[None]:
        begin = self.clock()
        yield
        self._scoring_s = self.clock() - begin
        self.score_s += self._scoring_s
