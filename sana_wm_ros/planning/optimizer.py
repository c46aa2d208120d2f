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

from sana_wm_ros.planning.pace import Pace, fitting_rounds, halved
from sana_wm_ros.planning.rounds import Index, Round, Search, broken, rank
from sana_wm_ros.planning.types import Candidates, FloatArray
from sana_wm_ros.world_model.protocol import Batch, Rollout

Score = Callable[[Index, Rollout], tuple[FloatArray, dict[str, FloatArray]]]
"""Costs (N,) and shares of some candidates (rows among all) and what was imagined of them (F frames), all finite."""


@dataclass(frozen=True, kw_only=True)
class HalvingSettings:
    """rounds_s: horizons at which the worse ones are dropped; keep_fraction: how many stay (1: all).

    least_s: on a slow machine the first round is shortened, the others with it, but not below this.
    keep_least: so many stay in any case. piece_frames: latent frames imagined between two looks at the
    clock; fewer when time is short, in whole chunks of the model (chunk_frames), and one chunk first, to
    measure. margin: time that a piece is expected to take, over what was measured.
    """

    rounds_s: tuple[float, ...] = (8.0, 16.0, 32.0, 60.0)
    least_s: float = 2.0
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
        if self.keep_least < 1 or self.chunk_frames < 1 or not self.margin > 0 or not self.least_s > 0:
            raise ValueError(f"keep_least, chunk_frames, margin and least_s must be positive, got {self}")
        if self.piece_frames < 1 or self.piece_frames % self.chunk_frames:
            raise ValueError(
                f"piece_frames must be a multiple of {self.chunk_frames}, got {self.piece_frames}"
            )


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
    pace: Pace | None = None,
    steps: int | None = None,
) -> Search:
    """Imagine and halve until the last horizon or, by the clock, ``deadline_s``.

    At least one chunk is imagined. A round that the deadline cuts short is scored at the horizon it reached.
    ``pace`` knows how long imagining takes, and learns; with it, a machine too slow for the configured rounds
    halves earlier. ``steps`` are denoising steps per chunk (None: the preset's).
    """
    stopwatch = _Stopwatch(clock, deadline_s, pace or Pace())
    period_s = float(candidates.times_F[0])
    frames_total = min(len(candidates.times_F), _frames(candidates, settings.rounds_s[-1]))
    alive: Index = np.arange(len(candidates))
    finite_N: NDArray[np.bool_] = np.ones(len(candidates), dtype=np.bool_)
    poses_NF44 = camera_poses_NF44  # of those that are alive
    rollout: Rollout | None = None
    rounds: list[Round] = []
    done, coming = 0, list(settings.rounds_s)
    while coming:
        until = min(frames_total, _frames(candidates, coming[0]))
        pieces: list[Rollout] = []
        while done < until:
            frames = min(stopwatch.affordable(settings), until - done)
            if frames == 0:
                break
            poses = poses_NF44[:, done : done + frames].contiguous()
            with stopwatch.imagining(len(alive), frames):
                batch, piece = batch.imagine(poses, generator=generator, steps=steps)
            pieces.append(piece)
            if done == 0:  # now it is known how fast this machine is
                coming = stopwatch.rounds(len(alive), settings, period_s, frames)
                until = min(frames_total, _frames(candidates, coming[0]))
            done += frames
        if pieces:
            with stopwatch.scoring():
                new = Rollout.cat(pieces) if len(pieces) > 1 else pieces[0]
                finite_N &= finite_rows(new)
                rollout = new if rollout is None else Rollout.cat([rollout, new])
                rounds.append(_score(candidates, alive, rollout, finite_N, score))
        if done < until or done == frames_total:
            break
        coming.pop(0)
        keep = _keep(rounds[-1].costs_N, settings)
        if len(keep) == 0:
            break
        assert rollout is not None
        index = torch.from_numpy(keep)
        batch, rollout, alive = batch.select(index), _select(rollout, index), alive[keep]
        finite_N, poses_NF44 = finite_N[keep], poses_NF44[index]
    return Search(
        rounds=tuple(rounds),
        ranking=rank(rounds),
        complete=done == frames_total,
        not_finite=len(broken(rounds)),
        imagine_s=stopwatch.imagine_s,
        score_s=stopwatch.score_s,
    )


def _frames(candidates: Candidates, horizon_s: float) -> int:
    return max(1, int(np.searchsorted(candidates.times_F, horizon_s + 1e-6)))


def _select(rollout: Rollout, index_N: torch.Tensor) -> Rollout:
    return rollout.select(index_N.to(rollout.collision_NF.device))


def _score(
    candidates: Candidates, alive: Index, rollout: Rollout, finite_N: NDArray[np.bool_], score: Score
) -> Round:
    costs = np.full(len(alive), np.inf)
    shares: dict[str, FloatArray] = {}
    rows = np.flatnonzero(finite_N)
    if len(rows):
        imagined = rollout if len(rows) == len(alive) else _select(rollout, torch.from_numpy(rows))
        costs[rows], found = score(alive[rows], imagined)
        for name, share in found.items():
            shares[name] = np.full(len(alive), np.nan)
            shares[name][rows] = share
    return Round(
        horizon_s=float(candidates.times_F[rollout.collision_NF.shape[1] - 1]),
        index_N=alive,
        rollout=rollout,
        costs_N=costs,
        shares=shares,
    )


def finite_rows(rollout: Rollout) -> NDArray[np.bool_]:
    """Which candidates (N,) have only finite values in all that was imagined."""
    # What is finite leaves 0 when taken off itself, all else NaN: a sum takes fewer steps than asking each number.
    rows = [(value - value).flatten(1).sum(dim=1, dtype=torch.float32) for value in vars(rollout).values()]
    finite: NDArray[np.bool_] = (torch.stack(rows).sum(dim=0) == 0).cpu().numpy()
    return finite


def _keep(costs_N: FloatArray, settings: HalvingSettings) -> Index:
    finite = int(np.isfinite(costs_N).sum())
    count = min(finite, halved(len(costs_N), settings.keep_fraction, settings.keep_least))
    return np.sort(np.argsort(costs_N, kind="stable")[:count])


class _Stopwatch:
    """Foretells how much more imagining, and scoring after it, still fits before the deadline."""

    def __init__(self, clock: Callable[[], float], deadline_s: float, pace: Pace) -> None:
        self.clock, self._deadline_s, self._pace = clock, deadline_s, pace
        self.imagine_s = self.score_s = 0.0
        self._scoring_s = 0.0
        self._frame_s: float | None = None

    def affordable(self, settings: HalvingSettings) -> int:
        """Latent frames of the next piece; 0 when not even one chunk fits any more.

        Counted from the last piece: batches only shrink, so a frame takes at most what one of it took.
        """
        if self._frame_s is None:
            return settings.chunk_frames
        left_s = (self._deadline_s - self.clock()) / settings.margin - self._scoring_s
        chunk_s = self._frame_s * settings.chunk_frames
        if left_s >= chunk_s * settings.piece_frames / settings.chunk_frames:
            return settings.piece_frames
        return max(0, int(left_s / chunk_s)) * settings.chunk_frames

    def rounds(self, size: int, settings: HalvingSettings, period_s: float, done: int) -> list[float]:
        """The horizons that fit into the time that is left."""
        left_s = (self._deadline_s - self.clock()) / settings.margin
        fitting = fitting_rounds(
            settings.rounds_s,
            size,
            self._pace,
            left_s,
            period_s=period_s,
            keep_fraction=settings.keep_fraction,
            keep_least=settings.keep_least,
            least_s=settings.least_s,
            done_s=done * period_s,
        )
        return list(fitting)

    @contextmanager
    def imagining(self, size: int, frames: int) -> Iterator[None]:
        begin = self.clock()
        yield
        spent = self.clock() - begin
        self.imagine_s += spent
        self._frame_s = spent / frames
        self._pace.observe(size, frames, spent)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        begin = self.clock()
        yield
        self._scoring_s = self.clock() - begin
        self.score_s += self._scoring_s
