"""The schedule follows from what was measured."""

import pytest

from sana_wm_ros.planning.pace import Pace, doubling, duration_s, fitting_rounds

OPTIONS = dict(period_s=0.5, keep_fraction=0.5, keep_least=2)
ROUNDS = (8.0, 16.0, 32.0, 60.0)


def measured(**frame_ms: float) -> Pace:
    pace = Pace()
    for name, value in frame_ms.items():
        pace.observe(int(name[1:]), 10, value * 1e-2)
    return pace


def test_a_size_that_was_not_measured_is_bounded_by_those_that_were():
    pace = measured(n8=8.0, n2=4.0)
    assert pace.frame_s(8) == pytest.approx(8e-3)
    assert pace.frame_s(4) == pytest.approx(8e-3)  # 8 took 8 ms; twice 2 would be 8 ms as well
    assert pace.frame_s(16) == pytest.approx(16e-3)  # twice what 8 took
    assert Pace().frame_s(3) is None


def test_the_newest_measurement_counts_a_third():
    pace = measured(n4=10.0)
    pace.observe(4, 1, 0.020)
    assert pace.frame_s(4) == pytest.approx(0.013)


def test_the_duration_of_a_schedule_by_hand():
    # 1 ms per candidate and frame: 8 x 16 frames, 4 x 16, 2 x 32, 2 x 56 = 368 ms
    pace = measured(n8=8.0, n4=4.0, n2=2.0)
    assert duration_s(ROUNDS, 8, pace, **OPTIONS) == pytest.approx(0.368)
    assert duration_s(ROUNDS, 8, pace, done_s=4.0, **OPTIONS) == pytest.approx(0.368 - 0.064)


def test_rounds_that_fit_stay_and_others_halve_earlier():
    pace = measured(n8=8.0, n4=4.0, n2=2.0)
    fit = lambda left_s: fitting_rounds(ROUNDS, 8, pace, left_s, least_s=1.0, **OPTIONS)  # noqa: E731
    assert fit(0.37) == ROUNDS
    # halving at 4 s: 8 x 8 + 4 x 8 + 2 x 16 + 2 x 32 + 2 x 56 = 304 ms
    assert fit(0.31) == (4.0, 8.0, 16.0, 32.0, 60.0)
    assert fit(0.0)[0] == 1.0  # not below the least; then the clock stops it


def test_doubling_ends_exactly_at_the_last():
    assert doubling(3.0, 20.0) == (3.0, 6.0, 12.0, 20.0) and doubling(8.0, 5.0) == (5.0,)
