"""What a training step keeps grows with its clip, not with the square of it."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from sana_wm_ros.cli.benchmark import benchmark


def test_a_minute_keeps_at_most_4_4_times_what_15_s_keep(tmp_path: Path) -> None:
    done = CliRunner().invoke(benchmark, ["training", "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "training_memory_nano.json").read_text())["results"]
    assert 3.0 < results["growth"] <= 4.4
    assert results["15 s"]["kept_mib"] > 20.0
