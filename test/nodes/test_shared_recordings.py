"""Recordings of real robots, end to end over DDS: plans at the configured rate, honest diagnostics, flat memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from sana_wm_ros.nodes.replay import ReplayOptions, replay


@pytest.mark.parametrize("name", ["home_28s_raw"])
def test_a_real_recording_is_planned_for_from_end_to_end(
    name: str, checkout: Path, model_folder: Path, tmp_path: Path
) -> None:
    bag = checkout.parent / "shared" / "bags" / name / "bag"
    if not bag.exists():
        pytest.skip(f"the recording {name} is not beside this checkout ({bag})")
    parameters = (
        "planner.rate_hz:=2.0",
        "planner.candidates:=8",
        "planner.horizon_s:=8.0",
        "model.threads:=1",
    )
    options = ReplayOptions(bag=bag, out=tmp_path, model=str(model_folder), parameters=parameters)
    summary = replay(options, lambda *_: None)
    assert summary.played_s > 28.0
    assert summary.lost_pictures <= 0.02 * summary.sent["image"]
    # The first plan waits for the first goal and picture; a turn that was missed must be owned up to.
    assert summary.plans + summary.skipped_turns >= 2.0 * (summary.played_s - 3.0)
    assert summary.late_untold == 0
    assert not summary.refused
    half = summary.memory_mib[len(summary.memory_mib) // 2]
    assert summary.memory_mib[-1] <= 1.05 * half, summary.memory_mib
