"""The node's own cost can be measured over DDS with a model that does nothing."""

from __future__ import annotations

from sana_wm_ros.nodes.overhead import measure_overhead


def test_pictures_and_plans_pass_and_are_timed() -> None:
    results = measure_overhead(3.0, warm_up_s=0.5)
    assert set(results) == {"picture_in", "picture_handled", "plan_out"}
    for entry in results.values():
        assert entry["count"] >= 5
        assert 0.0 < entry["p50"] <= entry["p95"] <= entry["max"] < 5.0
    assert results["picture_handled"]["p50"] <= results["picture_in"]["p50"]
