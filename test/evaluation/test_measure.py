"""Figures: means over recordings, tables and spreadsheets say what was measured, and nothing else."""

import csv
import math
from dataclasses import replace

import pytest

from sana_wm_ros.evaluation.measure import Measure, pooled, write_csv
from sana_wm_ros.evaluation.report_tables import facts_table, number, tables

ONE = Measure(group="plan", metric="ADE", who="plan", value=1.0, unit="m", at_s=4.0, better="lower", count=7)


def test_a_mean_weighs_every_recording_alike_and_leaves_out_what_was_not_measured():
    other = replace(ONE, who="standing still", value=5.0)
    (mean, alone) = pooled([[ONE, other], [replace(ONE, value=3.0)], [replace(ONE, value=math.nan)]])
    assert (mean.value, mean.count) == (2.0, 2)
    assert (alone.value, alone.count) == (5.0, 1)


def test_a_spreadsheet_has_a_row_per_recording_and_figure(tmp_path):
    write_csv(tmp_path / "m.csv", {"a": [ONE], "b": [replace(ONE, value=math.nan, at_s=None)]})
    rows = list(csv.DictReader((tmp_path / "m.csv").open()))
    assert [(row["bag"], row["value"], row["at_s"]) for row in rows] == [("a", "1.0", "4"), ("b", "", "")]
    assert rows[0]["metric"] == "ADE" and rows[0]["count"] == "7" and rows[0]["better"] == "lower"


def test_the_best_of_a_column_is_marked_and_hindsight_does_not_compete():
    measures = [
        ONE,
        replace(ONE, who="standing still", value=2.0),
        replace(ONE, who="best candidate", value=0.1),
    ]
    (table,) = tables(measures, "plan", ["ADE", "FDE"])
    assert table.columns == ["4"] and table.hint == "m, lower is better"
    assert [(who, cells[0].text, cells[0].best) for who, cells in table.rows] == [
        ("plan", "1.00", True),
        ("standing still", "2.00", False),
        ("best candidate", "0.10", False),
    ]


def test_of_equals_none_is_best():
    (table,) = tables([ONE, replace(ONE, who="standing still")], "plan", ["ADE"])
    assert not any(cells[0].best for _, cells in table.rows)


def test_figures_without_seconds_ahead_are_listed():
    assert facts_table([replace(ONE, at_s=None), ONE], ["plan"]) == [("plan: ADE", "plan", "1.00 m", "7")]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"value": math.nan}, "–"),
        ({"value": 0.876, "metric": "miss rate", "unit": ""}, "88 %"),
        ({"value": 17.04, "unit": "dB"}, "17.0 dB"),
        ({"value": 512.3, "unit": "MiB"}, "512 MiB"),
        ({"value": 0.5, "unit": ""}, "0.50"),
    ],
)
def test_figures_are_written_as_people_read_them(changes, text):
    assert number(replace(ONE, **changes)) == text
