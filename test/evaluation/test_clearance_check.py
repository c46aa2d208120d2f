"""Imagined free distances against a scanner's, worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from sana_wm_ros.evaluation.clearance_check import MeasuredClearance, check_clearance, sector_minimum
from sana_wm_ros.evaluation.imagination_check import check_imagination

from .synthetic import OffByModel, bright_drive


def test_sectors_are_centred_ahead_and_run_counter_clockwise():
    angles = np.deg2rad([0, 44, 46, 90, 180, 270, 316])
    ranges = np.array([4.0, 3.0, 2.0, 2.5, 1.0, 5.0, 3.5])
    # 4 sectors of 90 degrees: ahead holds 0, 44 and 316; left holds 46 and 90
    assert sector_minimum(ranges, angles, 4, 8.0).tolist() == [3.0, 2.0, 1.0, 5.0]


def test_rays_that_met_nothing_are_far_and_broken_ones_say_nothing():
    ranges = np.array([np.inf, np.nan, 0.0, 9.0])
    least = sector_minimum(ranges, np.deg2rad([0, 90, 180, 270]), 4, 8.0)
    assert least[0] == 8.0 and least[3] == 8.0
    assert np.isnan(least[1]) and np.isnan(least[2])


def test_errors_are_means_over_sectors_at_the_time_foretold():
    check = check_imagination(OffByModel(off=0), bright_drive(), starts=[4])  # it imagines 1 m everywhere
    stamps = 100.0 + np.arange(81) / 8.0
    # 3 m until the start at 102 s, then 2 m in half of the sectors and 5 m in the others.
    clearance = np.where(stamps[:, None] <= 102.0, 3.0, np.tile([2.0, 5.0], 12)[None])
    measured = MeasuredClearance(stamps_T=stamps, clearance_TK=clearance, max_range_m=8.0)
    errors = check_clearance(check.foretellings, measured, first_stamp_s=100.0).error
    assert errors["imagined"] == pytest.approx(np.full(16, 2.5))  # (1 + 4) / 2
    assert errors["last ranges"] == pytest.approx(np.full(16, 1.5))  # (1 + 2) / 2
    assert errors["mean ranges"] == pytest.approx(np.full(16, 1.5))


def test_scans_of_another_time_are_not_compared():
    check = check_imagination(OffByModel(off=0), bright_drive(), starts=[4])
    late = MeasuredClearance(stamps_T=np.array([500.0]), clearance_TK=np.ones((1, 24)), max_range_m=8.0)
    assert check_clearance(check.foretellings, late, first_stamp_s=100.0) is None


def test_a_scan_that_ends_early_leaves_the_rest_unknown():
    check = check_imagination(OffByModel(off=0), bright_drive(), starts=[4])
    stamps = np.arange(100.0, 104.01, 0.125)
    measured = MeasuredClearance(
        stamps_T=stamps, clearance_TK=np.full((len(stamps), 24), 2.0), max_range_m=8.0
    )
    error = check_clearance(replace(check).foretellings, measured, first_stamp_s=100.0).error["imagined"]
    assert error[:4].tolist() == [1.0] * 4  # 102.5 to 104 s
    assert np.isnan(error[5:]).all()
