"""Parameters: one table, one YAML, refusals with reason and range."""

from __future__ import annotations

import array
from pathlib import Path
from typing import Any

import pytest
import yaml

from sana_wm_ros.nodes.planner_factory import shipped_weights
from sana_wm_ros.nodes.settings import Settings, parameters, settings_from

FILE = Path(__file__).parents[2] / "config" / "planner.yaml"


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def test_the_file_names_every_parameter_with_its_default() -> None:
    written = flat(yaml.safe_load(FILE.read_text())["/**"]["ros__parameters"])
    table = parameters(shipped_weights())
    assert written == {name: parameter.default for name, parameter in table.items()}
    assert all(type(written[name]) is type(parameter.default) for name, parameter in table.items())


def test_every_parameter_is_described_and_every_number_has_a_range() -> None:
    for parameter in parameters(shipped_weights()).values():
        assert parameter.text.endswith((".", ")", "s")) and len(parameter.text) > 15
        if type(parameter.default) in (int, float):
            assert parameter.low is not None and parameter.high is not None
            assert parameter.low <= parameter.default <= parameter.high


def test_values_become_the_settings_that_the_parts_take() -> None:
    values = {name: parameter.default for name, parameter in parameters({}).items()}
    assert settings_from(values) == Settings()
    changed = settings_from(values | {"robot.radius_m": 0.5, "planner.candidates": 8})
    assert (changed.robot.radius_m, changed.planner.candidates) == (0.5, 8)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("robot.radius_m", 50.0, "a number in [0.02, 5]"),
        ("robot.radius_m", float("nan"), "a number in [0.02, 5]"),
        ("robot.radius_m", "wide", "a number in [0.02, 5]"),
        ("robot.drive", "tank", "one of differential, ackermann, omnidirectional"),
        ("planner.candidates", 2.5, "a whole number in [1, 1024]"),
        ("planner.candidates", True, "a whole number in [1, 1024]"),
        ("command.stamped", 1, "true or false"),
        ("model.path", 3, "a text"),
        ("safety.camera_timeout_s", 2.0, "a number in [0.05, 0.4]"),
        ("visual.scan_s", [2.0, 90.0], "numbers in [0.1, 60]"),
        ("visual.scan_s", [2.0, float("nan")], "numbers in [0.1, 60]"),
        ("visual.scan_s", "2.0", "numbers in [0.1, 60]"),
        ("visual.scan_s", 2.0, "numbers in [0.1, 60]"),
        ("visual.scan_s", [1.0] * 17, "numbers in [0.1, 60]"),
    ],
)
def test_a_bad_value_is_refused_with_name_and_range(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parameters({})[name].check(value)
    assert name in str(caught.value) and words in str(caught.value)


@pytest.mark.parametrize("given", [[], b"", [1, 2.5], array.array("d", [1.0, 2.5])])
def test_numbers_come_as_rclpy_gives_them(given: Any) -> None:
    assert parameters({})["visual.scan_s"].check(given) == tuple(float(one) for one in given)


def test_a_whole_number_is_taken_where_a_fraction_may_stand() -> None:
    assert parameters({})["planner.rate_hz"].check(2) == 2.0
