"""Model folders: what was saved is what is loaded, and what is broken is refused by name."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from sana_wm_ros.world_model.checkpoint import BadCheckpoint, load_model, save_model
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.toy import INTRINSICS, camera_path, pictures, tiny_navigation_model

NAME = "transformer.blocks.0.attn.qkv.weight"


@pytest.fixture
def folder(tmp_path: Path, model: NavigationModel) -> Path:
    save_model(tmp_path / "tiny", model, card="# Tiny\n")
    return tmp_path / "tiny"


def test_a_saved_model_imagines_the_same(folder: Path, model: NavigationModel) -> None:
    loaded = load_model(folder)
    assert loaded.spec == model.spec
    assert sorted(path.name for path in folder.iterdir()) == [
        "MODEL_CARD.md",
        "config.yaml",
        "model.safetensors",
    ]
    rollouts = []
    for each in (model, loaded):
        context = each.start(INTRINSICS).extend(pictures(9), camera_path(9))
        rollouts.append(context.fork(2).imagine(camera_path(4, seed=1, batch=2))[1])
    for name, value in vars(rollouts[0]).items():
        assert torch.equal(value, getattr(rollouts[1], name)), name


def test_half_precision_files_are_half_the_size_and_load_as_float32(
    tmp_path: Path, model: NavigationModel
) -> None:
    save_model(tmp_path / "full", model)
    save_model(tmp_path / "half", model, dtype=torch.float16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    weights = load_model(tmp_path / "half").state_dict()[NAME]
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, model.state_dict()[NAME], atol=1e-3, rtol=1e-3)


def test_a_model_in_several_files_is_the_same_model(tmp_path: Path, model: NavigationModel) -> None:
    save_model(tmp_path, model, most_bytes=20_000)
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 3
    loaded = load_model(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in model.state_dict().items())
    next(iter(tmp_path.glob("model-00002-*"))).unlink()
    with pytest.raises(BadCheckpoint, match="model-00002-of-.*, which is not there; fetch the folder again"):
        load_model(tmp_path)


def test_saving_again_keeps_the_card(folder: Path, model: NavigationModel) -> None:
    save_model(folder, model)
    assert (folder / "MODEL_CARD.md").read_text() == "# Tiny\n"


def test_one_error_names_everything_that_does_not_fit(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["transformer.blocks.0.attn.visitor"] = torch.zeros(2)
    del tensors["heads.out.bias"]
    tensors[NAME] = tensors[NAME][:-1].contiguous()
    tensors["transformer.blocks.1.attn.A_log"][0] = torch.nan
    save_file(tensors, path)
    with pytest.raises(BadCheckpoint) as error:
        load_model(folder)
    for words in (
        "4 tensors do not fit",
        "extra transformer.blocks.0.attn.visitor (2,)",
        "missing heads.out.bias",
        f"misshapen {NAME} (95, 32), expected (96, 32)",
        "transformer.blocks.1.attn.A_log holds values that are not finite",
    ):
        assert words in str(error.value)


def test_whole_numbers_are_not_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors[NAME] = tensors[NAME].to(torch.int32)
    save_file(tensors, path)
    with pytest.raises(BadCheckpoint, match="int32, expected float32"):
        load_model(folder)


@pytest.mark.parametrize("keep", [0, 4, 1000, -1])
def test_truncated_weights_are_refused(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors: truncated or not safetensors"):
        load_model(folder)


def test_a_pickle_is_never_opened(folder: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return Path.touch, (folder / "sprung",)  # type: ignore[return-value]

    (folder / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(BadCheckpoint, match="not safetensors"):
        load_model(folder)
    assert not (folder / "sprung").exists()


@pytest.mark.parametrize(
    ("part", "name", "value", "words"),
    [
        ("transformer", "depth", 0, "depth is 0; expected a whole number from 1 to 128"),
        ("transformer", "depth", "eight", "depth is 'eight'"),
        ("transformer", "prediction", "score", "expected x0 or flow"),
        ("transformer", "heads", 3, "expected width 32"),
        ("transformer", "bounded_keys", "yes", "expected true or false"),
        ("transformer", "mlp_ratio", float("nan"), "mlp_ratio is nan"),
        ("transformer", "colour", 1, "unknown settings ['colour']"),
        ("heads", "max_range_m", -1, "max_range_m is -1"),
        ("heads", "sectors", 0, "sectors is 0"),
        ("autoencoder", "latent_channels", 0, "autoencoder"),
        ("autoencoder", "latent_channels", 7, "latents are (7, 4, 6)"),
        (None, "format", 99, "format is 99; this version reads 1"),
        (None, "frame_rate_hz", 0, "frame_rate_hz is 0"),
        (None, "extra", 0, "expected exactly"),
        (None, "heads", None, "heads is None"),
    ],
)
def test_bad_configurations_are_refused_with_reason(
    folder: Path, part: str | None, name: str, value: object, words: str
) -> None:
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    (config[part] if part else config)[name] = value
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(BadCheckpoint) as error:
        load_model(folder)
    assert words in str(error.value)


def test_a_missing_setting_is_named(folder: Path) -> None:
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    del config["transformer"]["window_frames"]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(BadCheckpoint, match=r"lacks \['window_frames'\]"):
        load_model(folder)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "{", "\x00", "!!python/object/apply:os.getcwd []"])
def test_a_configuration_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "config.yaml").write_text(text)
    with pytest.raises(BadCheckpoint, match=r"config\.yaml"):
        load_model(folder)


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="no such folder"):
        load_model(tmp_path / "nowhere")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BadCheckpoint, match="no such file"):
        load_model(folder)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    broken = tiny_navigation_model()
    broken.transformer.final_layer.linear.weight.data[0, 0] = torch.inf
    with pytest.raises(BadCheckpoint, match="not saved"):
        save_model(tmp_path / "broken", broken)
    assert not (tmp_path / "broken" / "model.safetensors").exists()
