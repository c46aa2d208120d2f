"""The chunk step and the decoder as programs that run without this package: ONNX (TensorRT's input), AOTInductor.

Everything that changes between calls is an input: latents, noise level, camera, position in time and the state,
tensor by tensor; everything else is fixed. The step is for the state that a context has once its softmax window
is full (8.5 s for ``nano``): ``ChunkStep.inputs`` takes it from there.
Dimension letters: N candidates, F latent frames of the chunk, C channels, H and W latent rows and columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.attention import TwoBranchAttention
from sana_wm_ros.world_model.camera import CameraTrack
from sana_wm_ros.world_model.keyframes import recall
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.segment import make_segment
from sana_wm_ros.world_model.state import ModelState, batch_axes, tensors_of, with_tensors

Format = Literal["onnx", "aoti"]
SUFFIX: dict[str, str] = {"onnx": ".onnx", "aoti": ".pt2"}
PROGRAMS = ("chunk_step", "decoder")
OUTPUTS = ("clean", "collision", "clearance", "uncertainty", "place")


class CannotExport(ValueError):
    """A model or machine that this cannot be done with; says why and what to do."""


class ChunkStep(nn.Module):
    """One denoising pass over one chunk: noisy latents in, clean ones, heads' outputs and the new state out."""

    def __init__(self, model: NavigationModel, chunk_frames: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.chunk = chunk_frames or model.transformer.config.chunk_frames
        config = model.transformer.config
        self.seen = config.window_frames + config.sink_frames
        with torch.no_grad():
            self.template = self._full_state()

    def _full_state(self) -> ModelState:
        """A state whose window is full, whatever is in it: its shapes and frame numbers."""
        config, device = self.model.transformer.config, self.model.device
        track = CameraTrack(
            poses_BF44=torch.eye(4, device=device).repeat(1, self.seen, 1, 1),
            before_B44=torch.eye(4, device=device)[None],
            intrinsics_B4=torch.tensor([[3.0, 3.0, 2.5, 1.5]], device=device),
        )
        shape = (config.latent_channels, config.latent_height, config.latent_width)
        x = torch.zeros(1, self.seen, *shape, device=device)
        return self.model.transformer(x, x.new_zeros(1, 1), track)[2]

    @property
    def state_names(self) -> list[str]:
        """Names of the state's tensors in their order: block0.memory_BHRD, ..., keyframes.poses_BK44."""
        parts: list[tuple[str, Any]] = [(f"block{i}", block) for i, block in enumerate(self.template.blocks)]
        parts += [("keyframes", self.template.keyframes)] if self.template.keyframes else []
        return [
            f"{part}.{name}"
            for part, of in parts
            for name, value in vars(of).items()
            if isinstance(value, Tensor)
        ]

    def inputs(
        self, x_NFCHW: Tensor, sigma: float, track: CameraTrack, state: ModelState
    ) -> tuple[Tensor, ...]:
        """What ``forward`` takes, from a batch's state; ``CannotExport`` while its window is not full.

        All of it is contiguous: AOTInductor's programs believe in the strides they were compiled for.
        """
        tensors = tensors_of(state)
        full = [x.shape[:axis] + x.shape[axis + 1 :] for x, axis in batch_axes(self.template)]
        found = [x.shape[:axis] + x.shape[axis + 1 :] for x, axis in batch_axes(state)]
        if full != found:
            raise CannotExport(
                f"this step is for a full window: extend the context to {self.seen} latent frames first"
            )
        position = torch.tensor(state.next_frame, device=x_NFCHW.device)
        level = x_NFCHW.new_full((1, 1), sigma)
        rows = len(x_NFCHW)
        states = [
            x.expand(*x.shape[:axis], rows, *x.shape[axis + 1 :]).contiguous()
            for x, axis in batch_axes(state)
        ]
        assert len(states) == len(tensors)
        return (
            x_NFCHW.contiguous(), level, track.poses_BF44.contiguous(), track.before_B44.contiguous(),
            track.intrinsics_B4.contiguous(), position, *states,
        )  # fmt: skip

    def forward(
        self, x_NFCHW: Tensor, sigma_11: Tensor, poses_NF44: Tensor, before_N44: Tensor, intrinsics_N4: Tensor,
        position: Tensor, *state: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """``OUTPUTS``, then the state's tensors. Poses are relative to the context's anchor, in metres."""
        transformer, config = self.model.transformer, self.model.transformer.config
        track = CameraTrack(poses_BF44=poses_NF44, before_B44=before_N44, intrinsics_B4=intrinsics_N4)
        before = with_tensors(self.template, state)
        found = None
        if before.keyframes is not None:
            nothing = x_NFCHW.flatten(3).transpose(2, 3)[:, :0]
            found, _ = recall(config, before.keyframes, track, position, (self.chunk,), nothing)
        # The template's numbers decide what the window shows; only the distance between them matters.
        first = self.template.next_frame
        segment = make_segment(config, track, first, (self.chunk,), found, position)
        out, features, blocks = transformer.passed(x_NFCHW, sigma_11, segment, before.blocks)
        clean = out if config.prediction == "x0" else x_NFCHW - sigma_11[..., None, None, None] * out
        said = self.model.heads(features)
        after = replace(before, blocks=blocks)
        return (
            clean, said.collision_BF, said.clearance_BFK, said.uncertainty_BF, said.place_BFE, *tensors_of(after),
        )  # fmt: skip


class Decoder(nn.Module):
    """Normalised latents (F, C, H, W) to pictures (F, R, rows, columns, 3), uint8."""

    def __init__(self, model: NavigationModel) -> None:
        super().__init__()
        self.autoencoder = model.autoencoder

    def forward(self, latents_FCHW: Tensor) -> Tensor:
        """Pictures of each latent frame's raw frames."""
        pixels = self.autoencoder.decode_groups(self.autoencoder.unnormalise(latents_FCHW))
        return ((pixels + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


@contextmanager
def portable(model: nn.Module) -> Iterator[None]:
    """Attention in the form that exporters can follow, for as long as the block lasts."""
    blocks = [module for module in model.modules() if isinstance(module, TwoBranchAttention)]
    names = [block.form_name for block in blocks]
    for block in blocks:
        block.form_name = "portable"
    try:
        yield
    finally:
        for block, name in zip(blocks, names, strict=True):
            block.form_name = name


def export_model(
    model: NavigationModel,
    folder: Path,
    kind: Format,
    *,
    candidates: int | None = None,
    programs: tuple[str, ...] = PROGRAMS,
) -> list[Path]:
    """Write ``chunk_step`` and ``decoder`` as programs, and ``interface.json`` that names inputs and outputs.

    candidates: how many side by side; None leaves it to the caller of the program, which costs AOTInductor some speed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    step, decoder = ChunkStep(model), Decoder(model)
    names = ["x", "sigma", "poses", "before", "intrinsics", "position", *step.state_names]
    outputs = [*OUTPUTS, *(f"new.{name}" for name in step.state_names)]
    example = example_inputs(step, candidates or 2)
    latents = torch.zeros(2, *model.spec.latent_shape, device=model.device)
    rows = None if candidates else torch.export.Dim("candidates", min=1, max=4096)
    frames = torch.export.Dim("frames", min=1, max=4096)
    each: dict[int, Any] = {0: rows}
    states = tuple({axis: rows} for _, axis in batch_axes(step.template))
    free = (each, None, each, each, each, None, states)
    made = [
        ("chunk_step", step, example, names, outputs, None if rows is None else free),
        ("decoder", decoder, (latents,), ["latents"], ["pictures"], ({0: frames},)),
    ]
    written = []
    for name, module, inputs, taken, given, dynamic in made:
        if name not in programs:
            continue
        path = folder / f"{name}{SUFFIX[kind]}"
        _write(traced(module, inputs, dynamic), path, kind, taken, given)
        written.append(path)
    described = {
        "format": kind,
        "chunk_frames": step.chunk,
        "window_frames": step.seen,
        "candidates": candidates or "any",
        "position": "number of the chunk's first latent frame",
        "layout": "every input contiguous, in the order of its axes; other strides are misread",
        "chunk_step": {"inputs": names, "outputs": outputs, "shapes": [list(x.shape) for x in example]},
        "decoder": {"inputs": ["latents"], "outputs": ["pictures"], "shapes": [list(latents.shape)]},
    }
    (folder / "interface.json").write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")
    return [*written, folder / "interface.json"]


def traced(module: nn.Module, inputs: tuple[Tensor, ...], dynamic: Any = None) -> Any:
    """A module as torch's exported program, for inputs of these shapes; ``dynamic`` says which sizes may differ."""
    with torch.no_grad(), portable(module):
        return torch.export.export(
            module.eval(), inputs, dynamic_shapes=dynamic, strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )  # fmt: skip


def example_inputs(step: ChunkStep, candidates: int) -> tuple[Tensor, ...]:
    """Inputs of the right shapes, standing still in noise."""
    model, device = step.model, step.model.device
    noise = torch.randn(
        candidates, step.chunk, *model.spec.latent_shape, generator=torch.Generator().manual_seed(0)
    )
    track = CameraTrack(
        poses_BF44=torch.eye(4, device=device).repeat(candidates, step.chunk, 1, 1),
        before_B44=torch.eye(4, device=device).repeat(candidates, 1, 1),
        intrinsics_B4=torch.tensor([[3.0, 3.0, 2.5, 1.5]], device=device).repeat(candidates, 1),
    )
    return step.inputs(noise.to(device), 1.0, track, step.template)


def _write(program: Any, path: Path, kind: Format, inputs: list[str], outputs: list[str]) -> None:
    """An exported program as a file of the format asked for."""
    if kind == "aoti":
        from torch._inductor import aoti_compile_and_package
        from torch._inductor.exc import InductorError

        try:
            aoti_compile_and_package(program, package_path=str(path))
        except InductorError as error:
            raise CannotExport(
                f"AOTInductor could not compile (it needs a C++ compiler, as g++): {error}"
            ) from error
        return
    try:
        import onnxscript  # noqa: F401 (torch's exporter imports it only when it is too late for a clear message)
    except ImportError as error:
        raise CannotExport("ONNX needs more packages: pip install 'sana_wm_ros[export]'") from error
    torch.onnx.export(
        program, f=str(path), dynamo=True, input_names=inputs, output_names=outputs, external_data=False,
        optimize=True, verbose=False,
    )  # fmt: skip
