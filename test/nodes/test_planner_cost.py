"""The planner's own cost is measured stage by stage."""

from sana_wm_ros.nodes.planner_cost import measure_planner


def test_every_stage_is_timed_in_every_run() -> None:
    found = measure_planner(candidates=8, runs=4)
    assert {"propose", "imagine", "score", "validate", "whole", "whole, processor"} == set(found)
    assert all(
        entry["count"] == 4 and 0 <= entry["p50"] <= entry["p95"] <= entry["max"] for entry in found.values()
    )
    assert sum(found[name]["p50"] for name in ("propose", "score")) < found["whole"]["max"]
