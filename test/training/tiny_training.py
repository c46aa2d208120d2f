"""A training so small that tests run it in seconds; each replaces what it is about."""

from __future__ import annotations

from sana_wm_ros.training.world_model_trainer import WorldModelTraining
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.heads import HeadsConfig

TINY = WorldModelTraining(
    model=TransformerConfig(
        width=16,
        depth=2,
        heads=2,
        head_width=8,
        latent_channels=4,
        softmax_every=2,
        window_frames=4,
        timestep_width=16,
    ),
    heads=HeadsConfig(hidden=16, token_width=4, place_width=4),
    curriculum=((0.0, 8),),
    frames_per_step=16,
)
