"""What is known of the floor under all that candidates ask for: looked up once, then cut to those that are left.

Dimension letters: N candidates, F latent frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.planning.memory import Memory
from sana_wm_ros.planning.routes import WayLeft
from sana_wm_ros.planning.types import Candidates, FloatArray


@dataclass(frozen=True, kw_only=True)
class Surveyed:
    """Candidates, and what is known at the poses of all their commands.

    free_NF, barred_NF: how surely the floor is free, and how surely something stands there; left_NF: metres to the
    goal around what is known to be in the way (None: nobody knows).
    """

    candidates: Candidates
    free_NF: FloatArray
    barred_NF: FloatArray
    left_NF: FloatArray | None

    def __len__(self) -> int:
        return len(self.candidates)

    @staticmethod
    def cat(parts: list[Surveyed]) -> Surveyed:
        """All candidates of several; the way left is known for all of them or for none."""
        left = [part.left_NF for part in parts if part.left_NF is not None]
        return Surveyed(
            candidates=Candidates.cat([part.candidates for part in parts]),
            free_NF=np.concatenate([part.free_NF for part in parts]),
            barred_NF=np.concatenate([part.barred_NF for part in parts]),
            left_NF=np.concatenate(left) if left else None,
        )

    def select(self, index_N: NDArray[np.int64]) -> Surveyed:
        """Keep the candidates that ``index_N`` names, in its order."""
        return Surveyed(
            candidates=self.candidates.select(index_N),
            free_NF=self.free_NF[index_N],
            barred_NF=self.barred_NF[index_N],
            left_NF=None if self.left_NF is None else self.left_NF[index_N],
        )


def survey(candidates: Candidates, memory: Memory, way_left: WayLeft | None) -> Surveyed:
    """Look up all poses of some candidates in what is known now."""
    free_NF, barred_NF = memory.known(candidates.poses_NF3)
    return Surveyed(
        candidates=candidates,
        free_NF=free_NF,
        barred_NF=barred_NF,
        left_NF=None if way_left is None else way_left.at(candidates.poses_NF3[..., :2]),
    )
