"""``sana_wm record-sim`` makes what it is asked for, and explains what it cannot make."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sana_wm_ros.cli.main import app
from sana_wm_ros.training.episodes import read_episode

pytestmark = pytest.mark.usefixtures("pictures")


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["record-sim", *map(str, arguments)])
    return result.exit_code, result.output


def test_episodes_are_recorded_and_counted(tmp_path: Path) -> None:
    code, said = run(
        "--out", tmp_path / "set", "--episodes", 2, "--first-seed", 1_000_000, "--seconds", 1, "--workers", 1
    )
    assert code == 0, said
    assert "2 drives" in said
    assert read_episode(tmp_path / "set" / "episode_1000001.npz").frames_THWC.shape == (9, 64, 96, 3)


def test_a_bag_gets_its_name_and_a_second_run_leaves_it(tmp_path: Path) -> None:
    arguments = (
        "--out",
        tmp_path,
        "--format",
        "bag",
        "--name",
        "tour",
        "--seconds",
        1,
        "--first-seed",
        1_000_000,
    )
    assert run(*arguments)[0] == 0
    before = (tmp_path / "tour" / "tour.mcap").stat().st_mtime_ns
    assert run(*arguments)[0] == 0
    assert (tmp_path / "tour" / "tour.mcap").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--family", "castle"), "choose one of lab, varied"),
        (("--driver", "pilot"), "choose one of tour"),
        (("--format", "bag", "--storage", "tape"), "mcap, sqlite3, ros1"),
        (("--format", "bag", "--episodes", 2, "--name", "one"), "leave --name away"),
        (("--width", 4), "too small"),
    ],
)
def test_what_cannot_be_made_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: tuple[object, ...], said: str
) -> None:
    code, output = run("--out", tmp_path / "set", *arguments)
    assert code == 2
    assert said in output
    assert "Traceback" not in output
