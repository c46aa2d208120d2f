"""The inverse sensor model, worked out by hand."""

import numpy as np
import pytest

from sana_wm_ros.planning.sensor_model import log_odds, most_sure


def test_cells_before_the_clearance_are_free_and_those_around_it_blocked():
    # At 1.6 m walls count in full: a fifth of -2.5, -1.8, -.25 (between -.8 and .3), .8, .7, 0 and 0.
    share = np.array([0.0, 0.65, 0.8, 0.95, 1.1, 1.25, 2.0], dtype=np.float32)
    found = log_odds(1.6 * share, np.full(7, 1.6, dtype=np.float32))
    assert found == pytest.approx([-0.5, -0.36, -0.05, 0.16, 0.14, 0.0, 0.0], abs=1e-6)


def test_far_walls_are_told_less_surely_and_free_floor_as_surely():
    far, near = np.full(2, 3.2, dtype=np.float32), np.full(2, 1.6, dtype=np.float32)
    share = np.array([0.65, 0.95], dtype=np.float32)
    assert log_odds(far * share, far) == pytest.approx(log_odds(near * share, near) * [1.0, 0.5])


def test_what_seems_near_is_nearer_still():
    clearance = np.array([0.8], dtype=np.float32)
    # A share of .83 counts as .95: blocked.
    assert log_odds(0.83 * clearance, clearance) == pytest.approx([0.2 * 0.8 * 1.3], abs=1e-6)


def test_out_of_reach_is_unknown():
    assert log_odds(np.array([np.inf], np.float32), np.array([2.0], np.float32)).tolist() == [0.0]


def test_far_walls_never_become_as_sure_as_near_ones():
    assert most_sure(np.array([0.8, 1.6, 3.2], np.float32)) == pytest.approx([3.0, 3.0, 0.75])


def test_no_clearance_at_all_is_no_division_by_zero():
    with np.errstate(all="raise"):
        zero = np.zeros(2, np.float32)
        assert (
            np.isfinite(log_odds(np.array([0.0, 1.0], np.float32), zero)).all()
            and (most_sure(zero) == 3.0).all()
        )
