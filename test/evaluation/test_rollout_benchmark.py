"""The benchmark's own arithmetic, with a clock and a model whose costs are known."""

import os

import pytest

from sana_wm_ros.cli import benchmark
from sana_wm_ros.evaluation.rollout_benchmark import RolloutSettings, measure_rollouts

from .synthetic import OffByModel


class _Stopwatch:
    """Each imagination takes a second per latent frame, the first of each length ten times that."""

    def __init__(self):
        self.now, self.calls = 0.0, 0

    def __call__(self):
        # called before and after: 60 s (120 frames), 15 s (30 frames) and 8 s (16 frames) in turns
        if self.calls % 2:
            frames = (120, 30, 16)[self.calls // 2 % 3]
            self.now += frames * (10 if self.calls < 6 else 1)
        self.calls += 1
        return self.now


def test_the_warm_up_is_left_out_and_the_ratio_is_of_medians():
    results = measure_rollouts(OffByModel(off=0), RolloutSettings(candidates=1, runs=3), clock=_Stopwatch())
    assert results["all_60_s"] == [120.0] * 3
    assert results["all_15_s"] == [30.0] * 3
    assert results["cost_ratio"] == 4.0
    assert results["replan_hz"] == 1 / 16
    assert results["candidate_seconds_per_second"] == 0.5


def test_a_busy_machine_is_refused_unless_forced(monkeypatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (99.0, 99.0, 99.0))
    with pytest.raises(benchmark.MachineBusy, match=r"load average is 99.0 on \d+ cores"):
        benchmark.refuse_load(force=False)
    assert benchmark.refuse_load(force=True) == 99.0
