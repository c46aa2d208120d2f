"""How a planner goes about its work: the settings of all its stages, and its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from sana_wm_ros.planning.free_space import FreeSpaceSettings
from sana_wm_ros.planning.optimizer import HalvingSettings
from sana_wm_ros.planning.proposals import ProposalSettings
from sana_wm_ros.planning.refinement import RefinementSettings
from sana_wm_ros.planning.trust import TrustSettings
from sana_wm_ros.planning.validator import ValidatorSettings


@dataclass(frozen=True, kw_only=True)
class PlannerSettings:
    """validity_s: how long after its start a plan may be followed. draws: of noise for each finalist, where
    the model's imagination differs by it. steps: denoising steps per chunk (None: the preset's).
    discount_beyond_trust: what lies beyond the trust horizon counts less, and the robot drives slower where
    that is short. steadiness: another plan must cost so much less than the last one carried on; a robot that
    changes its mind every second gets nowhere. trail_is_free: where the robot has been, it may go again,
    whatever is imagined there. views_are_known: what the camera saw in the way stays known, whatever is imagined.
    """

    proposals: ProposalSettings = field(default_factory=ProposalSettings)
    halving: HalvingSettings = field(default_factory=HalvingSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    free_space: FreeSpaceSettings = field(default_factory=FreeSpaceSettings)
    validator: ValidatorSettings = field(default_factory=ValidatorSettings)
    trust: TrustSettings = field(default_factory=TrustSettings)
    discount_beyond_trust: bool = True
    steadiness: float = 2.0
    trail_is_free: bool = True
    views_are_known: bool = True
    validity_s: float = 3.0
    draws: int = 1
    steps: int | None = None

    def __post_init__(self) -> None:
        if not self.validity_s > 0:
            raise ValueError(f"validity_s must be positive, got {self.validity_s}")
        if self.draws < 1 or (self.steps is not None and self.steps < 1):
            raise ValueError(f"draws and steps must be at least 1, got {self.draws} and {self.steps}")
