"""``sana_wm benchmark model`` records what it needs, measures the real model on it and keeps the figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

pytest.importorskip("mujoco")

from sana_wm_ros.cli import benchmark_model
from sana_wm_ros.cli.benchmark import benchmark


def test_the_shipped_model_is_measured_on_drives_recorded_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = (("tour", 15.0, 1.0, 0), ("revisit", 15.0, 1.0, 20_000), ("bump", 20.0, 1.0, 40_000))
    monkeypatch.setattr(benchmark_model, "_KINDS", kinds)
    asked = ["model", "--drives", "2", "--seen-s", "4", "--ahead-s", "10", "--memory-s", "2"]
    asked += ["--data", str(tmp_path / "drives"), "--out", str(tmp_path)]
    done = CliRunner().invoke(benchmark, asked)
    assert done.exit_code == 0, done.output
    record = json.loads((tmp_path / "quality_nano_lab_validation_memory_s_2.json").read_text())
    results = record["results"]
    assert record["settings"]["memory_s"] == 2.0
    assert results["drives"] == 2
    assert results["seen_s"] == 4.0
    assert results["horizons_s"] == [0.5, 1.0, 2.0, 5.0, 10.0]
    # a trained model beats the trivial guesses where it is easy to
    assert results["psnr_db"]["model"][0] > results["psnr_db"]["context mean"][0]
    # ranges are read best from what is seen, worse from what is imagined
    ranges = results["clearance_log_error"]
    assert 0 < ranges["seen then"][-1] < ranges["model"][-1]
    assert results["contact"]["starts"] > 0
    assert -1.0 <= results["candidates"]["spearman"] <= 1.0
    assert 0.0 <= results["candidates"]["regret"] <= 1.0
    looks = results["perceptual"]
    assert looks["metric"] == "ST-LPIPS" and 0 < looks["autoencoder"][0] < looks["last frame"][0] < 1
    assert {row["measure"] for row in results["goals"]} >= {"autoencoder PSNR"}
    assert (tmp_path / "quality_nano_lab_validation_memory_s_2.png").stat().st_size > 5000
