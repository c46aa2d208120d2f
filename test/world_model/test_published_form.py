"""Against an independent implementation: diffusers' bidirectional SANA-WM, over several small random models.

With one chunk over the whole clip and the published switches, this transformer must be that one, text and all.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model.config import SANA_WM, TransformerConfig
from sana_wm_ros.world_model.published.conditions import CameraConditions, camera_conditions
from sana_wm_ros.world_model.toy import drive, enliven
from sana_wm_ros.world_model.transformer import SanaTransformer

theirs_module = pytest.importorskip(
    "diffusers.models.transformers.transformer_sana_wm", reason="needs diffusers 0.42.1 (extra sana_wm)"
)

# heads, head width, depth, latent rows and columns, latent channels, text channels, latent frames, batch
SHAPES = {
    "four heads of 24": (4, 24, 4, (4, 6), 16, 32, 7, 2),
    "softmax width that needs no padding": (2, 32, 4, (3, 5), 8, 24, 5, 1),
    "odd latent grid, no softmax block": (2, 16, 3, (5, 3), 6, 16, 4, 1),
    "one frame, two softmax blocks": (1, 40, 8, (2, 2), 5, 12, 1, 2),
    "the published head width": (1, 112, 4, (2, 3), 8, 20, 6, 1),
}


def small(
    heads: int, width: int, depth: int, grid: tuple[int, int], channels: int, text: int
) -> TransformerConfig:
    return dataclasses.replace(
        SANA_WM, width=heads * width, heads=heads, head_width=width, depth=depth, latent_height=grid[0],
        latent_width=grid[1], latent_channels=channels, text_width=text,
    )  # fmt: skip


def their_model(config: TransformerConfig) -> Any:
    model = theirs_module.SanaWMTransformer3DModel(
        in_channels=config.latent_channels, num_layers=config.depth, hidden_size=config.width,
        num_attention_heads=config.heads, linear_head_dim=config.head_width,
        caption_channels=config.text_width, chunk_plucker_channels=6 * config.raw_per_latent,
    ).eval()  # fmt: skip
    enliven(model)
    return model


def my_model(config: TransformerConfig, theirs: Any) -> SanaTransformer:
    model = SanaTransformer(config).eval()
    published = theirs.state_dict()
    renamed = {"t_embedder.mlp.0": "t_embedder.linear_1", "t_embedder.mlp.2": "t_embedder.linear_2"}
    weights = {}
    for name in model.state_dict():
        layer, _, kind = name.rpartition(".")
        weights[name] = published[f"{renamed.get(layer, layer)}.{kind}"]
    model.load_state_dict(weights)
    return model


def path(batch: int, frames: int, config: TransformerConfig) -> CameraConditions:
    """A drive with another camera in every row."""
    latent = (config.latent_height, config.latent_width)
    image = (32 * latent[0], 32 * latent[1])
    rows = []
    for row in range(batch):
        poses = drive(1, 8 * frames - 7, seed=row).poses_BF44[0]
        focal = 0.7 * image[1] + 10 * row
        k = torch.tensor([focal, 1.1 * focal, 0.52 * image[1], 0.47 * image[0]])
        rows.append(camera_conditions(poses, k, image=image, latent=latent))
    return CameraConditions(
        conditions_BF20=torch.cat([row.conditions_BF20 for row in rows]),
        plucker_BPFHW=torch.cat([row.plucker_BPFHW for row in rows]),
    )


def outputs(config: TransformerConfig, frames: int, batch: int) -> tuple[Tensor, Tensor]:
    """What the two say about the same noisy clip: (theirs, mine)."""
    torch.manual_seed(1)
    theirs = their_model(config)
    mine = my_model(config, theirs)
    generator = torch.Generator().manual_seed(2)
    size = (config.latent_channels, config.latent_height, config.latent_width)
    x = torch.randn(batch, frames, *size, generator=generator)
    timestep = torch.tensor([0.0, 998.26, 889.0, 727.0, 300.0, 300.5, 960.0])[:frames].repeat(batch, 1)
    caption = torch.randn(batch, 9, config.text_width, generator=generator)
    mask = torch.ones(batch, 9)
    mask[0, 6:] = 0
    camera = path(batch, frames, config)
    expected = theirs(
        x.transpose(1, 2), timestep[:, None], caption[:, None], mask=mask,
        camera_conditions=camera.conditions_BF20, chunk_plucker=camera.plucker_BPFHW,
    ).sample.transpose(1, 2)  # fmt: skip
    got, _, _ = mine(x, timestep / 1000.0, camera, text=mine.read(caption, mask))
    assert expected.std() > 0.5
    return expected, got


@torch.no_grad()
@pytest.mark.parametrize("renorm", [True, False], ids=["renorm", "no renorm"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_it_is_the_published_transformer(
    shape: tuple[Any, ...], renorm: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    *sizes, frames, batch = shape
    # Their softmax blocks round to bfloat16 on the way; everything is compared in float32.
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)
    if not renorm:
        # NVlabs' own code does not rescale after UCPE; diffusers always does.
        monkeypatch.setattr(theirs_module, "_downscale_to_reference_rms", lambda before, after, *rest: after)
    expected, got = outputs(dataclasses.replace(small(*sizes), renorm=renorm), frames, batch)
    assert (got - expected).abs().mean() <= 5e-6
    assert (got - expected).abs().max() <= 1e-4


@torch.no_grad()
def test_softmax_rounds_to_bfloat16_where_they_do() -> None:
    *sizes, frames, batch = SHAPES["four heads of 24"]
    config = dataclasses.replace(small(*sizes), renorm=True)
    expected, rounded = outputs(dataclasses.replace(config, softmax_bf16=True), frames, batch)
    _, exact = outputs(config, frames, batch)
    assert (rounded - expected).abs().mean() < 0.1 * (exact - expected).abs().mean()
