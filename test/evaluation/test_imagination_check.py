"""The offline check of an imagination, with a model whose error is known by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sana_wm_ros.evaluation.foretold_strip import foretold_strip, spread_leads
from sana_wm_ros.evaluation.imagination_check import MODEL, STILL, check_imagination, spread_starts
from sana_wm_ros.evaluation.planner_facts import planner_facts
from sana_wm_ros.evaluation.recording import Recording
from sana_wm_ros.evaluation.summary import summary_sentences

from .synthetic import OffByModel, bright_drive


def _db(levels: float) -> float:
    return 20 * np.log10(255 / levels)


def test_psnr_of_a_model_that_is_off_by_five_levels():
    check = check_imagination(OffByModel(off=5), bright_drive(), starts=[4, 10])
    assert check.psnr[MODEL] == pytest.approx(np.full(16, _db(5)))
    # The last frame is 4 levels darker for every latent frame ahead: 4, 8, 12, ...
    assert check.psnr["last frame"] == pytest.approx([_db(4 * k) for k in range(1, 17)])


def test_leads_are_half_seconds_and_each_start_reaches_the_end_of_the_drive():
    check = check_imagination(OffByModel(off=5), bright_drive(81), starts=[4, 10])
    first, second = check.foretellings
    assert first.lead_F.tolist() == [0.5 * k for k in range(1, 17)]  # 20 latent frames, 4 of them context
    assert len(second.lead_F) == 10
    assert check.starts_F.tolist() == [2] * 10 + [1] * 6
    assert (first.start_s, second.start_s) == (2.0, 5.0)


def test_seen_frames_are_those_of_the_time_that_was_foretold():
    check = check_imagination(OffByModel(off=0), bright_drive(), starts=[4])
    one = check.foretellings[0]
    assert one.now_HWC[0, 0, 0] == 16
    assert one.seen_FHWC[:, 0, 0, 0].tolist() == [20 + 4 * k for k in range(16)]
    assert np.isinf(one.psnr[MODEL]).all()


def test_better_is_the_stretch_in_which_every_guess_is_beaten():
    # Off by 10 levels: behind the last frame at 4 and 8 levels (0.5 and 1 s), ahead of it from 12 levels on.
    late = check_imagination(OffByModel(off=10), bright_drive(), starts=[4])
    assert late.better_s == (1.5, 8.0)
    # Off by 3: better than 4, 8, 12 ... levels throughout.
    assert check_imagination(OffByModel(off=3), bright_drive(), starts=[4]).better_s == (0.5, 8.0)
    # Off by 100: worse than any guess.
    assert check_imagination(OffByModel(off=100), bright_drive(), starts=[4]).better_s is None


def test_leads_that_few_starts_reach_prove_nothing():
    # Starts 4, 16, 17 and 18 reach 8, 2, 1.5 and 1 s: beyond 2 s there is but one of four.
    assert check_imagination(OffByModel(off=3), bright_drive(), starts=[4, 16, 17, 18]).better_s == (0.5, 2.0)


def test_octaves_are_means_over_all_starts_and_leads():
    check = check_imagination(OffByModel(off=5), bright_drive(), starts=[4, 10])
    octaves = check.octaves()
    assert [(one.from_s, one.to_s) for one in octaves] == [
        (0.5, 0.5),
        (1.0, 1.0),
        (1.5, 2.0),
        (2.5, 4.0),
        (4.5, 8.0),
    ]
    assert [one.starts for one in octaves] == [2, 2, 2, 2, 2]
    assert octaves[2].psnr["last frame"] == pytest.approx((_db(12) + _db(16)) / 2)
    # 4.5 and 5 s from two starts, 5.5 to 8 s from one: 36 and 40 levels count twice
    levels = [36, 36, 40, 40, 44, 48, 52, 56, 60, 64]
    assert octaves[4].psnr["last frame"] == pytest.approx(np.mean([_db(n) for n in levels]))
    assert octaves[2].label == "1.5–2" and octaves[0].label == "0.5"


def test_the_summary_says_so_in_words():
    facts = _no_plans()
    good = summary_sentences(facts, check_imagination(OffByModel(off=3), bright_drive(), starts=[4]))[0]
    late = summary_sentences(facts, check_imagination(OffByModel(off=10), bright_drive(), starts=[4]))[0]
    bad = summary_sentences(facts, check_imagination(OffByModel(off=100), bright_drive(), starts=[4]))[0]
    assert "From 0.5 to 8 s ahead" in good and f"{_db(3):.1f} dB" in good
    assert "Before that" not in good and "Beyond that" not in good
    assert "From 1.5 to 8 s ahead" in late and "Before that a guess is closer" in late
    assert "do not trust this model" in bad
    assert "not checked" in summary_sentences(facts, None)[0]


def test_the_control_stands_still_while_the_imagination_moves():
    check = check_imagination(OffByModel(off=5), bright_drive(), starts=[4])
    # Told to stand still this model shows level 3; seen are 20, 24, 28, ...
    assert check.psnr[STILL] == pytest.approx([_db(17 + 4 * k) for k in range(16)])
    words = " ".join(summary_sentences(_no_plans(), check))
    assert "It listens to the motion" in words
    assert (
        f"up to {check.octaves()[3].psnr[MODEL] - check.octaves()[3].psnr[STILL]:.1f} dB further off" in words
    )


def test_a_model_that_ignores_motion_is_told_so():
    check = check_imagination(OffByModel(off=5), bright_drive(), starts=[4])
    deaf = replace(check, psnr=check.psnr | {STILL: check.psnr[MODEL]})
    assert "It hardly listens to the motion (at most 0.0 dB" in " ".join(summary_sentences(_no_plans(), deaf))


def test_a_blurred_imagination_is_called_blurred():
    check = check_imagination(OffByModel(off=3), bright_drive(), starts=[4])
    blurred = replace(check, ceiling_db=_db(3) + 9.0)
    sharp = replace(check, ceiling_db=_db(3) + 1.0)
    assert "not detail" in " ".join(summary_sentences(_no_plans(), blurred))
    assert "not detail" not in " ".join(summary_sentences(_no_plans(), sharp))


def test_horizon_cuts_what_is_imagined():
    check = check_imagination(OffByModel(off=1), bright_drive(), starts=[4], horizon_s=3.0)
    assert check.lead_F[-1] == 3.0


def test_the_autoencoder_alone_is_measured_on_seen_frames():
    # This model encodes and decodes without loss, however wrong it imagines.
    assert np.isinf(check_imagination(OffByModel(off=9), bright_drive(), starts=[4]).ceiling_db)


def test_a_perfect_imagination_is_better_to_the_end():
    assert check_imagination(OffByModel(off=0), bright_drive(), starts=[4, 10]).better_s == (0.5, 8.0)


@pytest.mark.parametrize("starts", [[], [0], [20], [4, 99]])
def test_starts_that_leave_nothing_to_compare_are_refused(starts):
    with pytest.raises(ValueError, match="must lie within"):
        check_imagination(OffByModel(off=1), bright_drive(), starts=starts)


def test_starts_spread_from_the_first_eight_seconds_to_four_before_the_end():
    assert spread_starts(120, 4) == [16, 48, 80, 112]
    with pytest.raises(ValueError, match="too short"):
        spread_starts(6, 4)


def test_the_strip_of_a_short_recording_stays_within_it():
    check = check_imagination(OffByModel(off=3), bright_drive(), starts=[4])
    leads = spread_leads(float(check.foretellings[0].lead_F[-1]))
    assert leads == [0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0]
    assert foretold_strip(check.foretellings[0], leads, tile_width=96).shape[1] == 61 + 8 * 99


def test_leads_of_a_long_recording_are_spread_and_end_with_it():
    leads = spread_leads(52.0)
    assert leads[-1] == 52.0 and len(leads) <= 7 and leads == sorted(leads)


def _no_plans():
    return planner_facts(Recording(path=Path("out"), topics=[], duration_s=0.0))
