"""What a stretch of latent frames leaves behind: tensors of constant size per block, shared until changed.

Dimension letters: B batch, H heads (main, then camera), R value and D key width, W window frames,
K keyframes, S tokens, C channels, E number of raw inputs a short convolution looks back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sana_wm_ros.world_model.keyframes import Keyframes

Change = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True, kw_only=True)
class DeltaState:
    """Of a Gated DeltaNet block: the memories, the normaliser and the convolutions' last inputs."""

    memory_BHRD: Tensor
    normaliser_BH1D: Tensor
    key_tail_EBSC: Tensor
    mlp_tail_1BSC: Tensor

    def changed(self, change: Change) -> DeltaState:
        """The same with ``change(tensor, its batch axis)`` applied to every tensor."""
        return DeltaState(
            memory_BHRD=change(self.memory_BHRD, 0),
            normaliser_BH1D=change(self.normaliser_BH1D, 0),
            key_tail_EBSC=change(self.key_tail_EBSC, 1),
            mlp_tail_1BSC=change(self.mlp_tail_1BSC, 1),
        )


@dataclass(frozen=True, kw_only=True)
class WindowState:
    """Of a softmax block: keys and values of the sink and the last frames, which ``frames`` numbers.

    bank_BK2HSD: keys and values of the keyframes, turned as their frame wrote them; None without any.
    """

    frames: tuple[int, ...]
    keys_BHWSD: Tensor
    values_BHWSD: Tensor
    mlp_tail_1BSC: Tensor
    bank_BK2HSD: Tensor | None = None

    def changed(self, change: Change) -> WindowState:
        """The same with ``change(tensor, its batch axis)`` applied to every tensor."""
        return WindowState(
            frames=self.frames,
            keys_BHWSD=change(self.keys_BHWSD, 0),
            values_BHWSD=change(self.values_BHWSD, 0),
            mlp_tail_1BSC=change(self.mlp_tail_1BSC, 1),
            bank_BK2HSD=None if self.bank_BK2HSD is None else change(self.bank_BK2HSD, 0),
        )


@dataclass(frozen=True, kw_only=True)
class ModelState:
    """Of the whole model; ``next_frame`` numbers the latent frame that comes next. Never written to.

    keyframes: where the frames in the blocks' banks were seen; None without keyframe memory.
    """

    next_frame: int
    blocks: tuple[DeltaState | WindowState, ...]
    keyframes: Keyframes | None = None

    def expand(self, batch: int) -> ModelState:
        """One row shared by ``batch`` rows, without copies."""

        def change(tensor: Tensor, axis: int) -> Tensor:
            shape = [-1] * tensor.ndim
            shape[axis] = batch
            return tensor.expand(shape)

        return self.changed(change)

    def select(self, index_N: Tensor) -> ModelState:
        """Some rows, in the order given; what all rows share stays shared."""

        def change(tensor: Tensor, axis: int) -> Tensor:
            if tensor.stride(axis) == 0:
                return tensor.narrow(axis, 0, 1).expand(
                    *tensor.shape[:axis], len(index_N), *tensor.shape[axis + 1 :]
                )
            return tensor.index_select(axis, index_N)

        return self.changed(change)

    def detach(self) -> ModelState:
        """The same values without their history, as truncated training and imagining need."""
        return self.changed(lambda tensor, axis: tensor.detach())

    @property
    def bytes(self) -> int:
        """Bytes that the state of the whole batch would take if no row were shared."""
        total = 0

        def count(tensor: Tensor, axis: int) -> Tensor:
            nonlocal total
            total += tensor.numel() * tensor.element_size()
            return tensor

        self.changed(count)
        return total

    def changed(self, change: Change) -> ModelState:
        """The same with ``change(tensor, its batch axis)`` applied to every tensor."""
        return ModelState(
            next_frame=self.next_frame,
            blocks=tuple(block.changed(change) for block in self.blocks),
            keyframes=None if self.keyframes is None else self.keyframes.changed(change),
        )


def batch_axes(state: ModelState) -> list[tuple[Tensor, int]]:
    """The state's tensors in a fixed order, each with the axis of its candidates."""
    found: list[tuple[Tensor, int]] = []

    def note(tensor: Tensor, axis: int) -> Tensor:
        found.append((tensor, axis))
        return tensor

    state.changed(note)
    return found


def tensors_of(state: ModelState) -> list[Tensor]:
    """The state's tensors in the order of ``batch_axes``."""
    return [tensor for tensor, _ in batch_axes(state)]


def with_tensors(template: ModelState, tensors: tuple[Tensor, ...]) -> ModelState:
    """The template with other tensors in the same order."""
    following = iter(tensors)
    return template.changed(lambda tensor, axis: next(following))
