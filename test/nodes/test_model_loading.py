"""A model is tried out where somebody configures it, and refused there if planning cannot use it."""

from __future__ import annotations

import dataclasses

import pytest

from sana_wm_ros.nodes.model_loading import warm
from sana_wm_ros.world_model.toy import tiny_navigation_model


def test_a_model_that_foretells_everything_warms_up() -> None:
    warm(tiny_navigation_model(), 2)


def test_a_model_without_the_heads_that_planning_needs_is_refused_by_name() -> None:
    model = tiny_navigation_model()
    model.spec = dataclasses.replace(model.spec, foretells=frozenset({"collision", "place"}))
    with pytest.raises(
        ValueError, match="foretells clearance, uncertainty; this one foretells collision, place"
    ):
        warm(model, 2)
