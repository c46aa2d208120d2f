"""Run by torchrun from the tests: AdamW steps of a sharded transformer, and the same on the first process alone."""

from __future__ import annotations

import sys

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from sana_wm_ros.training.processes import leave
from sana_wm_ros.training.sharding import shard, whole_weights
from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.transformer import SanaTransformer

CONFIG = TransformerConfig(
    width=16,
    depth=4,
    heads=2,
    head_width=8,
    latent_channels=4,
    softmax_every=2,
    window_frames=4,
    timestep_width=16,
)
CLIPS, FRAMES, STEPS = 2, 6, 3


def new_transformer() -> SanaTransformer:
    """The same weights each time."""
    torch.manual_seed(0)
    return SanaTransformer(CONFIG)


def steps(transformer: SanaTransformer, rows: slice, empty: object = None) -> None:
    """AdamW on the mean square of what comes out for some rows of one random batch."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(CLIPS, FRAMES, 4, 4, 6, generator=generator)[rows]
    sigma = torch.rand(CLIPS, FRAMES, generator=generator)[rows]
    count = len(x)
    track = CameraTrack(
        poses_BF44=torch.eye(4).expand(count, FRAMES, 4, 4),
        before_B44=torch.eye(4).expand(count, 4, 4),
        intrinsics_B4=torch.tensor([[3.0, 3.0, 2.5, 1.5]]).expand(count, 4),
    )
    optimiser = torch.optim.AdamW(transformer.parameters(), lr=1e-2)
    for _ in range(STEPS):
        loss = transformer(x, sigma, track, empty, (1, 2, 3))[0].square().mean()
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    transformer, rank = new_transformer(), dist.get_rank()
    state = shard(transformer, init_device_mesh("cpu", (dist.get_world_size(),)))
    local = sum(p.to_local().numel() for p in transformer.parameters())  # type: ignore[attr-defined]
    steps(transformer, slice(rank, rank + 1), state)
    weights = whole_weights(transformer)
    if rank == 0:
        alone = new_transformer()
        steps(alone, slice(None))
        torch.save({"sharded": weights, "alone": alone.state_dict(), "local": local}, sys.argv[1])
    del (
        transformer,
        state,
    )  # what holds the group would outlive it, and end the process with an abort now and then
    leave()
