"""The report of a small recorded run: complete, self-contained, honest about what is missing."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from sana_wm_ros.evaluation.bags import BadBag
from sana_wm_ros.evaluation.drive import read_drive
from sana_wm_ros.evaluation.imagination_check import check_imagination
from sana_wm_ros.evaluation.planner_facts import percentiles, planner_facts
from sana_wm_ros.evaluation.recording import read_recording
from sana_wm_ros.evaluation.report import ReportInput, write_report

from .synthetic import (
    SPEC,
    BagWriter,
    OffByModel,
    bright_drive,
    odometry,
    path_message,
    rollouts_message,
    write_input_bag,
    write_output_bag,
)


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    write_input_bag(folder / "input")
    write_output_bag(folder / "output")
    return folder


@pytest.fixture(scope="module")
def page(bags):
    given = ReportInput(
        recording=read_recording(bags / "output"),
        command="sana_wm report output --bag <input>",
        model="models/nano",
        recorded=read_drive(bags / "input", SPEC),
        check=check_imagination(OffByModel(off=3), bright_drive(), starts=[4, 10]),
        skipped=["nothing but a test"],
    )
    written = write_report(given, bags / "report")
    return written.page.read_text(encoding="utf-8"), json.loads(written.metrics.read_text()), written


def test_candidates_come_back_as_they_were_drawn(bags):
    cycle = read_recording(bags / "output").candidates[0]
    assert cycle.costs_N.tolist() == [0, 1, 2, 3, 4]
    assert [contact.any() for contact in cycle.contacts] == [False, False, False, False, True]
    assert np.flatnonzero(cycle.contacts[4])[0] == 9  # red beyond point 8
    assert cycle.origins == ("arc",) * 5
    assert cycle.stamp_s == 100.0


def test_facts_of_the_run_by_hand(bags):
    facts = planner_facts(read_recording(bags / "output"))
    # 20 cycles at 2 Hz, none published at 4.5 s only (0.4 < k / 20 < 0.5: k = 9)
    assert facts.plans == 19
    assert facts.rate_hz == pytest.approx(2.0)
    assert facts.configured_rate_hz == 2.0
    assert facts.latencies_s == pytest.approx([0.1 + 0.01 * k for k in range(20)])
    assert [(span.start_s, span.end_s, span.level) for span in facts.stops] == [(4.5, 5.0, 2)]
    assert facts.critic_names == ["clearance", "collision", "progress"]
    assert facts.shares_TM[0].tolist() == [0.25, 0.5, -1.0]


def test_percentiles_by_hand():
    assert percentiles(np.arange(101.0)) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
    assert percentiles(np.array([np.nan])) == {}


def test_the_page_needs_nothing_from_elsewhere(page):
    text, _, _ = page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:)""", text)
    assert not re.search(r"url\(|@import|<script|<link|<iframe|https?://", text)


def test_the_page_holds_what_was_in_the_bag(page):
    text, _, _ = page
    for words in (
        "stopped: no picture for 0.6 s",
        "19 plans",
        "/planner/rollouts",
        "models/nano",
        "From 0.5 to 8 s ahead",
    ):
        assert words in text
    # candidates, timing, diagnostics, shares, PSNR and two film strips
    assert len(re.findall(r'src="data:image/', text)) == 7


def test_text_from_outside_is_escaped(page):
    text, _, _ = page
    assert "&lt;input&gt;" in text and "<input>" not in text


def test_what_was_left_out_is_said(page):
    assert "nothing but a test" in page[0]


def test_the_numbers_are_there_as_json_too(page):
    _, metrics, _ = page
    assert metrics["plans"] == 19
    assert metrics["imagination"]["better_than_guesses_s"] == [0.5, 8.0]
    assert metrics["latency_s"]["p50"] == pytest.approx(0.195)
    assert metrics["stops"][0]["message"] == "stopped: no picture for 0.6 s"
    assert metrics["topics"]["/plan"] == 19


def test_film_strip_lies_beside_the_page(page):
    assert page[2].film_strip.read_bytes().startswith(b"\x89PNG")


def test_a_run_without_model_or_input_still_gets_a_page(bags, tmp_path):
    given = ReportInput(recording=read_recording(bags / "output"), command="x", model="none")
    text = write_report(given, tmp_path).page.read_text(encoding="utf-8")
    assert "not checked against the recording" in text
    assert not (tmp_path / "film_strip.png").exists()


def test_a_run_that_published_only_one_plan_still_gets_a_page(tmp_path):
    with BagWriter(tmp_path / "thin") as bag:
        bag.write("/plan", 5.0, path_message(5.0, np.zeros((3, 2))))
    text = write_report(
        ReportInput(recording=read_recording(tmp_path / "thin"), command="x", model="none"),
        tmp_path / "report",
    ).page.read_text(encoding="utf-8")
    for reason in ("no candidates", "diagnostics: none", "holds no ~/critics"):
        assert reason in text


def test_costs_that_are_not_numbers_are_drawn_grey_not_fatal(tmp_path):
    paths = [np.linspace([0, 0], [1, k], 5) for k in range(3)]
    clear = [np.zeros(5, bool)] * 3
    with BagWriter(tmp_path / "odd") as bag:
        for time_s, costs in (
            (5.0, [np.nan] * 3),
            (6.0, [np.inf, 1.0, -np.inf]),
            (7.0, [1e308, -1e308, 0.0]),
        ):
            bag.write("/rollouts", time_s, rollouts_message(time_s, paths, costs, clear))
            bag.write("/plan", time_s, path_message(time_s, paths[0]))
    given = ReportInput(recording=read_recording(tmp_path / "odd"), command="x", model="none")
    assert write_report(given, tmp_path / "report").page.stat().st_size > 10_000


def test_an_empty_folder_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "not_a_bag").mkdir()
    with pytest.raises(BadBag, match=r"not_a_bag: no metadata.yaml; the recording was not finished"):
        read_recording(tmp_path / "not_a_bag")


def test_a_missing_bag_is_named(tmp_path):
    with pytest.raises(BadBag, match="gone: no such bag"):
        read_recording(tmp_path / "gone")


def test_a_bag_without_a_planner_is_refused_with_what_it_holds(bags):
    with pytest.raises(BadBag, match=r"no nav_msgs/Path and no diagnostics.*camera/image.*sana_wm replay"):
        read_recording(bags / "input")


def test_a_bag_without_any_message_is_refused(tmp_path):
    with BagWriter(tmp_path / "empty"):
        pass
    with pytest.raises(BadBag, match="empty"):
        read_recording(tmp_path / "empty")


@pytest.mark.parametrize("keep", [0, 10, 2000])
def test_a_bag_cut_short_is_refused_not_half_read(bags, tmp_path, keep):
    broken = tmp_path / "broken"
    broken.mkdir()
    source = bags / "output"
    for part in source.iterdir():
        data = part.read_bytes()
        (broken / part.name).write_bytes(data[:keep] if part.suffix == ".mcap" else data)
    with pytest.raises(BadBag, match="broken"):
        read_recording(broken)


def test_the_drive_of_an_input_bag_is_on_the_models_grid(bags):
    recorded = read_drive(bags / "input", SPEC)
    assert len(recorded.drive) == 81  # 10 s at 8 Hz and the first frame
    assert recorded.drive.stamps_T[0] == 100.0
    # 0.5 m/s along x; the camera looks along x and sits 0.1 m ahead of the base
    assert recorded.drive.poses_T44[-1][:3, 3] == pytest.approx([5.1, 0.0, 0.35])
    assert recorded.drive.poses_T44[0][:3, 2] == pytest.approx([np.cos(0.12), 0.0, -np.sin(0.12)])
    assert recorded.drive.frames_THWC[0, 0, 0].tolist() == [20, 20, 20]
    assert "the camera's place on the robot was assumed" in " ".join(recorded.notes)


def test_an_input_bag_without_pictures_is_refused_with_what_it_holds(tmp_path):
    with BagWriter(tmp_path / "blind") as bag:
        bag.write("/odom", 1.0, odometry(1.0, 0.0, 0.0))
    with pytest.raises(BadBag, match=r"no topic of type sensor_msgs/msg/Image.*for image; there is /odom"):
        read_drive(tmp_path / "blind", SPEC)


def test_real_recordings_become_drives():
    folder = Path(__file__).resolve().parents[3] / "shared" / "bags"
    if not (folder / "donkey_50s").is_dir():
        pytest.skip(f"the recordings are not at {folder}")
    recorded = read_drive(folder / "donkey_50s" / "bag", SPEC)
    assert len(recorded.drive) > 390
    assert "from /tf_static" in " ".join(recorded.notes)
