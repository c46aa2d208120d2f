"""The offline check of an imagination, with a model whose error is known by hand."""

from pathlib import Path

import numpy as np
import pytest

from sana_wm_ros.evaluation.foretold_strip import foretold_strip, spread_leads
from sana_wm_ros.evaluation.imagination_check import MODEL, check_imagination, spread_starts
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
    # Starts 4, 10 and 15 reach 8, 5 and 2.5 s: two of three reach 5 s.
    assert check_imagination(OffByModel(off=3), bright_drive(), starts=[4, 10, 15]).better_s == (0.5, 5.0)


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
