"""Weights, gradients and optimiser state of a large transformer spread over processes (FSDP2).

For presets that do not fit one device (``sana_wm``: 2.66 B parameters, 43 GB with gradients and AdamW in fp32).
``nano`` and ``small`` train with ``processes`` instead, where every process holds all weights.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from sana_wm_ros.world_model.state import ModelState
from sana_wm_ros.world_model.transformer import SanaTransformer


def shard(transformer: SanaTransformer, mesh: DeviceMesh) -> ModelState:
    """Spread a transformer over a mesh, in place, block by block; returns its empty state for one clip.

    The state has to be made before: afterwards the weights are distributed tensors, which no state may
    become. Give ``state.expand(clips)`` to every forward of the sharded transformer.
    """
    empty = transformer.empty_state(1)
    for block in transformer.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(transformer, mesh=mesh)
    return empty


def whole_weights(transformer: SanaTransformer) -> dict[str, Tensor]:
    """All weights in full on every process, as a checkpoint wants them."""
    full = {}
    for name, value in transformer.state_dict().items():
        spread = isinstance(value, torch.distributed.tensor.DTensor)
        full[name] = value.full_tensor() if spread else value
    return full
