"""The groups of the navigation benchmark: the planner with each model, its rivals, and the planner without a part."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sana_wm_ros.planning.optimizer import HalvingSettings
from sana_wm_ros.planning.planner import PlannerSettings
from sana_wm_ros.planning.proposals import ProposalSettings
from sana_wm_ros.planning.refinement import RefinementSettings
from sana_wm_ros.simulation.contestants import GoStraight, LocalMppi, MppiSettings, Ours, WallAvoider
from sana_wm_ros.simulation.simulator import Simulator
from sana_wm_ros.simulation.trials import Contestant, Enter, Trial
from sana_wm_ros.simulation.world_model import SimulatorWorldModel
from sana_wm_ros.world_model.protocol import WorldModel


@dataclass(frozen=True, kw_only=True)
class Group:
    """Who drives. pictures: whether it looks through the camera."""

    name: str
    enter: Enter
    pictures: bool


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Of one plan, the same on every machine: what two idle cores imagine with nano in about a second.

    rounds_s: horizons to which candidates are halved; refined: candidates of the one generation of refinement.
    Commands go on for ``commands_s``, whatever is imagined.
    """

    candidates: int = 12
    rounds_s: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0, 60.0)
    refined: int = 4
    commands_s: float = 60.0

    @property
    def settings(self) -> PlannerSettings:
        """Of the planner; pieces are long, as nobody looks at the clock in between."""
        frames = round(max(self.commands_s, self.rounds_s[-1]) / 0.5)
        return PlannerSettings(
            proposals=ProposalSettings(count=self.candidates, frames=frames),
            halving=HalvingSettings(rounds_s=self.rounds_s, piece_frames=40),
            refinement=RefinementSettings(count=self.refined),
        )


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The planner with a part changed or left out."""

    change: Callable[[PlannerSettings], PlannerSettings] = field(default=lambda settings: settings)
    memory_s: float | None = None
    warm_start: bool = True


def _until(*rounds_s: float) -> Callable[[PlannerSettings], PlannerSettings]:
    def change(settings: PlannerSettings) -> PlannerSettings:
        frames = max(settings.proposals.frames, round(rounds_s[-1] / 0.5))
        return replace(
            settings,
            proposals=replace(settings.proposals, frames=frames),
            halving=replace(settings.halving, rounds_s=rounds_s),
        )

    return change


_WITHOUT_MODEL = ("oracle", "straight", "mppi")

ABLATIONS: dict[str, Variant] = {
    "no halving": Variant(change=lambda s: replace(s, halving=replace(s.halving, keep_fraction=1.0))),
    "no refinement": Variant(change=lambda s: replace(s, refinement=RefinementSettings(generations=0))),
    "no warm start": Variant(warm_start=False),
    "horizon 8 s": Variant(change=_until(4.0, 8.0)),
    "no trust discount": Variant(change=lambda s: replace(s, discount_beyond_trust=False)),
    "memory of 5 s": Variant(
        change=lambda s: replace(s, trail_is_free=False, views_are_known=False), memory_s=5.0
    ),
    "views not remembered": Variant(change=lambda s: replace(s, views_are_known=False)),
    "trail not remembered": Variant(change=lambda s: replace(s, trail_is_free=False)),
    "no free space": Variant(
        change=lambda s: replace(s, proposals=replace(s.proposals, ways=0.0, openings=0.0))
    ),
}


def groups(names: list[str], model: WorldModel | None, model_name: str, budget: Budget) -> list[Group]:
    """Groups by name: ``oracle``, the model's, ``straight``, ``avoider``, ``mppi``, and "X, ABLATION" of the first two.

    Raises ``ValueError`` for a name that does not exist, or one that needs a model where there is none.
    """
    known = known_names(model_name)
    found = []
    for name in names:
        if name not in known:
            raise ValueError(f"there is no group '{name}'; choose from: {', '.join(known)}")
        base, _, ablation = name.partition(", ")
        if needs_model([name]) and model is None:
            raise ValueError(f"group '{name}' needs a model")
        variant = ABLATIONS[ablation] if ablation else Variant()
        if base == "oracle":
            enter = _oracle(variant, budget)
        elif base == model_name:
            assert model is not None
            enter = _planner(model, variant, budget)
        elif base == "avoider":
            assert model is not None
            enter = _avoider(model)
        else:
            enter = _straight if base == "straight" else _mppi
        found.append(Group(name=name, enter=enter, pictures=needs_model([name])))
    return found


def needs_model(names: Iterable[str]) -> bool:
    """Whether one of these groups looks through a world model that was learnt."""
    return any(name.partition(", ")[0] not in _WITHOUT_MODEL for name in names)


def known_names(model_name: str) -> list[str]:
    """Every group there is."""
    plain = ["oracle", "straight", "mppi", "avoider", model_name]
    return plain + [f"{base}, {part}" for base in ("oracle", model_name) for part in ABLATIONS]


def _oracle(variant: Variant, budget: Budget) -> Enter:
    def enter(trial: Trial, simulator: Simulator) -> Contestant:
        model = SimulatorWorldModel(
            trial.scene.plan,
            robot=trial.config.robot,
            camera=trial.scene.camera,
            truth=lambda: simulator.truth,
        )
        return _planner(model, variant, budget)(trial, simulator)

    return enter


def _planner(model: WorldModel, variant: Variant, budget: Budget) -> Enter:
    def enter(trial: Trial, simulator: Simulator) -> Contestant:
        return Ours(
            model,
            trial.scene.camera,
            trial.config.robot,
            variant.change(budget.settings),
            seed=trial.seed,
            memory_s=variant.memory_s,
            warm_start=variant.warm_start,
        )

    return enter


def _avoider(model: WorldModel) -> Enter:
    return lambda trial, simulator: WallAvoider(model, trial.scene.camera, trial.config.robot)


def _straight(trial: Trial, simulator: Simulator) -> Contestant:
    return GoStraight(trial.config.robot)


def _mppi(trial: Trial, simulator: Simulator) -> Contestant:
    return LocalMppi(MppiSettings(robot=trial.config.robot), seed=trial.seed)
