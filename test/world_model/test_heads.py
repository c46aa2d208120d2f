"""Heads may grow in the middle of a training; until they have learnt more they say what they said."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sana_wm_ros.world_model.config import BadConfig
from sana_wm_ros.world_model.heads import Heads, HeadsConfig

SMALL = HeadsConfig(token_width=4, hidden=16, place_width=8, layers=2)
LARGE = replace(SMALL, token_width=6, hidden=24, layers=3)


@pytest.fixture
def heads() -> Heads:
    torch.manual_seed(0)
    heads = Heads(SMALL, 12, 5)
    for parameter in heads.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return heads


def test_larger_heads_begin_with_what_the_smaller_ones_say(heads: Heads) -> None:
    features = torch.randn(2, 3, 5, 12, generator=torch.Generator().manual_seed(1))
    before, after = heads(features), heads.widened(LARGE)(features)
    for name, value in vars(before).items():
        torch.testing.assert_close(getattr(after, name), value, atol=1e-6, rtol=1e-6)


def test_every_new_weight_can_learn(heads: Heads) -> None:
    large = heads.widened(LARGE)
    start = {name: value.clone() for name, value in large.named_parameters()}
    optimiser = torch.optim.SGD(large.parameters(), lr=0.1)
    for seed in range(4):
        said = large(torch.randn(8, 3, 5, 12, generator=torch.Generator().manual_seed(seed)))
        optimiser.zero_grad()
        (said.log_clearance_BFK.square().mean() + said.collision_logit_BF.square().mean()).backward()
        optimiser.step()
    rows = {"narrow.weight": 4, "trunk.weight": 16, "deeper.0.weight": 16, "deeper.1.weight": 0}
    for name, first in rows.items():
        moved = (dict(large.named_parameters())[name] - start[name])[first:]
        assert float(moved.detach().abs().sum(1).min()) > 0.0, name


@pytest.mark.parametrize("change", [{"hidden": 8}, {"layers": 1}, {"sectors": 12}])
def test_heads_do_not_shrink_nor_change_what_they_say(heads: Heads, change: dict[str, int]) -> None:
    with pytest.raises(BadConfig, match="may grow"):
        heads.widened(replace(SMALL, **change))
