"""Exported programs do what the model does: ONNX in onnxruntime, AOTInductor as torch loads it, both on the CPU."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from sana_wm_ros.cli.main import app
from sana_wm_ros.world_model.camera import CameraTrack, relative_to
from sana_wm_ros.world_model.exporting import (
    OUTPUTS,
    CannotExport,
    ChunkStep,
    Decoder,
    export_model,
)
from sana_wm_ros.world_model.model import NavigationBatch, NavigationModel
from sana_wm_ros.world_model.sampler import shared_noise
from sana_wm_ros.world_model.state import tensors_of, with_tensors
from sana_wm_ros.world_model.toy import INTRINSICS, camera_path, pictures, tiny_navigation_model

Program = Callable[..., list[Tensor]]


@pytest.fixture(scope="module")
def model() -> NavigationModel:
    """A block of each kind, a window that is full after four latent frames, and keyframe memory as ``nano`` has."""
    return tiny_navigation_model(
        depth=2, softmax_every=2, window_frames=3, keyframes=4, keyframe_reads=2, keyframe_guide=True
    )


def started(model: NavigationModel, candidates: int, latent_frames: int = 7) -> NavigationBatch:
    raw = 1 + 4 * latent_frames
    context = model.start(INTRINSICS).extend(pictures(raw), camera_path(raw))
    return context.fork(candidates)


def track_of(batch: NavigationBatch, poses_NF44: Tensor) -> CameraTrack:
    return CameraTrack(
        poses_BF44=relative_to(batch.anchor_44, poses_NF44),
        before_B44=relative_to(batch.anchor_44, batch.last_poses_N44),
        intrinsics_B4=batch.intrinsics_4.expand(batch.size, 4),
    )


def assert_imagines_alike(model: NavigationModel, program: Program, candidates: int) -> None:
    """Two chunks after each other, the second from the state that the first one left."""
    step = ChunkStep(model)
    batch = started(model, candidates)
    poses = camera_path(2 * step.chunk, seed=3, batch=candidates)
    _, truth = batch.imagine(poses)
    track, state = track_of(batch, poses), batch.state
    for start in (0, step.chunk):
        stop = start + step.chunk
        noise = shared_noise(step.chunk, model.spec.latent_shape, state.next_frame, None)
        noise = noise.expand(candidates, -1, -1, -1, -1)
        outputs = program(*step.inputs(noise, 1.0, track.slice(start, stop), state))
        said = dict(zip(OUTPUTS, outputs, strict=False))
        for name, rows in [("clean", "latents_NFCHW"), ("collision", "collision_NF"), ("place", "place_NFE"),
                           ("clearance", "clearance_NFK"), ("uncertainty", "uncertainty_NF")]:  # fmt: skip
            wanted = getattr(truth, rows)[:, start:stop]
            torch.testing.assert_close(
                said[name], wanted, atol=2e-4, rtol=2e-4, msg=lambda m, n=name: f"{n}: {m}"
            )
        after = with_tensors(step.template, tuple(outputs[len(OUTPUTS) :]))
        # Frame numbers of the window are the template's: the program never looks at them.
        state = replace(after, next_frame=state.next_frame + step.chunk)


def test_the_step_itself_is_what_the_model_does(model: NavigationModel) -> None:
    """Before any exporter: a step from tensors to tensors equals imagining."""
    with torch.no_grad():
        assert_imagines_alike(model, lambda *inputs: list(ChunkStep(model)(*inputs)), 2)


def test_a_context_too_short_for_the_step_is_refused(model: NavigationModel) -> None:
    batch = started(model, 1, latent_frames=2)
    track = track_of(batch, camera_path(2, batch=1))
    with pytest.raises(CannotExport, match="extend the context to 4 latent frames first"):
        ChunkStep(model).inputs(torch.zeros(1, 2, *model.spec.latent_shape), 1.0, track, batch.state)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestOnnx:
    """One export, of a step that takes any number of candidates."""

    @pytest.fixture(scope="class")
    @staticmethod
    def folder(model: NavigationModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
        pytest.importorskip("onnxscript", reason="needs the extra export")
        folder = tmp_path_factory.mktemp("onnx")
        export_model(model, folder, "onnx")
        return folder

    @staticmethod
    def program(path: Path) -> Program:
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]

        def run(*inputs: Tensor) -> list[Tensor]:
            given = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
            return [torch.from_numpy(value) for value in session.run(None, given)]

        return run

    @pytest.mark.parametrize("candidates", [1, 3])
    def test_imagines_what_the_model_imagines(
        self, model: NavigationModel, folder: Path, candidates: int
    ) -> None:
        assert_imagines_alike(model, self.program(folder / "chunk_step.onnx"), candidates)

    def test_decodes_what_the_model_decodes(self, model: NavigationModel, folder: Path) -> None:
        latents = torch.randn(3, *model.spec.latent_shape, generator=torch.Generator().manual_seed(1))
        (drawn,) = self.program(folder / "decoder.onnx")(latents)
        wanted = model.decode(latents)
        assert drawn.flatten(0, 1).shape == wanted.shape
        assert int((drawn.flatten(0, 1).int() - wanted.int()).abs().max()) <= 1
        assert torch.equal(Decoder(model)(latents).flatten(0, 1), wanted)

    def test_the_interface_file_names_every_input(self, model: NavigationModel, folder: Path) -> None:
        described = json.loads((folder / "interface.json").read_text())
        step = ChunkStep(model)
        assert described["chunk_step"]["inputs"][6:] == step.state_names
        assert len(described["chunk_step"]["shapes"]) == 6 + len(tensors_of(step.template))
        assert described["candidates"] == "any" and described["window_frames"] == 4


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_model_that_knows_places_as_phases_is_exported_alike(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra export")
    rotary = tiny_navigation_model(
        depth=2, softmax_every=2, window_frames=2, conv_width=2, translation="rotary"
    )
    export_model(rotary, tmp_path, "onnx", candidates=2, programs=("chunk_step",))
    assert_imagines_alike(rotary, TestOnnx.program(tmp_path / "chunk_step.onnx"), 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler (g++)")
class TestAotInductor:
    """A Gated DeltaNet block, a window block, camera branches, heads; compiling more of them shows nothing more."""

    @pytest.fixture(scope="class")
    @staticmethod
    def smallest() -> NavigationModel:
        return tiny_navigation_model(depth=2, softmax_every=2, window_frames=2, conv_width=2)

    @staticmethod
    def program(model: NavigationModel, folder: Path, name: str) -> Any:
        export_model(model, folder, "aoti", candidates=2, programs=(name,))
        return torch._inductor.aoti_load_package(str(folder / f"{name}.pt2"))

    def test_imagines_what_the_model_imagines(self, smallest: NavigationModel, tmp_path: Path) -> None:
        step = self.program(smallest, tmp_path, "chunk_step")
        with torch.no_grad():
            assert_imagines_alike(smallest, lambda *inputs: list(step(*inputs)), 2)

    def test_decodes_what_the_model_decodes(self, smallest: NavigationModel, tmp_path: Path) -> None:
        latents = torch.randn(3, *smallest.spec.latent_shape, generator=torch.Generator().manual_seed(1))
        drawn = self.program(smallest, tmp_path, "decoder")(latents).flatten(0, 1)
        assert int((drawn.int() - smallest.decode(latents).int()).abs().max()) <= 1


def test_a_folder_without_validation_drives_is_refused_in_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["export", "--run", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 2 and "give --validation" in result.stderr
