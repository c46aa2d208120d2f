"""What planning reads from the transformer's last features: contact, free space, doubt and place.

Dimension letters: B batch, F latent frames, S tokens, C channels, K bearing sectors, E embedding width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.config import BadConfig


@dataclass(frozen=True, kw_only=True)
class HeadsConfig:
    """Sizes of the heads. Ranges in metres: predicted ones lie in (0, max_range_m].

    layers: how many layers read a frame's tokens together; all but the first only add to what it found.
    """

    sectors: int = 24
    max_range_m: float = 8.0
    place_width: int = 32
    token_width: int = 16
    hidden: int = 256
    layers: int = field(default=1, metadata={"later": True})

    def __post_init__(self) -> None:
        for name in ("sectors", "place_width", "token_width", "hidden", "layers"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 8192:
                raise BadConfig(f"{name} is {value!r}; expected a whole number from 1 to 8192")
        if not isinstance(self.max_range_m, int | float) or not 0.1 <= self.max_range_m <= 1000.0:
            raise BadConfig(f"max_range_m is {self.max_range_m!r}; expected metres from 0.1 to 1000")


@dataclass(frozen=True, kw_only=True)
class HeadOutputs:
    """Raw outputs that losses want. log_clearance_BFK: natural log of metres, not above log(max range)."""

    collision_logit_BF: Tensor
    log_clearance_BFK: Tensor
    log_uncertainty_BF: Tensor
    place_BFE: Tensor

    @property
    def collision_BF(self) -> Tensor:
        """Probability of contact."""
        return self.collision_logit_BF.sigmoid()

    @property
    def clearance_BFK(self) -> Tensor:
        """Metres."""
        return self.log_clearance_BFK.exp()

    @property
    def uncertainty_BF(self) -> Tensor:
        """Expected latent error, in standard deviations of the latents."""
        return self.log_uncertainty_BF.exp()


def _zeroed(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)


class Heads(nn.Module):
    """All tokens of a frame, narrowed one by one and then read together by one small network."""

    def __init__(self, config: HeadsConfig, width: int, tokens: int) -> None:
        super().__init__()
        self.config = config
        self.narrow = nn.Linear(width, config.token_width)
        self.trunk = nn.Linear(tokens * config.token_width, config.hidden)
        # These begin as nothing, so that a model trained without them can be trained on with them.
        self.deeper = nn.ModuleList(
            nn.Linear(config.hidden, config.hidden) for _ in range(config.layers - 1)
        ).apply(_zeroed)
        self.out = nn.Linear(config.hidden, 2 + config.sectors + config.place_width)

    def forward(self, features_BFSC: Tensor) -> HeadOutputs:
        """Features of the pass that made a frame to what they foretell."""
        read = nn.functional.silu(self.trunk(nn.functional.silu(self.narrow(features_BFSC)).flatten(-2)))
        for layer in self.deeper:
            read = read + nn.functional.silu(layer(read))
        sizes = [1, 1, self.config.sectors, self.config.place_width]
        ceiling = math.log(self.config.max_range_m)
        collision, uncertainty, clearance, place = self.out(read).float().split(sizes, -1)
        return HeadOutputs(
            collision_logit_BF=collision[..., 0],
            # A smooth ceiling: a hard one would leave no gradient where the guess is too far.
            log_clearance_BFK=ceiling - nn.functional.softplus(ceiling - clearance),
            log_uncertainty_BF=uncertainty[..., 0],
            place_BFE=nn.functional.normalize(place, dim=-1),
        )

    @torch.no_grad()
    def widened(self, config: HeadsConfig) -> Heads:
        """Larger heads that say what these say, with room to learn more; raises ``BadConfig`` if any size shrinks."""
        old, width, tokens = (
            self.config,
            self.narrow.in_features,
            self.trunk.in_features // self.config.token_width,
        )
        sizes = ("token_width", "hidden", "layers")
        same = all(getattr(old, n) == getattr(config, n) for n in ("sectors", "max_range_m", "place_width"))
        if not same or any(getattr(config, name) < getattr(old, name) for name in sizes):
            raise BadConfig(f"heads {old} cannot become {config}: only {', '.join(sizes)} may grow")
        new = Heads(config, width, tokens)
        new.narrow.weight[: old.token_width] = self.narrow.weight
        new.narrow.bias[: old.token_width] = self.narrow.bias
        trunk = new.trunk.weight.unflatten(1, (tokens, config.token_width))
        trunk[: old.hidden, :, old.token_width :] = 0.0
        trunk[: old.hidden, :, : old.token_width] = self.trunk.weight.unflatten(1, (tokens, old.token_width))
        new.trunk.bias[: old.hidden] = self.trunk.bias
        for layer, before in zip(new.deeper, self.deeper, strict=False):
            assert isinstance(layer, nn.Linear) and isinstance(before, nn.Linear)
            layer.weight[: old.hidden, : old.hidden] = before.weight
            layer.bias[: old.hidden] = before.bias
        new.out.weight[:, old.hidden :] = 0.0
        new.out.weight[:, : old.hidden] = self.out.weight
        new.out.bias.copy_(self.out.bias)
        return new
