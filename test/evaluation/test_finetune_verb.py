"""``sana_wm finetune`` as a person runs it: real bags in, a better model or the old one, and a reason."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from sana_wm_ros.cli.finetune import finetune
from sana_wm_ros.training.finetune import is_better
from sana_wm_ros.world_model.checkpoint import load_model

from .synthetic import write_input_bag


@pytest.fixture(scope="module")
def app() -> typer.Typer:
    app = typer.Typer()
    app.command("finetune")(finetune)
    return app


def test_a_recording_teaches_a_model_that_loads_and_a_short_one_is_refused(
    app: typer.Typer, tmp_path: Path
) -> None:
    write_input_bag(tmp_path / "long", seconds=26.0)
    write_input_bag(tmp_path / "short", seconds=10.0)
    out = tmp_path / "mine"
    asked = [str(tmp_path / "long"), str(tmp_path / "short"), "--out", str(out), "--minutes", "0.1"]
    done = CliRunner().invoke(app, [*asked, "--threads", "1", "--force"])
    assert done.exit_code == 0, done.output
    said = " ".join(done.output.split())
    assert "not used:" in said
    assert "at least 20 s are needed" in said
    before = load_model("models/nano").state_dict()
    after = load_model(out).state_dict()
    assert any(not torch.equal(after[name], value) for name, value in before.items())
    result = json.loads((out / "finetune.json").read_text())
    assert set(result["before"]["over"]) == {"0.5 s", "1 s", "2 s", "5 s"}
    assert "Fine-tuned" in (out / "MODEL_CARD.md").read_text()


def test_without_a_usable_recording_it_says_why_and_writes_nothing(app: typer.Typer, tmp_path: Path) -> None:
    write_input_bag(tmp_path / "short", seconds=10.0)
    done = CliRunner().invoke(app, [str(tmp_path / "short"), "--out", str(tmp_path / "mine")])
    assert isinstance(done.exception, ValueError)
    assert "none of 1 recordings can be used" in str(done.exception)
    assert not (tmp_path / "mine").exists()


def test_better_means_more_decibels_at_one_and_five_seconds() -> None:
    before = {"model": {"1 s": 20.0, "5 s": 15.0}}
    assert is_better(before, {"model": {"1 s": 19.9, "5 s": 15.3}})
    assert not is_better(before, {"model": {"1 s": 20.0, "5 s": 15.0}})
    assert not is_better(before, {"model": {"1 s": 20.5, "5 s": 14.4}})
