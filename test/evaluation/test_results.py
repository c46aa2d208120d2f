"""Result files: complete, strict, readable JSON; and the machine that they name."""

import json

import numpy as np
import pytest

from sana_wm_ros.evaluation.hardware import cpu_model, hardware_facts, hardware_line, version_facts
from sana_wm_ros.evaluation.results import (
    BadResult,
    check_result,
    git_commit,
    json_ready,
    make_result,
    write_result,
)


def _record(**changes):
    record = make_result(
        "speed", command="sana_wm benchmark", settings={"n": 1}, results={"s": 0.5}, load_average=0.1
    )
    return record | changes


def test_a_result_says_what_it_was_measured_on(tmp_path):
    path = write_result(_record(), tmp_path / "results")
    kept = json.loads(path.read_text())
    assert path.name == "speed.json"
    assert kept["results"] == {"s": 0.5} and kept["settings"] == {"n": 1}
    assert kept["hardware"]["cores"] >= 1 and kept["hardware"]["cpu"]
    assert kept["versions"]["torch"] and kept["commit"] and kept["date"].endswith("+00:00")


@pytest.mark.parametrize("field", ["command", "hardware", "versions", "results", "commit", "load_average"])
def test_a_missing_field_is_named(field):
    record = _record()
    del record[field]
    with pytest.raises(BadResult, match=f"needs the field '{field}'"):
        check_result(record)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"results": {}}, "'results' is empty"),
        ({"command": ""}, "'command' is empty"),
        ({"hardware": "fast"}, "'hardware' is str"),
        ({"schema": 99}, "schema 99"),
    ],
)
def test_a_bad_field_is_named(changes, words, tmp_path):
    with pytest.raises(BadResult, match=words):
        write_result(_record(**changes), tmp_path)
    assert not list(tmp_path.iterdir())


def test_figures_that_are_not_finite_become_null():
    ready = json_ready(
        {"a": np.array([1.0, np.nan]), "b": (np.float32(2.0), np.inf), "c": np.int64(3), "d": True}
    )
    assert ready == {"a": [1.0, None], "b": [2.0, None], "c": 3, "d": True}
    json.dumps(ready, allow_nan=False)


def test_outside_of_git_the_commit_is_unknown(tmp_path):
    assert git_commit(tmp_path) == "unknown"


def test_processor_names_are_read_or_made_do_without(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Fast Chip 9000\n")
    assert cpu_model(info) == "Fast Chip 9000"
    assert cpu_model(tmp_path / "gone")


def test_this_machine_in_a_line():
    line = hardware_line({"cpu": "Fast Chip", "cores": 2, "memory_gib": 23.0, "gpus": []})
    assert line == "Fast Chip, 2 cores, 23 GiB, no GPU"
    assert hardware_facts()["memory_gib"] > 0
    assert "python" in version_facts()
