"""Recorded passes give what plain ones give; where nothing can be recorded, passes run and the reason is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model import graphs
from sana_wm_ros.world_model.graphs import Recorder
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.protocol import Rollout
from sana_wm_ros.world_model.state import tensors_of
from sana_wm_ros.world_model.toy import INTRINSICS, camera_path, pictures, tiny_navigation_model

ON_GPU = torch.cuda.is_available()


def imagined(model: NavigationModel, latent_frames: int = 8) -> tuple[Rollout, list[Tensor], int]:
    """Twelve frames for three candidates, then eight more for two of them."""
    raw = 1 + 4 * latent_frames
    batch = model.start(INTRINSICS).extend(pictures(raw), camera_path(raw)).fork(3)
    poses = camera_path(40, seed=3, batch=3)
    batch, first = batch.imagine(poses[:, :24])
    batch, second = batch.select(torch.tensor([2, 0])).imagine(poses[[2, 0], 24:])
    return (
        Rollout.cat([first.select(torch.tensor([2, 0])), second]),
        tensors_of(batch.state),
        batch.state.next_frame,
    )


def assert_alike(model: NavigationModel, recorder: Recorder, tolerance: float) -> None:
    truth, state, frame = imagined(model)
    model.recorder = recorder
    mine, my_state, my_frame = imagined(model)
    assert my_frame == frame
    for name, value in vars(truth).items():
        torch.testing.assert_close(
            getattr(mine, name), value, atol=tolerance, rtol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )
    for a, b in zip(my_state, state, strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance)


class _Replayed(Recorder):
    """Records on a CPU too, as ``again_on_cpu`` does."""

    def _why_not(self, *arguments: Any) -> str:
        why = super()._why_not(*arguments)
        return "" if why == "cpu has no graphs" and arguments[2].next_frame >= 6 else why


def again_on_cpu(counts: list[int]) -> Callable[..., Any]:
    """What a CUDA graph does, without one: the same work from the same inputs' memory into the same outputs'."""

    def captured(run: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        out, features, after = run()

        def again() -> None:
            counts.append(1)
            new_out, new_features, new_after = run()
            pairs = [
                (out, new_out),
                (features, new_features),
                *zip(tensors_of(after), tensors_of(new_after), strict=True),
            ]
            for old, new in pairs:
                if old is not new:
                    old.copy_(new)

        return (out, features, after), again

    return captured


@pytest.mark.parametrize("keyframes", [0, 4], ids=["plain", "with keyframes"])
def test_replayed_passes_give_what_plain_ones_give(monkeypatch: pytest.MonkeyPatch, keyframes: int) -> None:
    counts: list[int] = []
    monkeypatch.setattr(graphs, "captured", again_on_cpu(counts))
    model = tiny_navigation_model(
        depth=2,
        softmax_every=2,
        window_frames=5,
        keyframes=keyframes,
        keyframe_reads=2,
        keyframe_guide=keyframes > 0,
    )
    recorder = _Replayed()
    assert_alike(model, recorder, 1e-5)
    # Segments of 8 frames: shared state, own state twice (the second one replays); after the choice once more of two.
    assert len(counts) >= 1 and "CUDA graph" in recorder.reason


def test_a_cpu_runs_passes_as_they_are_and_says_so(model: NavigationModel) -> None:
    imagined(model)
    assert model.recorder.reason == "eager: cpu has no graphs"


def test_where_recording_fails_the_pass_still_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(run: Callable[[], Any]) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nmore words")

    monkeypatch.setattr(graphs, "captured", fails)
    model = tiny_navigation_model(depth=2, softmax_every=2, window_frames=5)
    recorder = _Replayed()
    assert_alike(model, recorder, 1e-5)
    assert recorder.reason.startswith("eager: recording failed")


def test_bf16_imagines_nearly_what_fp32_does() -> None:
    """On random weights, whose outputs are of unit size: errors of a hundredth, growing a little with time."""
    model = tiny_navigation_model()
    truth, _, _ = imagined(model)
    model.transformer.bfloat16()
    mine, _, _ = imagined(model)
    error = (mine.latents_NFCHW - truth.latents_NFCHW).abs().mean((0, 2, 3, 4)) / truth.latents_NFCHW.std()
    assert mine.collision_NF.dtype == torch.float32
    assert error[:8].max() < 0.03 and error.max() < 0.1


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")
@pytest.mark.parametrize("keyframes", [0, 4], ids=["plain", "with keyframes"])
def test_cuda_graphs_give_what_passes_one_by_one_give(keyframes: int) -> None:
    model = tiny_navigation_model(
        depth=4, window_frames=5, keyframes=keyframes, keyframe_reads=2, keyframe_guide=keyframes > 0
    ).to("cuda")

    class _Never(Recorder):
        def _why_not(self, *arguments: Any) -> str:
            return "asked not to"

    model.recorder = _Never()
    assert_alike(model, recorder := Recorder(), 1e-4)
    assert recorder.reason.startswith("CUDA graph")
