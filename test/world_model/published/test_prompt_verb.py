"""``sana_wm prompt`` writes the small file that published weights read instead of running a text encoder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner, Result

from sana_wm_ros.cli.main import app
from sana_wm_ros.world_model.published.caption import encode_caption, load_caption

INSTRUCTION = "Given a user prompt describe the scene : User Prompt: "


def prompt(*args: str | Path) -> Result:
    return CliRunner().invoke(app, ["prompt", *map(str, args)])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A checkpoint's own configuration, as far as prompts need it."""
    path = tmp_path / "config.yaml"
    path.write_text(f"text_encoder:\n  chi_prompt:\n  - '{INSTRUCTION}'\n")
    return path


def test_a_text_becomes_what_the_encoder_makes_of_it(encoder: Path, config: Path, tmp_path: Path) -> None:
    out = tmp_path / "sana_wm" / "caption.safetensors"
    result = prompt("grey corridor", "--encoder", encoder, "--config", config, "--out", out)
    assert result.exit_code == 0, result.output
    truth = encode_caption("grey corridor", encoder, INSTRUCTION)
    tokens = int(truth.mask_1L.sum())
    # The first token, and all behind the instruction: it ends with its last word, then two words follow.
    assert f"{out}: {tokens} tokens, 0.00 MB" in result.output
    written = load_caption(out, 16)
    assert written.mask_1L.all() and written.embedding_1LE.shape == (1, tokens, 16)
    torch.testing.assert_close(
        written.embedding_1LE, truth.embedding_1LE[:, truth.mask_1L[0]], atol=2e-3, rtol=1e-3
    )
    with safe_open(out, framework="pt") as file:
        assert file.metadata() == {"prompt": "grey corridor"}


def test_an_empty_text_needs_no_configuration(encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "caption.safetensors"
    assert prompt("", "--encoder", encoder, "--out", out).exit_code == 0
    assert load_caption(out, 16).mask_1L.tolist() == [[True]]


@pytest.mark.parametrize("lacking", ["config", "encoder", "instruction"])
def test_what_lacks_is_said_in_one_line_and_nothing_is_written(
    encoder: Path, config: Path, tmp_path: Path, lacking: str
) -> None:
    out = tmp_path / "caption.safetensors"
    if lacking == "instruction":
        config.write_text("text_encoder: {}\n")
    words = {
        "config": "a text needs --config",
        "encoder": "no such file or folder",
        "instruction": "no text_encoder.chi_prompt",
    }
    given = ["grey corridor", "--encoder", tmp_path if lacking == "encoder" else encoder, "--out", out]
    result = prompt(*given, *([] if lacking == "config" else ["--config", config]))
    assert result.exit_code == 2
    assert words[lacking] in result.stderr and result.stderr.count("\n") == 1
    assert not out.exists()
