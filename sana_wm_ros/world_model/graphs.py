"""Passes of fixed shapes as CUDA graphs: a pass of hundreds of small kernels is launched as one.

A pass is recorded when its shapes are met for the second time, and replayed on new numbers from then on. Everywhere
else, and whenever recording fails, the pass simply runs; ``Recorder.reason`` says which it was and why.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.keyframes import Recall
from sana_wm_ros.world_model.segment import Segment
from sana_wm_ros.world_model.state import DeltaState, ModelState, WindowState, batch_axes, with_tensors
from sana_wm_ros.world_model.transformer import SanaTransformer

# Graphs hold their memory: the kinds of passes that one planner makes, and no more.
MOST_GRAPHS = 8

Pass = tuple[Tensor, Tensor, ModelState]


@dataclass(frozen=True, kw_only=True)
class _Slot:
    """Memory that a graph reads: what is copied into, and the view of it that the pass sees."""

    base: Tensor
    view: Tensor
    shared_axis: int | None

    @staticmethod
    def like(tensor: Tensor, axis: int) -> _Slot:
        """Room for such a tensor; what all candidates share stays shared."""
        if tensor.ndim and tensor.shape[axis] > 1 and tensor.stride(axis) == 0:
            base = tensor.narrow(axis, 0, 1).clone()
            return _Slot(base=base, view=base.expand(tensor.shape), shared_axis=axis)
        base = tensor.clone(memory_format=torch.contiguous_format)
        return _Slot(base=base, view=base, shared_axis=None)

    def fill(self, tensor: Tensor) -> None:
        """Take over new numbers."""
        self.base.copy_(tensor if self.shared_axis is None else tensor.narrow(self.shared_axis, 0, 1))


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """A recorded pass: where its inputs go and its outputs lie."""

    again: Callable[[], None]
    slots: list[_Slot]
    output: Tensor
    features: Tensor
    after: ModelState
    first_frame: int


class Recorder:
    """Runs passes of one model, recorded ones where that is possible. Not thread-safe, as the model is not."""

    def __init__(self) -> None:
        self.reason = "no pass yet"
        self._graphs: OrderedDict[Hashable, _Graph | None] = OrderedDict()
        self._broken = False

    def __call__(
        self, transformer: SanaTransformer, x: Tensor, sigma: float, track: CameraTrack, state: ModelState,
        chunks: tuple[int, ...],
    ) -> Pass:  # fmt: skip
        """What ``transformer(x, sigma, track, state, chunks)`` gives, for frames that nobody saw."""
        level = x.new_full((1, 1), sigma)
        why_not = self._why_not(transformer, x, state)
        if why_not:
            self.reason = f"eager: {why_not}"
            return transformer(x, level, track, state, chunks)
        segment = transformer.tables(x, track, state, chunks, observed=0)[0]
        inputs = _inputs(x, level, segment, state)
        key = _key(inputs, chunks, state, transformer)
        if key not in self._graphs:
            # Once through without recording: kernels compile, tables are kept, and a shape met once costs nothing.
            self._graphs[key] = None
            if len(self._graphs) > MOST_GRAPHS:
                self._graphs.popitem(last=False)
            self.reason = "eager: shapes met for the first time"
            return _eager(transformer, x, level, segment, state)
        graph = self._graphs[key]
        if graph is None:
            try:
                graph = self._graphs[key] = _record(transformer, inputs, segment, state)
            except RuntimeError as error:
                self._broken = True
                self._graphs.clear()
                self.reason = f"eager: recording failed ({str(error).splitlines()[0]})"
                return _eager(transformer, x, level, segment, state)
        self._graphs.move_to_end(key)
        self.reason = f"CUDA graph, one of {sum(g is not None for g in self._graphs.values())}"
        return _replay(graph, inputs, state, segment.frames, transformer.config.sink_frames)

    def _why_not(self, transformer: SanaTransformer, x: Tensor, state: ModelState) -> str:
        """Why this pass can't be recorded, or nothing."""
        if x.device.type != "cuda":
            return f"{x.device.type} has no graphs"
        if self._broken:
            return "recording failed before"
        if torch.is_grad_enabled() and any(p.requires_grad for p in transformer.parameters()):
            return "gradients are wanted"
        config = transformer.config
        if state.next_frame < config.window_frames + config.sink_frames:
            return "the window is not full yet, so shapes still change"
        return ""


def _eager(
    transformer: SanaTransformer, x: Tensor, level: Tensor, segment: Segment, state: ModelState
) -> Pass:
    out, features, blocks = transformer.passed(x, level, segment, state.blocks)
    return out, features, replace(state, next_frame=state.next_frame + segment.frames, blocks=blocks)


def _parts(of: Segment | Recall) -> list[str]:
    """Names of the fields that are tensors here."""
    return [field.name for field in fields(of) if isinstance(getattr(of, field.name), Tensor)]


def _inputs(x: Tensor, level: Tensor, segment: Segment, state: ModelState) -> list[tuple[Tensor, int]]:
    """Everything that changes between passes of the same shapes, each with the axis of its candidates."""
    found = [(x, 0), (level, 0)]
    found += [(getattr(segment, name), 1) for name in _parts(segment)]
    if segment.recall is not None:
        found += [(getattr(segment.recall, name), 0) for name in _parts(segment.recall)]
    return [*found, *batch_axes(state)]


def _key(
    inputs: list[tuple[Tensor, int]], chunks: tuple[int, ...], state: ModelState, transformer: SanaTransformer
) -> Hashable:
    """What two passes must have in common for one graph to serve both."""
    shapes = tuple((x.shape, x.dtype, x.ndim > 0 and x.stride(axis) == 0) for x, axis in inputs)
    sink = transformer.config.sink_frames
    seen = tuple(
        tuple(n if n < sink else n - state.next_frame for n in block.frames)
        for block in state.blocks
        if isinstance(block, WindowState)
    )
    return (chunks, shapes, seen, id(transformer))


def _record(
    transformer: SanaTransformer, inputs: list[tuple[Tensor, int]], segment: Segment, state: ModelState
) -> _Graph:
    """Run the pass on memory of its own, then record it."""
    slots = [_Slot.like(x, axis) for x, axis in inputs]
    views = iter([slot.view for slot in slots])
    x, level = next(views), next(views)
    parts: dict[str, Any] = {name: next(views) for name in _parts(segment)}
    if segment.recall is not None:
        parts["recall"] = replace(segment.recall, **{name: next(views) for name in _parts(segment.recall)})
    # A new segment: what the old one keeps of derived tables belongs to its own numbers.
    own = replace(segment, **parts)
    before = with_tensors(state, tuple(views))

    def run() -> tuple[Tensor, Tensor, ModelState]:
        # The segment anew each time: it keeps derived tables, which belong to the numbers of one run.
        out, features, blocks = transformer.passed(x, level, replace(own), before.blocks)
        return out, features, replace(before, blocks=blocks)

    (out, features, after), again = captured(run)
    return _Graph(
        again=again, slots=slots, output=out, features=features, after=after, first_frame=state.next_frame
    )


def captured(run: Callable[[], Pass]) -> tuple[Pass, Callable[[], None]]:
    """A run's outputs, and what makes the same kernels overwrite them from the same inputs' memory again."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        run()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = run()
    return outputs, graph.replay


def _replay(
    graph: _Graph, inputs: list[tuple[Tensor, int]], state: ModelState, frames: int, sink: int
) -> Pass:
    """The recorded pass on new numbers. Outputs are copies: the graph's own are overwritten the next time."""
    for slot, (tensor, _) in zip(graph.slots, inputs, strict=True):
        slot.fill(tensor)
    graph.again()
    # What the pass handed through is the caller's own, still shared.
    own = {id(slot.view): tensor for slot, (tensor, _) in zip(graph.slots, inputs, strict=True)}
    after = graph.after.changed(lambda tensor, axis: own[id(tensor)] if id(tensor) in own else tensor.clone())
    later = state.next_frame - graph.first_frame
    blocks = tuple(_renumbered(block, later, sink) for block in after.blocks)
    left = replace(after, next_frame=state.next_frame + frames, blocks=blocks)
    return graph.output.clone(), graph.features.clone(), left


def _renumbered(block: DeltaState | WindowState, later: int, sink: int) -> DeltaState | WindowState:
    """A block's state with the window's frame numbers moved on; the sink's stay."""
    if not isinstance(block, WindowState):
        return block
    return replace(block, frames=tuple(n if n < sink else n + later for n in block.frames))
