"""The imagination's figures at round seconds, with a model whose error is known by hand."""

from dataclasses import replace

import numpy as np
import pytest

from sana_wm_ros.evaluation.foretelling import MODEL, OTHER, STILL, carried_motion
from sana_wm_ros.evaluation.imagination_check import check_imagination
from sana_wm_ros.evaluation.imagination_measures import contact_on_the_drive, imagination_measures
from sana_wm_ros.evaluation.lpips import alexnet_lpips, shift_tolerant_lpips
from sana_wm_ros.evaluation.trust_measures import trust_measures

from .synthetic import OffByModel, bright_drive


@pytest.fixture(scope="module")
def check():
    return check_imagination(OffByModel(off=5), bright_drive(), starts=[4, 10], latents=True)


def value(measures, metric, who, at_s=None):
    (found,) = [m for m in measures if (m.metric, m.who, m.at_s) == (metric, who, at_s)]
    return found.value


def _db(levels: float) -> float:
    return 20 * np.log10(255 / levels)


def test_psnr_at_round_seconds(check):
    measures, skipped = imagination_measures(check, lpips=None)
    assert value(measures, "PSNR", MODEL, 4.0) == pytest.approx(_db(5))
    assert value(measures, "PSNR", "last frame", 1.0) == pytest.approx(_db(8))  # 4 levels per half second
    assert value(measures, "PSNR", "last frame", 8.0) == pytest.approx(_db(64))
    assert {m.at_s for m in measures if m.metric == "PSNR"} == {1.0, 2.0, 4.0, 8.0, None}
    assert any("imagination at 16, 32, 60 s" in reason for reason in skipped)


def test_latent_errors_are_root_mean_squares(check):
    # This model's latent is the last grey level of its frame: off by 5, and the last one by 8 after a second.
    measures, _ = imagination_measures(check, lpips=None)
    assert value(measures, "latent error", MODEL, 1.0) == pytest.approx(5.0)
    assert value(measures, "latent error", "last frame", 1.0) == pytest.approx(8.0)
    # The mean of the latents 0, 4, ... 4 n seen until n = 4 and 10 is 2 n; a second later it is 4 n + 8.
    assert value(measures, "latent error", "mean view", 1.0) == pytest.approx((16 + 28) / 2)
    # The nearest seen view of a drive straight ahead is the last one.
    assert value(measures, "latent error", "nearest view", 2.0) == pytest.approx(16.0)


def test_controllability_is_psnr_under_the_own_motion_less_that_under_another(check):
    # Both starts drive straight ahead, so the other motion is the same motion: no gain, and half of the wins.
    measures, _ = imagination_measures(check, lpips=None)
    assert value(measures, "controllability", MODEL, 4.0) == 0.0
    assert value(measures, "own motion wins", MODEL, 4.0) == 0.5
    worse = [
        replace(one, psnr=one.psnr | {OTHER: one.psnr[MODEL] - gain})
        for one, gain in zip(check.foretellings, (3.0, -1.0), strict=True)
    ]
    measures, _ = imagination_measures(replace(check, foretellings=worse), lpips=None)
    assert value(measures, "controllability", MODEL, 4.0) == pytest.approx(1.0)
    assert value(measures, "own motion wins", MODEL, 4.0) == 0.5


def test_another_motion_says_nothing_beyond_its_own_end(check):
    # The second start has 5 s of its own; the first one, told that motion, can be judged for 5 s of its 8.
    first, second = check.foretellings
    assert np.isfinite(first.psnr[OTHER]).tolist() == [True] * 10 + [False] * 6
    assert np.isfinite(second.psnr[OTHER]).all()


def test_one_start_has_no_other_motion():
    alone = check_imagination(OffByModel(off=5), bright_drive(), starts=[4])
    measures, skipped = imagination_measures(alone, lpips=None)
    assert not any(m.metric in ("controllability", "latent error") for m in measures)
    assert any("it takes two starts" in reason for reason in skipped)


def test_the_other_motion_begins_where_this_one_is():
    drive = bright_drive()
    turned = drive.poses_T44.copy()
    turned[41:, 1, 3] = 0.1 * np.arange(1, 41)  # from 5 s on it also moves aside
    poses, known = carried_motion(replace(drive, poses_T44=turned), 16, 40, 10, 4)
    assert known == 10
    # The motion after frame 40 (x 2.5 m), carried to frame 16 (x 1 m): 0.25 m ahead and 0.4 m aside per half second.
    assert poses[0][:3, 3] == pytest.approx([1.25, 0.4, 0.0])
    assert poses[1][:3, 3] == pytest.approx([1.5, 0.8, 0.0])


def test_uncertainty_is_held_against_the_latent_error(check):
    # Errors 5 at every lead of this model, so only what is told can vary.
    rising = [
        replace(
            one,
            uncertainty_F=2.0 * one.lead_F,
            latent_error=one.latent_error | {MODEL: 4.0 * one.lead_F},
        )
        for one in check.foretellings
    ]
    measures, _ = imagination_measures(replace(check, foretellings=rising), lpips=None)
    assert value(measures, "rank correlation", MODEL) == pytest.approx(1.0)
    assert value(measures, "told over true error", MODEL) == pytest.approx(0.5)


def test_the_trust_horizon_is_held_against_what_came_after_it(check):
    """Errors as expected up to 2 s and twice that later: the start at 5 s knows 3 s of the one at 2 s."""
    ones = [
        replace(
            one,
            uncertainty_F=np.ones(len(one.lead_F)),
            latent_error=one.latent_error | {MODEL: np.where(one.lead_F <= 2.0, 1.0, 2.0)},
        )
        for one in check.foretellings
    ]
    measures = trust_measures(ones)
    # Leads of 2, 2.5 and 3 s are averaged to 1, 1.3 and 1.51; 1.35 lies 0.35 / 0.51 of the way from 1.5 s to 3 s.
    assert value(measures, "trust horizon", MODEL) == pytest.approx(1.5 + 0.35 / 0.51 * 1.5)
    # Up to 2.53 s: four frames as expected, one is not. Beyond: five, none of them.
    assert value(measures, "kept the tolerance within", MODEL) == pytest.approx(0.8)
    assert value(measures, "kept the tolerance beyond", MODEL) == 0.0
    assert [m.count for m in measures] == [1, 5, 5]
    assert trust_measures(ones[:1]) == [], "nothing is known before an imagination could be checked"
    assert trust_measures([replace(one, latent_error={}) for one in ones]) == []


def test_contact_along_the_driven_motion(check):
    # Contact is foretold with 0 everywhere; the bumper was pressed at 107.2 s only.
    times = 100 + np.arange(0, 10, 0.1)
    bumper = np.stack([times, (np.abs(times - 107.2) < 0.01).astype(float)], axis=1)
    measures = contact_on_the_drive(check, bumper, first_stamp_s=100.0)
    # Start 2 s sees it in frame (7, 7.5], start 5 s too: 2 of 16 + 10 frames.
    assert value(measures, "contact rate", "bumper") == pytest.approx(2 / 26)
    assert value(measures, "calibration error", "imagined, as driven") == pytest.approx(2 / 26)
    assert contact_on_the_drive(check, bumper + [1000.0, 0.0], first_stamp_s=100.0) == []


def test_still_and_baselines_stand_beside_every_lead(check):
    measures, _ = imagination_measures(check, lpips=None)
    told = {m.who for m in measures if m.metric == "PSNR" and m.at_s == 2.0}
    assert told == {MODEL, "last frame", "nearest view", "mean view", STILL, OTHER}


def test_lpips_without_weights_says_what_to_give(check, tmp_path):
    _, skipped = imagination_measures(check, lpips=None)
    assert any("pip install stlpips-pytorch" in reason for reason in skipped)
    with pytest.raises(ValueError, match=r"LPIPS needs tor|gone: not AlexNet's weights"):
        alexnet_lpips(tmp_path / "gone")


def test_shift_tolerant_lpips_is_a_measure_beside_psnr(check):
    lpips = shift_tolerant_lpips()
    assert lpips is not None
    measures, skipped = imagination_measures(check, lpips)
    # Grey against grey: AlexNet sees no edge in either, so what differs is small, but not nothing.
    assert 0.0 < value(measures, "ST-LPIPS", MODEL, 4.0) < 0.1
    assert not any("LPIPS" in reason for reason in skipped)
