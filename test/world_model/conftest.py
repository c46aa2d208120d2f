"""Fixtures of the world model's tests."""

from __future__ import annotations

import pytest
import torch

from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.toy import TINY, enliven, tiny_navigation_model
from sana_wm_ros.world_model.transformer import SanaTransformer


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny() -> SanaTransformer:
    torch.manual_seed(0)
    model = SanaTransformer(TINY)
    enliven(model)
    return model.eval()


@pytest.fixture(scope="session")
def model() -> NavigationModel:
    return tiny_navigation_model()
