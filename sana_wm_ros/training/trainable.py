"""Which models the training commands take: ``nano`` and ``small``. SANA-WM itself is refused in words."""

from __future__ import annotations

from pathlib import Path

from sana_wm_ros.world_model.config import PRESETS
from sana_wm_ros.world_model.presets import NAVIGATION
from sana_wm_ros.world_model.published.places import is_published
from sana_wm_ros.world_model.weight_files import is_there


class NotTrainable(ValueError):
    """A model that no command trains; the message says what there is instead."""


def check_trainable(model: Path | str | None) -> None:
    """Raise ``NotTrainable`` for SANA-WM: a preset's name, or a place that holds its published weights."""
    if model is None:
        return
    place = Path(model)
    named = str(model) in PRESETS and str(model) not in NAVIGATION and not place.exists()
    ours = is_there(place.parent if place.is_file() else place)
    if named or (is_published(place) and not ours):
        raise NotTrainable(
            f"{model}: no command trains or fine-tunes SANA-WM's published transformer (2.66 B parameters, without "
            "heads for contact and ranges). Instead: `sana_wm finetune --model models/nano` teaches nano your "
            "recordings, `sana_wm train --preset small` trains a larger model on a GPU, and for a loop of your own "
            "sana_wm_ros/training/sharding.py spreads SANA-WM's transformer over GPUs (see models/README.md)"
        )
