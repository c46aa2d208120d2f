"""Finds critics by entry point, adds up their weighted costs, and says what each one's share was."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np
import torch

from sana_wm_ros.planning.critics import GROUP, SHIPPED
from sana_wm_ros.planning.types import Critic, FloatArray, Futures
from sana_wm_ros.world_model.protocol import FORETOLD, ModelSpec


class BadCritic(RuntimeError):
    """A critic cannot be loaded, or gave something that is not a finite cost per candidate."""


def available(found: Sequence[EntryPoint] | None = None) -> dict[str, EntryPoint]:
    """Critics by name: the shipped ones, and those that installed packages register.

    Raises BadCritic when two different critics claim one name.
    """
    critics = {name: EntryPoint(name=name, value=value, group=GROUP) for name, value in SHIPPED.items()}
    for entry in entry_points(group=GROUP) if found is None else found:
        known = critics.setdefault(entry.name, entry)
        if known.value != entry.value:
            raise BadCritic(
                f"two critics are called '{entry.name}': {known.value} and {entry.value}; rename one of them"
            )
    return critics


class CriticManager:
    """A list of critics and a loop."""

    def __init__(self, critics: Sequence[Critic]) -> None:
        names = [critic.name for critic in critics]
        for name in names:
            if names.count(name) > 1:
                raise BadCritic(f"critic '{name}' is listed twice; every critic may be used once")
        self._critics = {critic.name: critic for critic in critics}
        self._refused: dict[str, str] = {}  # critics that this model cannot serve, and why
        self.set_weights({critic.name: critic.weight for critic in critics})

    @staticmethod
    def load(
        names: Sequence[str],
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        found: Sequence[EntryPoint] | None = None,
    ) -> CriticManager:
        """Build critics by name; ``settings`` maps a name to keyword arguments such as its weight.

        Raises BadCritic for a name that nobody registered (listing those that exist), one that is listed
        twice, or one that cannot be imported or built.
        """
        known, settings = available(found), settings or {}
        for name in [*names, *settings]:
            if name not in known:
                raise BadCritic(f"there is no critic '{name}'; known are: {', '.join(sorted(known))}")
        critics: list[Critic] = []
        for name in names:
            try:
                build: Callable[..., Critic] = known[name].load()
                critic = build(**settings.get(name, {}))
            except Exception as error:  # any user's code may fail in any way
                raise BadCritic(
                    f"critic '{name}' ({known[name].value}) cannot be built: {error!r}"
                ) from error
            if critic.name != name:
                raise BadCritic(f"critic '{name}' ({known[name].value}) calls itself '{critic.name}'")
            critics.append(critic)
        return CriticManager(critics)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of every critic."""
        return {name: critic.weight for name, critic in self._critics.items()}

    def set_weights(self, weights: Mapping[str, float]) -> None:
        """Change some weights while planning runs; raises ValueError and changes nothing if one is bad."""
        for name, weight in weights.items():
            if name not in self._critics:
                raise ValueError(f"there is no critic '{name}' here; there are: {', '.join(self._critics)}")
            if not math.isfinite(weight) or weight < 0:
                raise ValueError(
                    f"the weight of critic '{name}' must be finite and not negative, got {weight}"
                )
        for name, weight in weights.items():
            self._critics[name].weight = float(weight)

    def meet(self, spec: ModelSpec) -> None:
        """The model is of this kind: raises BadCritic for a critic that needs what it does not foretell.

        One of weight 0 is let off; it is refused when it is scored after all.
        """
        self._refused = {}
        known = ", ".join(sorted(spec.foretells)) or "latents only"
        for name, critic in self._critics.items():
            needs: Sequence[str] = getattr(critic, "needs", ())
            if isinstance(needs, str) or not set(needs) <= set(FORETOLD):
                raise BadCritic(f"critic '{name}' needs {needs!r}; models foretell {', '.join(FORETOLD)}")
            missing = [head for head in needs if head not in spec.foretells]
            if missing:
                self._refused[name] = (
                    f"critic '{name}' needs a world model that foretells {', '.join(missing)}; this one foretells "
                    f"{known}: set critics.{name}.weight to 0, or choose a model that has it"
                )
        for name, why in self._refused.items():
            if self._critics[name].weight != 0:
                raise BadCritic(why)

    @torch.inference_mode()
    def score(self, futures: Futures) -> tuple[FloatArray, dict[str, FloatArray]]:
        """Total cost (N,) and every critic's weighted share, (N,) each. A weight of 0 skips a critic."""
        size = len(futures.candidates)
        shares: dict[str, FloatArray] = {}
        for name, critic in self._critics.items():
            if critic.weight == 0:
                shares[name] = np.zeros(size)
                continue
            if name in self._refused:
                raise BadCritic(self._refused[name])
            cost = torch.as_tensor(critic.score(futures)).detach().to("cpu", torch.float64).numpy()
            if cost.shape != (size,):
                raise BadCritic(
                    f"critic '{name}' gave shape {cost.shape}, expected one cost per candidate ({size},)"
                )
            if not np.isfinite(cost).all():
                row = int(np.argmin(np.isfinite(cost)))
                origin = futures.candidates.origins[row]
                raise BadCritic(
                    f"critic '{name}' gave {cost[row]} for candidate {row} ({origin}); costs must be finite"
                )
            shares[name] = critic.weight * cost
        return np.sum([np.zeros(size), *shares.values()], axis=0), shares
