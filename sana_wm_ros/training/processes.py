"""One training on several processes, as ``torchrun`` starts them: who does what, and sums over all of them.

Every process draws the same batch and noise and takes every n-th clip. Losses are divided by sums over all
processes, so the gradient is that of the whole batch: two processes train as one does (tested).
"""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Processes:
    """This process's number (from 0), how many there are, and the device that this one works on."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self.rank == 0

    def mine(self, clips: int) -> list[int]:
        """The rows of a batch that are this process's; a batch of fewer clips than processes is refused."""
        if clips < self.count:
            raise ValueError(
                f"a batch of {clips} clips cannot be shared by {self.count} processes; raise --batch"
            )
        return list(range(self.rank, clips, self.count))

    def total(self, value: Tensor) -> Tensor:
        """The sum of a value over all processes, without gradient."""
        value = value.detach().clone()
        if self.count > 1:
            dist.all_reduce(value)
        return value

    def agreed(self, value: float) -> float:
        """The first process's value, for what each would measure a little differently (clocks)."""
        if self.count == 1:
            return value
        said = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(said, 0)
        return float(said)

    def wait(self) -> None:
        """Go on when all are here."""
        if self.count > 1:
            dist.barrier()

    def shared(self, module: nn.Module) -> nn.Module:
        """The module with gradients averaged over all processes (DistributedDataParallel)."""
        return nn.parallel.DistributedDataParallel(module) if self.count > 1 else module


def join(kind: str = "cpu") -> Processes:
    """The processes that ``torchrun`` started, or this one alone, on devices of a kind (cpu or cuda)."""
    count, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("this machine has no CUDA device that torch can use; train with --device cpu")
    device = torch.device(kind, local) if kind == "cuda" else torch.device(kind)
    if count == 1:
        return Processes(device=device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if kind == "cuda" else "gloo")
    return Processes(rank=dist.get_rank(), count=dist.get_world_size(), device=device)


def leave() -> None:
    """End the group that ``join`` made, if it made one. Let go of models that were shared over it before."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        gc.collect()  # a group that something still holds ends with the interpreter, whose threads then abort
        dist.destroy_process_group()
