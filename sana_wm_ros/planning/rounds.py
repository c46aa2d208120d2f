"""What came of imagining and halving: the rounds, and the ranking of the candidates over them.

Dimension letters: N candidates, F latent frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from sana_wm_ros.planning.types import FloatArray
from sana_wm_ros.world_model.protocol import Rollout

Index = NDArray[np.int64]


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

    def rejudged(self, costs_N: FloatArray, shares: dict[str, FloatArray]) -> Search:
        """The same with other costs for the last round."""
        rounds = (*self.rounds[:-1], replace(self.rounds[-1], costs_N=costs_N, shares=shares))
        return replace(self, rounds=rounds, ranking=rank(list(rounds)))

    def joined(self, other: Search, offset: int) -> Search | None:
        """Both searches as one, the other's rows ``offset`` further; None where their horizons differ."""
        if [one.horizon_s for one in self.rounds] != [one.horizon_s for one in other.rounds]:
            return None
        rounds = [_joined(a, b, offset) for a, b in zip(self.rounds, other.rounds, strict=True)]
        return Search(
            rounds=tuple(rounds),
            ranking=rank(rounds),
            complete=self.complete,
            not_finite=self.not_finite + other.not_finite,
            imagine_s=self.imagine_s + other.imagine_s,
            score_s=self.score_s + other.score_s,
        )


def _joined(a: Round, b: Round, offset: int) -> Round:
    missing_a, missing_b = np.full(len(a.index_N), np.nan), np.full(len(b.index_N), np.nan)
    names = [*a.shares, *(name for name in b.shares if name not in a.shares)]
    return Round(
        horizon_s=a.horizon_s,
        index_N=np.concatenate([a.index_N, b.index_N + offset]),
        rollout=Rollout(
            **{
                name: torch.cat([getattr(a.rollout, name), getattr(b.rollout, name)])
                for name in vars(a.rollout)
            }
        ),
        costs_N=np.concatenate([a.costs_N, b.costs_N]),
        shares={
            name: np.concatenate([a.shares.get(name, missing_a), b.shares.get(name, missing_b)])
            for name in names
        },
    )


def rank(rounds: list[Round]) -> Index:
    """Rows from best to worst, as ``Search.ranking`` holds them."""
    ranking: list[int] = []
    placed: set[int] = set()
    for last in reversed(rounds):
        order = np.argsort(last.costs_N, kind="stable")
        placed |= {int(last.index_N[i]) for i in order if not np.isfinite(last.costs_N[i])}
        new = [int(last.index_N[i]) for i in order if int(last.index_N[i]) not in placed]
        ranking += new
        placed |= set(new)
    return np.array(ranking, dtype=np.int64)


def broken(rounds: list[Round]) -> set[int]:
    """Rows for which what was imagined was not finite."""
    return {int(i) for one in rounds for i in one.index_N[~np.isfinite(one.costs_N)]}
