"""A published repository on disk becomes a world model, or is refused with what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published_fixtures import tiny_transformer, tiny_video
from safetensors.torch import save_file

from sana_wm_ros.world_model.checkpoint import BadCheckpoint, open_model
from sana_wm_ros.world_model.published.caption import Caption, save_caption
from sana_wm_ros.world_model.published.folder import open_published, read_settings
from sana_wm_ros.world_model.published.layouts import ANY, NVIDIA, TRAINER, Layout, ignored_shapes
from sana_wm_ros.world_model.toy import INTRINSICS, TINY_SANA_WM, camera_path, pictures


def weights(layout: Layout) -> dict[str, torch.Tensor]:
    model = tiny_transformer()
    unread = {
        name: torch.zeros([3 if n == ANY else n for n in shape])
        for name, shape in ignored_shapes(model.config).items()
    }
    return {layout.theirs(name): value for name, value in (dict(model.state_dict()) | unread).items()}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The streaming repository, small: transformer, causal autoencoder, and the user's two files."""
    folder = tmp_path / "SANA-WM"
    (folder / "sana_dit").mkdir(parents=True)
    torch.save({"generator": weights(TRAINER)}, folder / "sana_dit" / "model.pt")
    tiny_video().network.save_pretrained(folder / "ltx2_causal_vae")
    caption = Caption(embedding_1LE=torch.ones(1, 3, 10), mask_1L=torch.ones(1, 3, dtype=torch.bool))
    save_caption(folder / "caption.safetensors", caption)
    (folder / "planning.yaml").write_text("image_height: 64\nimage_width: 96\n")
    return folder


@torch.no_grad()
def test_a_whole_repository_imagines(repository: Path) -> None:
    model = open_published(repository, config=TINY_SANA_WM, dtype=torch.float32)
    context = model.start(INTRINSICS).extend(pictures(9), camera_path(9))
    _, rollout = context.fork(2).imagine(camera_path(3, seed=1, batch=2))
    assert rollout.latents_NFCHW.shape == (2, 3, 6, 2, 3)
    assert rollout.latents_NFCHW.isfinite().all()
    # In the precision of published pipelines, too.
    half = open_published(repository, config=TINY_SANA_WM)
    _, rounded = (
        half.start(INTRINSICS)
        .extend(pictures(9), camera_path(9))
        .fork(1)
        .imagine(camera_path(3, seed=1, batch=1))
    )
    assert rounded.latents_NFCHW.dtype == torch.float32 and rounded.latents_NFCHW.isfinite().all()


def test_small_weights_are_not_the_published_ones(repository: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"expected \(tokens, 2304\)"):
        open_model(repository)
    (repository / "caption.safetensors").unlink()
    save_file({"embedding": torch.ones(1, 2304)}, repository / "caption.safetensors")
    with pytest.raises(BadCheckpoint, match="tensors are not those of SANA-WM"):
        open_model(repository)


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ("caption.safetensors", "sana_wm prompt TEXT --encoder FOLDER"),
        ("ltx2_causal_vae", "no video autoencoder; expected a folder vae or ltx2_causal_vae"),
        ("sana_dit/model.pt", "expected one file of transformer weights, found none"),
    ],
)
def test_a_missing_part_is_named(repository: Path, gone: str, words: str) -> None:
    (repository / gone).rename(repository / "elsewhere")
    with pytest.raises(BadCheckpoint, match=words):
        open_published(repository, config=TINY_SANA_WM)


def test_bidirectional_weights_are_not_planned_with(tmp_path: Path) -> None:
    (tmp_path / "dit").mkdir()
    save_file(weights(NVIDIA), tmp_path / "dit" / "sana_wm_1600m_720p.safetensors")
    with pytest.raises(BadCheckpoint, match="use SANA-WM_streaming"):
        open_model(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_height: 700", "multiple of 32"),
        ("image_width: true", "multiple of 32"),
        ("form: fast", "expected one of bidirectional, chunk_causal, streaming"),
        ("colour: red", "expected settings among form, image_height, image_width"),
        ("- 1", "expected settings among"),
        ("{", "planning.yaml"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "planning.yaml"
    path.write_text(text)
    with pytest.raises(BadCheckpoint, match=words):
        read_settings(path)


def test_without_settings_pictures_are_as_published(tmp_path: Path) -> None:
    settings = read_settings(tmp_path / "planning.yaml")
    assert (settings.image_height, settings.image_width, settings.form) == (704, 1280, None)
