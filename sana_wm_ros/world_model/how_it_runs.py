"""What a loaded model computes with, each choice with its reason: for diagnostics and for people who wonder."""

from __future__ import annotations

from sana_wm_ros.world_model.kernels import choose
from sana_wm_ros.world_model.precision import precision_of
from sana_wm_ros.world_model.protocol import WorldModel
from sana_wm_ros.world_model.transformer import SanaTransformer


def how_it_runs(model: WorldModel) -> dict[str, str]:
    """Device, kernels, precision and how the last pass ran; nothing for a model without a transformer of ours."""
    transformer = getattr(model, "transformer", None)
    if not isinstance(transformer, SanaTransformer):
        return {}
    choice = choose(transformer.device)
    told = {
        "device": str(transformer.device),
        "kernels": f"{choice.name} ({choice.reason})",
        "precision": precision_of(transformer),
    }
    recorder = getattr(model, "recorder", None)
    return told if recorder is None else {**told, "last pass": recorder.reason}
