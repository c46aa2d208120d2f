"""``sana_wm report`` with a real model, from two bags to a page; and what it says when it cannot."""

import io
import json

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from sana_wm_ros.cli.main import app
from sana_wm_ros.cli.report import make_report
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.checkpoint import save_model
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.heads import Heads, HeadsConfig
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.transformer import SanaTransformer

from .synthetic import write_input_bag, write_output_bag


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained model of two small blocks, a recording of 10 s and what a planner published on it."""
    path = tmp_path_factory.mktemp("verb")
    torch.manual_seed(0)
    config = TransformerConfig(width=32, depth=2, heads=1, head_width=32, softmax_every=2)
    heads = Heads(HeadsConfig(), config.width, config.tokens)
    save_model(
        path / "model",
        NavigationModel(SanaTransformer(config), heads, Autoencoder(AutoencoderConfig())),
        card="untrained",
    )
    write_input_bag(path / "input")
    write_output_bag(path / "output")
    return path


def test_both_bags_and_a_model_become_a_page(folder):
    console = Console(file=io.StringIO())
    written = make_report(
        console,
        folder / "output",
        bag=folder / "input",
        model=str(folder / "model"),
        out=folder / "report",
        command="sana_wm report",
        starts=2,
    )
    page = written.page.read_text(encoding="utf-8")
    assert "What it imagined, and what the camera then saw" in page
    imagination = json.loads(written.metrics.read_text())["imagination"]
    assert imagination["starts"] == 2
    assert imagination["seconds_ahead"] == [0.5 * k for k in range(1, 1 + len(imagination["seconds_ahead"]))]
    assert all(0 < value < 60 for value in imagination["psnr_db"]["imagined"])
    assert written.film_strip is not None and written.film_strip.is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["report", "nowhere"], "nowhere: no such bag"),
        (["report", "{folder}/input"], "no nav_msgs/Path and no diagnostics"),
        (["report", "{folder}/output", "--bag", "{folder}/input", "--model", "{folder}/gone"], "gone"),
        (["demo", "--model", "{folder}/gone"], "gone"),
        (["benchmark", "rollouts", "--force", "--model", "{folder}/gone"], "gone"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_it(folder, words, said):
    result = CliRunner().invoke(app, [word.format(folder=folder) for word in words])
    assert result.exit_code == 2
    assert said in result.output.replace("\n", "")
    assert "Traceback" not in result.output
