"""A precision is used where the device has it, told in words, and refused with the reason where not."""

from __future__ import annotations

import pytest
import torch

from sana_wm_ros.world_model import fp8
from sana_wm_ros.world_model.precision import multiply_by, precision_of
from sana_wm_ros.world_model.toy import tiny_navigation_model


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        ("fp8", "fp8 is not possible: cpu has no FP8 units; use auto"),
        ("bf16", "bf16 is not possible: this CPU has no AMX units, without which bfloat16 is slower"),
        ("nvfp4", "nvfp4 is not there: it needs a scale for every 16 numbers"),
        ("int4", "precision is 'int4'; expected one of auto, bf16, fp8"),
    ],
)
def test_what_is_not_possible_is_refused_with_the_reason(
    precision: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.raises(ValueError, match=words):
        tiny_navigation_model().ready_on("cpu", precision)


def test_auto_leaves_the_blocks_as_they_are_and_says_so() -> None:
    model = tiny_navigation_model().ready_on("cpu")
    assert precision_of(model.transformer) == "float32"
    multiply_by(model.transformer, fp8.linear)
    assert precision_of(model.transformer) == "fp8"


def test_a_cpu_with_amx_may_multiply_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it then imagines is near float32: see test_graphs.py."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    model = tiny_navigation_model().ready_on("cpu", "bf16")
    assert precision_of(model.transformer) == "bfloat16"
    assert next(model.heads.parameters()).dtype == torch.float32
