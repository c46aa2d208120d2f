"""``sana_wm train`` and ``export`` as a person runs them: they work, resume, and say what is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from sana_wm_ros.cli.export import export
from sana_wm_ros.cli.train import train
from sana_wm_ros.training.episodes import Episode, episode_path, write_episode


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("train")(train)
    app.command("export")(export)
    return app


def test_the_autoencoder_trains_from_the_command_line_and_goes_on(
    app: typer.Typer, drives: Path, tmp_path: Path
) -> None:
    command = [
        "train",
        "--stage",
        "autoencoder",
        "--data",
        str(drives),
        "--out",
        str(tmp_path / "ae"),
        "--batch",
        "2",
    ]
    first = CliRunner().invoke(app, [*command, "--steps", "1"])
    assert first.exit_code == 0, first.output
    assert (tmp_path / "ae" / "state.pt").exists()
    again = CliRunner().invoke(app, [*command, "--steps", "2"])
    assert again.exit_code == 0, again.output
    import torch

    assert torch.load(tmp_path / "ae" / "state.pt", weights_only=True)["step"] == 2


@pytest.mark.parametrize("stage", ["autoencoder", "world-model"])
def test_a_truncated_drive_is_named_once_and_left_out(
    app: typer.Typer, drive_maker: Callable[..., Episode], tmp_path: Path, stage: str
) -> None:
    (tmp_path / "data").mkdir()
    for seed in (1, 3, 4):
        write_episode(episode_path(tmp_path / "data", seed), drive_maker(seed))
    cut = episode_path(tmp_path / "data", 3)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    asked = ["train", "--stage", stage, "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    if stage == "world-model":
        asked += ["--init", "models/nano"]
    done = CliRunner().invoke(app, [*asked, "--steps", "1", "--batch", "24"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert said.count("left out:") == 1
    assert f"{cut}: not a readable episode" in done.output.replace("\n", "")


def test_what_is_missing_is_said_in_words(app: typer.Typer, drives: Path, tmp_path: Path) -> None:
    missing = CliRunner().invoke(
        app, ["train", "--stage", "world-model", "--data", str(drives), "--out", str(tmp_path / "wm")]
    )
    assert missing.exit_code == 2
    assert "--init" in missing.output
    nothing = CliRunner().invoke(
        app, ["train", "--stage", "autoencoder", "--data", str(tmp_path), "--out", str(tmp_path / "ae")]
    )
    assert nothing.exit_code == 2
    assert "no drives" in " ".join(nothing.output.split())
    no_run = CliRunner().invoke(
        app, ["export", "--run", str(tmp_path), "--out", str(tmp_path / "m"), "--validation", str(drives)]
    )
    assert no_run.exit_code == 2
    assert "not a run folder" in " ".join(no_run.output.split())


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--objective", "plaice=2", "expected one of blind_share"),
        ("--objective", "place_weight=much", "'much' is not a number"),
        ("--architecture", "wings=2", "expected one of width"),
        ("--architecture", "bounded_keys", "and =VALUE"),
        ("--architecture", "bounded_keys=7", "expected true or false"),
        ("--precision", "fp16", "expected fp32 or bf16"),
        ("--curriculum", "0:24;64", "expected pairs such as 0:24,0.5:64"),
        ("--preset", "large", "there are nano, small"),
        ("--device", "cuda", "train with --device cpu"),
    ],
)
def test_a_setting_that_is_none_is_refused_with_what_would_do(
    app: typer.Typer, drives: Path, tmp_path: Path, option: str, value: str, said: str
) -> None:
    import torch

    if value == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    asked = ["train", "--stage", "world-model", "--data", str(drives), "--out", str(tmp_path / "wm")]
    done = CliRunner().invoke(app, [*asked, "--init", "models/nano", option, value])
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
