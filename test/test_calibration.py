"""Rank correlation, AUROC, calibration error and Brier score, by numbers worked out by hand."""

import numpy as np
import pytest

from sana_wm_ros.calibration import (
    auroc,
    brier_score,
    calibration_error,
    rank_correlation,
    reliability,
)


def test_rank_correlation_sees_only_the_order():
    assert rank_correlation([1, 2, 3], [10, 100, 1000]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    # ranks 1 2 3 4 against 2 1 4 3: 1 - 6 (1 + 1 + 1 + 1) / (4 * 15) = 0.6
    assert rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]) == pytest.approx(0.6)


def test_ties_share_their_mean_rank():
    # ranks 0.5 0.5 2 against 0 1 2: covariance (-.5 * -1 + -.5 * 0 + 1 * 1) = 1.5, spread sqrt(1.5 * 2)
    assert rank_correlation([5, 5, 9], [1, 2, 3]) == pytest.approx(1.5 / np.sqrt(3.0))


def test_what_is_not_finite_does_not_count():
    assert rank_correlation([1, np.inf, 2, 3], [1, 0, 2, 3]) == pytest.approx(1.0)
    assert np.isnan(rank_correlation([1, np.nan, 2], [1, 2, 3]))
    assert np.isnan(rank_correlation([1, 1, 1], [1, 2, 3]))


def test_auroc_is_the_chance_that_a_positive_scores_higher():
    # positives 0.9 and 0.4 against negatives 0.1 and 0.5: 3 of 4 pairs are in order
    assert auroc([0.9, 0.4, 0.1, 0.5], [1, 1, 0, 0]) == pytest.approx(0.75)
    assert auroc([0.5, 0.5], [1, 0]) == pytest.approx(0.5)  # a tie is half
    assert np.isnan(auroc([0.5, 0.6], [1, 1]))


def test_auroc_equals_counting_all_pairs():
    rng = np.random.default_rng(0)
    score, label = rng.integers(0, 10, 200) / 10, rng.random(200) < 0.3
    pairs = score[label][:, None] - score[~label][None]
    assert auroc(score, label) == pytest.approx((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def test_calibration_error_weighs_bins_by_count():
    # bin [0.1, 0.2): told 0.1, came 0 of 3; bin [0.9, 1]: told 0.9, came 1 of 1
    # (3 * 0.1 + 1 * 0.1) / 4 = 0.1
    assert calibration_error([0.1, 0.1, 0.1, 0.9], [0, 0, 0, 1]) == pytest.approx(0.1)
    assert calibration_error([1.0], [1]) == 0.0
    # two said 0.15 and one of them came true, two said 0.95 and both did: (2 * 0.35 + 2 * 0.05) / 4
    assert calibration_error([0.15, 0.15, 0.95, 0.95], [1, 0, 1, 1]) == pytest.approx(0.2)
    assert reliability([0.1, 0.1, 0.1, 0.9], [0, 0, 0, 1])[1] == (0.9, 0.9, 1.0, 1)


def test_brier_score_is_the_mean_square():
    # (0.5^2 + 0.2^2) / 2
    assert brier_score([0.5, 0.8], [0, 1]) == pytest.approx(0.145)
    assert np.isnan(brier_score([], []))
