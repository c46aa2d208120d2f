"""The names and shapes of published files, held against what is known of them without having them."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections import Counter

import pytest

from sana_wm_ros.world_model.config import PRESETS, SANA_WM
from sana_wm_ros.world_model.published.layouts import (
    ANY,
    DIFFUSERS,
    IGNORED,
    NVIDIA,
    TRAINER,
    Shape,
    differences,
    ignored_shapes,
    layout_of,
    transformer_shapes,
)
from sana_wm_ros.world_model.toy import TINY_SANA_WM

# Of the published list: "name [shape]" lines, sorted, joined by line feeds.
LIST_SHA256 = "6ee6569dc1f035af260b6714cee851e2019018d57fd7fc3183b8a1db043954a5"
POSITIONS = 484
PARAMETERS = 2_661_800_448
BUFFERS = ("pos_embed", "y_embedder.y_embedding", "recall_gate")


def every_tensor() -> dict[str, Shape]:
    shapes = transformer_shapes(SANA_WM) | ignored_shapes(SANA_WM)
    return {name: tuple(POSITIONS if n == ANY else n for n in shape) for name, shape in shapes.items()}


def test_the_full_size_transformer_has_the_published_tensors() -> None:
    shapes = every_tensor()
    assert len(shapes) == 872
    parts = Counter(name.split(".")[0] for name in shapes)
    assert parts == {
        "blocks": 15 * 43 + 5 * 41, "y_embedder": 5, "t_embedder": 4, "final_layer": 3, "x_embedder": 2,
        "t_block": 2, "plucker_embedder": 2, "raymap_embedder": 2, "pos_embed": 1, "attention_y_norm": 1,
    }  # fmt: skip
    weights = {name: shape for name, shape in shapes.items() if not name.endswith(BUFFERS)}
    assert sum(map(math.prod, weights.values())) == PARAMETERS
    listed = "\n".join(sorted(f"{name} {list(shape)}" for name, shape in shapes.items()))
    assert hashlib.sha256(listed.encode()).hexdigest() == LIST_SHA256


def test_all_published_forms_have_the_same_tensors() -> None:
    shapes = transformer_shapes(SANA_WM)
    for name, preset in PRESETS.items():
        if name.startswith("sana_wm"):
            assert transformer_shapes(preset) == shapes


def test_every_ignored_tensor_has_one_reason() -> None:
    for name in ignored_shapes(SANA_WM):
        assert sum(ignored.matches(name) for ignored in IGNORED) == 1, name
    assert not set(ignored_shapes(SANA_WM)) & set(transformer_shapes(SANA_WM))


def test_diffusers_own_model_has_the_repackaged_tensors() -> None:
    module = pytest.importorskip(
        "diffusers.models.transformers.transformer_sana_wm", reason="needs diffusers 0.42.1 (extra sana_wm)"
    )
    config = dataclasses.replace(TINY_SANA_WM, depth=5)
    theirs = module.SanaWMTransformer3DModel(
        in_channels=config.latent_channels, num_layers=config.depth, hidden_size=config.width,
        num_attention_heads=config.heads, linear_head_dim=config.head_width,
        caption_channels=config.text_width, chunk_plucker_channels=6 * config.raw_per_latent,
    )  # fmt: skip
    found = {name: tuple(value.shape) for name, value in theirs.state_dict().items()}
    assert layout_of(found) is DIFFUSERS
    assert differences(DIFFUSERS, found, config) == []


@pytest.mark.parametrize("layout", [NVIDIA, DIFFUSERS, TRAINER], ids=lambda layout: layout.name)
def test_names_translate_both_ways(layout: object) -> None:
    assert isinstance(layout, type(NVIDIA))
    for name in transformer_shapes(TINY_SANA_WM):
        assert layout.published(layout.theirs(name)) == name
    assert layout_of(map(layout.theirs, transformer_shapes(TINY_SANA_WM))) is layout
    assert layout_of(["model.layers.0.weight"]) is None


def test_differences_name_every_tensor_in_the_file_s_own_words() -> None:
    found = {
        DIFFUSERS.theirs(name): shape
        for name, shape in (transformer_shapes(TINY_SANA_WM) | ignored_shapes(TINY_SANA_WM)).items()
        if name not in DIFFUSERS.absent
    }
    assert differences(DIFFUSERS, found, TINY_SANA_WM) == []
    del found["t_embedder.linear_2.bias"]
    found["blocks.0.attn.A_log"] = (2, 1)
    found["blocks.9.visitor"] = (3,)
    found["pos_embed"] = (1, 5, 48)
    assert sorted(differences(DIFFUSERS, found, TINY_SANA_WM)) == [
        "extra blocks.9.visitor (3,)",
        "extra pos_embed (1, 5, 48)",
        "misshapen blocks.0.attn.A_log (2, 1), expected (2,)",
        "missing t_embedder.linear_2.bias (48,)",
    ]
