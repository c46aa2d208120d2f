"""Whole navigation models of the presets' sizes with random weights: where training starts, and what speed needs."""

from __future__ import annotations

import torch

from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.config import NANO, SMALL, TransformerConfig
from sana_wm_ros.world_model.heads import Heads, HeadsConfig
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.transformer import SanaTransformer

NAVIGATION = {
    "nano": (NANO, AutoencoderConfig(), HeadsConfig()),
    "small": (
        SMALL,
        AutoencoderConfig(image_height=96, image_width=128, widths=(96, 192, 320)),
        HeadsConfig(place_width=64, token_width=24, hidden=512),
    ),
}


def sizes_of(name: str) -> tuple[TransformerConfig, AutoencoderConfig, HeadsConfig]:
    """A preset's configs; ``ValueError`` names the presets there are."""
    if name not in NAVIGATION:
        raise ValueError(f"no navigation preset is called {name!r}; there are {', '.join(NAVIGATION)}")
    return NAVIGATION[name]


def untrained(name: str, *, seed: int = 0) -> NavigationModel:
    """The preset's model with freshly drawn weights; ``ValueError`` names the presets there are."""
    transformer, images, heads = sizes_of(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = NavigationModel(
            SanaTransformer(transformer),
            Heads(heads, transformer.width, transformer.tokens),
            Autoencoder(images),
        )
    return model.requires_grad_(False)
