"""From parameters to a planner: candidates, horizon, critics and their live weights."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.nodes.settings import Settings
from sana_wm_ros.planning.critic_manager import CriticManager, available
from sana_wm_ros.planning.optimizer import HalvingSettings
from sana_wm_ros.planning.planner import Planner, PlannerSettings
from sana_wm_ros.planning.proposals import ProposalSettings
from sana_wm_ros.planning.refinement import RefinementSettings
from sana_wm_ros.world_model.protocol import ModelSpec


def shipped_weights() -> dict[str, float]:
    """Default weight of every critic that is installed."""
    return CriticManager.load(sorted(available())).weights


def critics_for(spec: ModelSpec, weights: Mapping[str, float]) -> CriticManager:
    """Critics with these weights; raises BadCritic where one needs what such a model does not foretell."""
    critics = CriticManager.load(sorted(weights))
    critics.set_weights(weights)
    critics.meet(spec)
    return critics


class PlannerFactory:
    """Makes planners that share one set of critics, so weights may change while one of them runs.

    clock: steady seconds, which deadlines are held against.
    """

    def __init__(
        self,
        settings: Settings,
        spec: ModelSpec,
        weights: Mapping[str, float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._spec, self._clock = settings, spec, clock
        self._critics = critics_for(spec, weights)

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Weights by critic, from the next scoring on."""
        self._critics.set_weights(weights)

    def make(self, T_base_camera_44: FloatArray) -> Planner:
        """A planner for a camera at this place on the robot."""
        wanted, period_s = self._settings.planner, self._spec.latent_period_s
        defaults = HalvingSettings()
        rounds_s = (*(s for s in defaults.rounds_s if s < wanted.horizon_s), wanted.horizon_s)
        proposals = ProposalSettings(
            count=wanted.candidates,
            frames=max(1, round(wanted.horizon_s / period_s)),
            period_s=period_s,
            **vars(self._settings.proposals),
        )
        settings = PlannerSettings(
            proposals=proposals,
            halving=HalvingSettings(rounds_s=rounds_s),
            refinement=RefinementSettings(generations=wanted.refinements, count=wanted.refined),
            validity_s=wanted.valid_s,
            draws=wanted.draws,
            steps=wanted.steps or None,
            discount_beyond_trust=wanted.discount_beyond_trust,
        )
        return Planner(self._settings.robot, T_base_camera_44, self._critics, settings, self._clock)
