"""Published files are read in every layout, strictly, and what is broken or hostile is refused by name."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from published_fixtures import camera, caption, noise, tiny_transformer
from safetensors.torch import save_file
from torch import Tensor

from sana_wm_ros.world_model.checkpoint import BadCheckpoint
from sana_wm_ros.world_model.published.layouts import ANY, DIFFUSERS, NVIDIA, TRAINER, Layout, ignored_shapes
from sana_wm_ros.world_model.published.weights import describe, load_transformer, open_weights
from sana_wm_ros.world_model.toy import TINY_SANA_WM
from sana_wm_ros.world_model.transformer import SanaTransformer


@pytest.fixture(scope="module")
def model() -> SanaTransformer:
    return tiny_transformer()


def tensors(model: SanaTransformer, layout: Layout) -> dict[str, Tensor]:
    """All that a file of this layout holds, unread tensors included."""
    unread = {
        name: torch.ones([7 if n == ANY else n for n in shape])
        for name, shape in ignored_shapes(model.config).items()
        if name not in layout.absent
    }
    return {layout.theirs(name): value for name, value in (dict(model.state_dict()) | unread).items()}


def written(folder: Path, layout: Layout, held: dict[str, Tensor]) -> Path:
    """A small file in a layout, as its repository has it."""
    if layout is TRAINER:
        path = folder / "sana_dit" / "model.pt"
        path.parent.mkdir()
        torch.save({"generator": held, "step": 3}, path)
        return path
    if layout is DIFFUSERS:
        path = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
        path.parent.mkdir()
        names = sorted(held)
        parts = {"part-1.safetensors": names[::2], "part-2.safetensors": names[1::2]}
        for part, inside in parts.items():
            save_file({name: held[name] for name in inside}, path.parent / part)
        weight_map = {name: part for part, inside in parts.items() for name in inside}
        path.write_text(json.dumps({"weight_map": weight_map}))
        return path
    path = folder / "dit" / "sana_wm_1600m_720p.safetensors"
    path.parent.mkdir()
    save_file(held, path)
    return path


@pytest.mark.parametrize("layout", [NVIDIA, DIFFUSERS, TRAINER], ids=lambda layout: layout.name)
def test_each_layout_loads_and_says_the_same(tmp_path: Path, model: SanaTransformer, layout: Layout) -> None:
    path = written(tmp_path, layout, tensors(model, layout))
    inputs = (noise(4), torch.full((1, 4), 0.7), camera(4))
    expected, _, _ = model(*inputs, text=caption(model))
    for place in (path, tmp_path):
        loaded = load_transformer(place, TINY_SANA_WM, dtype=torch.float32)
        assert not loaded.training
        for name, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], value)
        # Where in memory weights lie may change the order of a sum.
        torch.testing.assert_close(loaded(*inputs, text=caption(loaded))[0], expected, atol=1e-5, rtol=1e-4)
    assert open_weights(path).layout is layout
    assert load_transformer(path, TINY_SANA_WM).device == torch.device("cpu")
    assert next(load_transformer(path, TINY_SANA_WM).parameters()).dtype == torch.bfloat16


def test_the_form_is_told_by_name_and_layout(tmp_path: Path, model: SanaTransformer) -> None:
    trainer = written(tmp_path, TRAINER, tensors(model, TRAINER))
    assert open_weights(trainer).likely_form() == "streaming"
    for name, form in (
        ("sana_wm_1600m_720p", "bidirectional"),
        ("sana_wm_chunk_causal_1600m_720p", "chunk_causal"),
    ):
        save_file(tensors(model, NVIDIA), tmp_path / f"{name}.safetensors")
        assert open_weights(tmp_path / f"{name}.safetensors").likely_form() == form


@pytest.mark.parametrize("layout", [NVIDIA, DIFFUSERS, TRAINER], ids=lambda layout: layout.name)
def test_one_error_names_everything_that_does_not_fit(
    tmp_path: Path, model: SanaTransformer, layout: Layout
) -> None:
    held = tensors(model, layout)
    gone, cut, whole = map(
        layout.theirs, ("blocks.1.attn.proj.bias", "final_layer.linear.weight", "blocks.0.attn.A_log")
    )
    del held[gone]
    held[cut] = held[cut][:-1].contiguous()
    held[whole] = torch.zeros(2, dtype=torch.int32)
    held["visitor"] = torch.zeros(2)
    with pytest.raises(BadCheckpoint) as error:
        load_transformer(written(tmp_path, layout, held), TINY_SANA_WM)
    for words in (
        "4 tensors are not those of SANA-WM",
        f"missing {gone} (48,)",
        f"misshapen {cut} (5, 48), expected (6, 48)",
        f"{whole} holds I32" if layout is not TRAINER else f"{whole} holds torch.int32",
        "extra visitor (2,)",
    ):
        assert words in str(error.value)


def test_values_that_are_not_finite_are_refused(tmp_path: Path, model: SanaTransformer) -> None:
    held = tensors(model, NVIDIA)
    held["t_block.1.bias"] = held["t_block.1.bias"].clone()
    held["t_block.1.bias"][3] = torch.inf
    with pytest.raises(BadCheckpoint, match=r"t_block\.1\.bias holds values that are not finite"):
        load_transformer(written(tmp_path, NVIDIA, held), TINY_SANA_WM)


class Trap:
    """Unpickled freely it would leave a file behind."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.sprung,)


@pytest.mark.parametrize("how", ["archive", "plain pickle", "beside tensors", "named safetensors"])
def test_a_pickled_payload_never_runs(tmp_path: Path, model: SanaTransformer, how: str) -> None:
    trap = Trap(tmp_path / "sprung")
    path = tmp_path / ("model.safetensors" if how == "named safetensors" else "model.pt")
    if how == "archive":
        torch.save(trap, path)
    elif how == "beside tensors":
        torch.save({"generator": tensors(model, TRAINER), "extra": trap}, path)
    else:
        path.write_bytes(pickle.dumps({"generator": trap}))
    for act in (open_weights, load_transformer, describe):
        with pytest.raises(BadCheckpoint, match=r"not opened|not safetensors"):
            act(path)
    assert not (tmp_path / "sprung").exists()
    # The trap is a real one.
    pickle.loads(pickle.dumps(trap))  # noqa: S301
    assert (tmp_path / "sprung").exists()


@pytest.mark.parametrize("layout", [NVIDIA, TRAINER], ids=lambda layout: layout.name)
@pytest.mark.parametrize("keep", [0, 3, 900, -100])
def test_a_file_that_is_cut_short_is_refused(
    tmp_path: Path, model: SanaTransformer, layout: Layout, keep: int
) -> None:
    path = written(tmp_path, layout, tensors(model, layout))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadCheckpoint, match=r"truncated|cut short"):
        load_transformer(path, TINY_SANA_WM)


def test_other_files_are_refused_with_what_was_expected(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "a.pt")
    torch.save({"generator": {"x": 3}}, tmp_path / "b.pt")
    save_file({"lm_head.weight": torch.zeros(2)}, tmp_path / "c.safetensors")
    (tmp_path / "d.index.json").write_text('{"weight_map": {"x": "../../etc/passwd"}}')
    (tmp_path / "e.index.json").write_text("[]")
    for name, words in (
        ("a.pt", "under the key 'generator'"),
        ("b.pt", "more than tensors: x"),
        ("c.safetensors", "none of the layouts"),
        ("d.index.json", "expected files beside it"),
        ("e.index.json", "not an index"),
        ("f.safetensors", "no such file"),
        ("g.onnx", "no such file"),
    ):
        with pytest.raises(BadCheckpoint, match=words):
            open_weights(tmp_path / name)
    with pytest.raises(BadCheckpoint, match="name the file"):
        open_weights(tmp_path)


def test_a_file_is_described_without_being_loaded(tmp_path: Path, model: SanaTransformer) -> None:
    facts = describe(written(tmp_path, TRAINER, tensors(model, TRAINER)))
    assert facts["layout"].startswith("trainer")
    assert facts["form"].startswith("streaming")
    assert facts["fits the published size"].startswith("no: ")
    assert facts["tensors"].startswith("192, ")
    assert "caption" not in facts
    whole = describe(tmp_path)
    assert whole["video autoencoder"] == "none: expected vae or ltx2_causal_vae"
    assert whole["caption"] == "none: make caption.safetensors with sana_wm prompt"
    assert facts["not read"].startswith("1: a table of positions; rotary embedding took its place; ")
