"""PSNR and the guesses that need no model, by numbers worked out by hand."""

import numpy as np
import pytest

from sana_wm_ros.evaluation.metrics import mean_of_known, mean_view, nearest_view, psnr_db, ssim


def test_psnr_of_a_constant_error_is_the_textbook_number():
    seen = np.full((1, 4, 6, 3), 100, np.uint8)
    # MSE = 10^2, so 10 log10(255^2 / 100) = 10 log10(650.25) = 28.1308 dB
    assert psnr_db(seen, seen + 10)[0] == pytest.approx(28.1308, abs=1e-4)


def test_psnr_does_not_wrap_round_where_the_guess_is_darker():
    seen, guess = np.full((1, 2, 2, 3), 5, np.uint8), np.full((1, 2, 2, 3), 250, np.uint8)
    # MSE = 245^2; 20 log10(255 / 245) = 0.3475 dB, the same both ways round
    assert psnr_db(seen, guess)[0] == pytest.approx(0.3475, abs=1e-4)
    assert psnr_db(guess, seen)[0] == pytest.approx(0.3475, abs=1e-4)


def test_psnr_counts_every_pixel_once():
    seen = np.zeros((1, 2, 2, 3), np.uint8)
    guess = seen.copy()
    guess[0, 0, 0] = 30  # one pixel of four wrong by 30: MSE = 900 / 4 = 225, 10 log10(65025 / 225) = 24.609
    assert psnr_db(seen, guess)[0] == pytest.approx(24.6090, abs=1e-4)


def test_equal_pictures_are_infinitely_close_and_frames_are_judged_apart():
    seen = np.zeros((2, 2, 2, 3), np.uint8)
    guess = seen.copy()
    guess[1] = 255  # MSE = 255^2: 0 dB
    assert psnr_db(seen, guess).tolist() == [np.inf, 0.0]


def test_pictures_of_different_size_are_refused():
    with pytest.raises(ValueError, match="cannot compare"):
        psnr_db(np.zeros((1, 2, 2, 3), np.uint8), np.zeros((1, 2, 3, 3), np.uint8))


def test_ssim_of_flat_pictures_is_the_formulas_luminance_term():
    seen, guess = np.full((1, 24, 24, 3), 100, np.uint8), np.full((1, 24, 24, 3), 150, np.uint8)
    # No contrast: (2 a b + C1) / (a^2 + b^2 + C1) with C1 = (0.01 * 255)^2
    c1 = 2.55**2
    assert ssim(seen, guess)[0] == pytest.approx((2 * 100 * 150 + c1) / (100**2 + 150**2 + c1))
    assert ssim(seen, seen)[0] == pytest.approx(1.0)


def test_ssim_falls_where_structure_is_lost_and_less_where_only_light_is():
    rng = np.random.default_rng(0)
    seen = rng.integers(60, 180, (1, 32, 32, 3), dtype=np.uint8)
    brighter, shuffled = seen + 20, rng.permutation(seen.ravel()).reshape(seen.shape)
    assert ssim(seen, brighter)[0] > 0.9 > 0.2 > ssim(seen, shuffled)[0]


def test_ssim_equals_its_formula_written_out_window_by_window():
    a, b = np.random.default_rng(1).integers(0, 255, (2, 14, 15, 3), dtype=np.uint8)
    line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    weight = np.outer(line, line)[..., None] / line.sum() ** 2
    values = []
    for row in range(4):
        for column in range(5):
            x, y = (p[row : row + 11, column : column + 11].astype(float) for p in (a, b))
            mx, my = ((weight * z).sum(axis=(0, 1)) for z in (x, y))
            vx, vy, cxy = (
                (weight * z).sum(axis=(0, 1)) for z in ((x - mx) ** 2, (y - my) ** 2, (x - mx) * (y - my))
            )
            top = (2 * mx * my + 2.55**2) * (2 * cxy + 7.65**2)
            values.append(top / ((mx**2 + my**2 + 2.55**2) * (vx + vy + 7.65**2)))
    assert ssim(a[None], b[None])[0] == pytest.approx(np.mean(values))


def test_pictures_smaller_than_the_window_have_no_ssim():
    with pytest.raises(ValueError, match="11 pixels or more"):
        ssim(np.zeros((1, 8, 12, 3), np.uint8), np.zeros((1, 8, 12, 3), np.uint8))


def test_mean_view_is_the_rounded_mean_of_each_pixel():
    seen = np.array([0, 0, 8], np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    assert (mean_view(seen) == 3).all()  # 8 / 3 = 2.67


def _poses(*planar):
    poses = np.tile(np.eye(4), (len(planar), 1, 1))
    for pose, (x, yaw) in zip(poses, planar, strict=True):
        pose[0, 3] = x
        pose[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    return poses


def test_nearest_view_weighs_turning_against_moving():
    seen = _poses((0.0, 0.0), (2.0, 0.0), (0.5, 1.5))
    # From (0.6, 0): 0.6 m to the first, 1.4 m to the second, sqrt(0.1^2 + 1.5^2) to the third.
    assert nearest_view(seen, _poses((0.6, 0.0)))[0] == 0
    # A radian worth only 0.1 m: sqrt(0.1^2 + 0.15^2) = 0.18 m to the third.
    assert nearest_view(seen, _poses((0.6, 0.0)), metres_per_radian=0.1)[0] == 2


def test_of_equally_near_views_the_newest_wins():
    assert nearest_view(_poses((1.0, 0.0), (1.0, 0.0), (5.0, 0.0)), _poses((1.0, 0.0)))[0] == 1


def test_a_mean_leaves_out_what_is_not_known():
    assert mean_of_known(np.array([[1.0, np.nan], [3.0, np.nan]])).tolist()[0] == 2.0
    assert np.isnan(mean_of_known(np.array([[1.0, np.nan], [3.0, np.nan]]))[1])
