"""A seed belongs to one split, for ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sana_wm_ros.cli.train import train
from sana_wm_ros.training.episodes import (
    Episode,
    WrongSplit,
    check_split,
    episode_path,
    split_of,
    write_episode,
)
from sana_wm_ros.training.latents import load_drives
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig


def test_splits_meet_where_they_are_said_to() -> None:
    seeds = (0, 899_999, 900_000, 999_999, 1_000_000, 5_000_000)
    assert [split_of(seed) for seed in seeds] == [
        "train",
        "train",
        "validation",
        "validation",
        "test",
        "test",
    ]
    with pytest.raises(ValueError, match="from 0 on"):
        split_of(-1)


def test_a_seed_of_another_split_is_named() -> None:
    check_split([1, 2, 900_000], "train", "validation")
    with pytest.raises(WrongSplit, match="seed 900000 belongs to the validation split.*only train"):
        check_split([5, 900_000], "train")


def test_training_refuses_drives_of_another_split_before_it_begins(tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for seed in (12, 900_004):
        episode_path(folder, seed).touch()
    app = typer.Typer()
    app.command()(train)
    said = CliRunner().invoke(
        app, ["--stage", "autoencoder", "--data", str(folder), "--out", str(tmp_path / "run"), "--steps", "1"]
    )
    assert said.exit_code == 2
    words = " ".join(said.output.split())
    assert "seed 900004 belongs to the validation split" in words and "only train" in words


def test_drives_that_are_left_out_are_named(tmp_path: Path, drive_maker: Callable[..., Episode]) -> None:
    good, bad = (drive_maker(seed) for seed in (1, 2))
    write_episode(episode_path(tmp_path, 1), good)
    write_episode(episode_path(tmp_path, 7), bad)  # holds seed 2
    told: list[str] = []
    small = AutoencoderConfig(
        latent_channels=5, widths=(8, 8, 8), encoder_depths=(1, 1, 1), decoder_depths=(1, 1, 1)
    )
    autoencoder = Autoencoder(small)
    drives = load_drives(autoencoder, [tmp_path], tmp_path / "cache", on_bad=lambda e: told.append(str(e)))
    assert len(drives) == 1
    assert len(told) == 1 and "episode_0000007.npz" in told[0] and "seed 2" in told[0]
