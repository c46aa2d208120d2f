"""``sana_wm`` answers at once, imports only the verb that is called, and explains bad input in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import sana_wm_ros
from sana_wm_ros.cli import main as command_line

run = CliRunner().invoke


def test_help_lists_every_verb() -> None:
    result = run(command_line.app, ["--help"])
    assert result.exit_code == 0
    for verb in command_line.VERBS:
        assert verb in result.output


@pytest.mark.parametrize("verb", command_line.VERBS)
def test_every_verb_is_there_and_explains_itself(verb: str) -> None:
    result = run(command_line.app, [verb, "--help"])
    assert result.exit_code == 0
    assert f" {verb} " in result.output


def test_help_imports_neither_torch_nor_ros_nor_any_verb() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from sana_wm_ros.cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'rclpy', 'numpy', 'matplotlib', 'rosbags'}\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"


def test_python_dash_m_is_the_same_command(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sana_wm_ros", "--version"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=checkout,
        check=True,
    )
    assert done.stdout.strip() == f"sana_wm {sana_wm_ros.__version__}"


def test_an_unknown_verb_is_refused_with_the_nearest_one() -> None:
    result = run(command_line.app, ["repaly"])
    assert result.exit_code == 2
    assert "repaly" in result.output
    assert "replay" in result.output


def test_bad_input_gives_one_line_and_code_2(tmp_path: Path) -> None:
    missing = tmp_path / "no_such_bag"
    result = run(command_line.app, ["info", str(missing)])
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert str(missing) in result.stderr


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = run(command_line.app, ["--debug", "info", str(tmp_path / "no_such_bag")])
    assert isinstance(result.exception, FileNotFoundError)


def test_a_defect_is_not_hidden_behind_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_verb() -> None:
        raise TypeError("a defect")

    monkeypatch.setattr("sana_wm_ros.cli.info.info", broken_verb)
    assert isinstance(run(command_line.app, ["info"]).exception, TypeError)
