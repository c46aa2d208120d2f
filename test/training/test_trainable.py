"""SANA-WM itself is trained by no command: whoever asks hears what there is instead, before anything is read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sana_wm_ros.cli.finetune import finetune
from sana_wm_ros.cli.train import train
from sana_wm_ros.training.trainable import NotTrainable, check_trainable

INSTEAD = ("sana_wm finetune --model models/nano", "sana_wm train --preset small", "training/sharding.py")


@pytest.fixture(params=["name", "folder", "file"])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SANA-WM as a person may name it: the preset, a folder as downloaded, its file of weights."""
    if request.param == "name":
        return "sana_wm"
    (tmp_path / "downloaded" / "sana_dit").mkdir(parents=True)
    file = tmp_path / "downloaded" / "sana_dit" / "model.pt"
    file.touch()
    return str(file if request.param == "file" else tmp_path / "downloaded")


def test_finetune_says_what_there_is_instead(published: str, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(finetune)
    asked = [str(tmp_path / "no_bag"), "--model", published, "--out", str(tmp_path / "mine")]
    refused = CliRunner().invoke(app, asked).exception
    assert isinstance(refused, NotTrainable)  # the command line makes one line and exit code 2 of it
    assert str(refused).startswith(f"{published}: ")
    assert all(words in str(refused) for words in INSTEAD)
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("option", ["--init", "--preset"])
def test_train_says_what_there_is_instead(published: str, tmp_path: Path, option: str) -> None:
    app = typer.Typer()
    app.command()(train)
    asked = ["--stage", "world-model", "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*asked, option, published])
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert all(words in said for words in INSTEAD)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["sana_wm_streaming", "sana_wm_chunk_causal"])
def test_its_other_forms_are_refused_by_name(name: str) -> None:
    with pytest.raises(NotTrainable, match=name):
        check_trainable(name)


def test_models_of_ours_are_taken_whatever_their_folder_is_called(tmp_path: Path) -> None:
    for folder in ("sana_wm", "transformer"):
        shutil.copytree("models/nano", tmp_path / folder)
        check_trainable(tmp_path / folder)
        check_trainable(tmp_path / folder / "model.safetensors")  # refused elsewhere: not a folder
    for name in ("nano", "small", None, tmp_path / "nowhere"):
        check_trainable(name)
