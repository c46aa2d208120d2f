"""Two evaluations side by side: better or worse by the metric's own sense, and certain only beyond the spread."""

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from sana_wm_ros.cli.main import app
from sana_wm_ros.evaluation.comparison import compare
from sana_wm_ros.evaluation.measure import Measure
from sana_wm_ros.evaluation.result import (
    BadEvaluation,
    BagResult,
    Evaluation,
    read_evaluation,
    unique_names,
    write_evaluation,
)

ADE = Measure(group="plan", metric="ADE", who="plan", value=1.0, unit="m", at_s=4.0, better="lower")
PSNR = Measure(
    group="imagination", metric="PSNR", who="imagined", value=20.0, unit="dB", at_s=4.0, better="higher"
)


def evaluation(*rows, model="a", settings=None):
    """A bag for each row of (ADE, PSNR)."""
    bags = [
        BagResult(
            name=f"bag{k}",
            bag=f"/bags/bag{k}",
            measures=[replace(ADE, value=ade), replace(PSNR, value=psnr)],
            seconds=10.0,
            wall_s=1.0,
        )
        for k, (ade, psnr) in enumerate(rows)
    ]
    return Evaluation(command="x", model=model, settings=settings or {}, bags=bags)


def test_less_distance_is_better_and_fewer_decibels_are_worse():
    (ade, psnr), notes = compare(evaluation((1.0, 20.0)), evaluation((0.8, 19.0)))
    assert (ade.verdict, psnr.verdict) == ("better", "worse")
    assert (ade.before, ade.after) == (1.0, 0.8)
    assert ade.certain is None, "one recording says nothing about chance"
    assert notes == []


def test_certain_is_what_exceeds_twice_the_standard_error():
    before = evaluation((1.0, 20.0), (2.0, 20.0), (3.0, 20.0))
    # ADE: -0.1 -0.1 -0.1, no spread. PSNR: +3 0 -3, mean 0 +- 1.7; then +3 0 0: 1 +- 1.
    ade, psnr = compare(before, evaluation((0.9, 23.0), (1.9, 20.0), (2.9, 20.0)))[0]
    assert ade.certain is True and ade.verdict == "better"
    assert psnr.certain is False and psnr.verdict == "better"
    assert compare(before, evaluation((1.0, 23.0), (2.0, 20.0), (3.0, 17.0)))[0][1].verdict == "same"


def test_only_common_recordings_are_compared_and_other_settings_are_told():
    changes, notes = compare(
        evaluation((1.0, 20.0), (5.0, 5.0), settings={"goal": "ahead:10"}),
        evaluation((1.0, 20.0), settings={"goal": "ahead:5"}),
    )
    assert changes[0].recordings == 1 and changes[0].verdict == "same"
    assert notes == ["only in the first: bag1", "goal differs: ahead:10 and ahead:5"]


def test_nothing_in_common_is_refused():
    other = replace(evaluation((1.0, 1.0)), bags=[replace(evaluation((1.0, 1.0)).bags[0], name="other")])
    with pytest.raises(BadEvaluation, match="no recording in common: bag0 and other"):
        compare(evaluation((1.0, 1.0)), other)


def test_an_evaluation_survives_the_disk(tmp_path):
    one = evaluation((1.0, float("nan")))
    write_evaluation(one, tmp_path)
    back = read_evaluation(tmp_path)
    assert back.bags[0].measures[0] == one.bags[0].measures[0]
    assert back.bags[0].measures[1].value != back.bags[0].measures[1].value
    assert (tmp_path / "metrics.csv").read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no evaluation.json"), ("{", "not a readable evaluation"), ("{}", "of another version")],
)
def test_what_is_no_evaluation_is_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "evaluation.json").write_text(content)
    with pytest.raises(BadEvaluation, match=words):
        read_evaluation(tmp_path)


def test_the_verb_lists_what_changed(tmp_path):
    write_evaluation(evaluation((1.0, 20.0)), tmp_path / "a")
    write_evaluation(evaluation((0.8, 20.0), model="b"), tmp_path / "b")
    result = CliRunner().invoke(
        app, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--csv", str(tmp_path / "c")]
    )
    assert result.exit_code == 0, result.output
    assert "1 better, 0 worse, of 1 shown" in result.output
    assert (tmp_path / "c").read_text().startswith("group,metric,who")


def test_recordings_get_the_shortest_names_that_tell_them_apart(tmp_path):
    paths = [tmp_path / part for part in ("a/one/bag", "b/one/bag", "b/two.bag")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    assert unique_names(paths[1:]) == ["one", "two"]
    assert unique_names(paths)[:2] == ["a_one", "b_one"]
