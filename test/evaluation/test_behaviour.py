"""Behaviour against a reference: what differs is told, what processors may do differently is not."""

import copy
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sana_wm_ros.cli.main import app
from sana_wm_ros.evaluation.behaviour import (
    DEFAULT_TOLERANCES,
    BadReference,
    differences,
    read_reference,
    write_reference,
)

REFERENCES = Path(__file__).resolve().parents[1] / "data" / "references"
# The command that made each reference; with --update-ref it makes it anew.
COMMANDS = {
    "small_12s": "replay {data}/small_12s --model nano --goal ahead:5 --param planner.candidates:=12 "
    "--param planner.horizon_s:=8.0 --param planner.budget_s:=0.5",
    "ros1_4s": "replay {data}/ros1_4s.bag --model nano --goal 7.2,7.0 --param robot.drive:=ackermann "
    "--param planner.candidates:=8 --param planner.horizon_s:=8.0 --param planner.rate_hz:=2.0 "
    "--param goal.timeout_s:=3.0",
}


def plan(at_s=0.0, y=0.0, *, cost=10.0, margin=0.1, reason="ok; 2 better ones were refused", **changes):
    record = {
        "at_s": at_s,
        "took_s": 0.1,
        "stop": "",
        "reason": reason,
        "late": False,
        "horizon_s": 4.0,
        "origin": "arc",
        "cost": cost,
        "margin": margin,
        "path": [[0.5, y, 0.0], [1.0, y, 0.0]],
    }
    return record | changes


def record(plans=None, commands=None, stops=None, **setup):
    return {
        "schema": 1,
        "setup": {"bag": "b", **setup},
        "tolerances": dict(DEFAULT_TOLERANCES),
        "plans": plans or [plan()],
        "commands": [[0.0, 0.3, 0.0, 0.1]] if commands is None else commands,
        "stops": stops or [],
    }


def stop(kind="plan expired", reason="the plan expired 0.3 s ago", from_s=1.0, to_s=2.0):
    return {"from_s": from_s, "to_s": to_s, "kind": kind, "reason": reason}


def told(was, now):
    return [one.what for one in differences(was, now)]


def test_equal_runs_do_not_differ_nor_do_those_that_round_differently():
    was = record()
    now = record(
        plans=[plan(y=0.001, cost=10.001, reason="ok; 3 better ones were refused")],
        commands=[[0.0, 0.305, 0.0, 0.1]],
    )
    assert differences(was, was) == [] == differences(was, now)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"y": 0.5}, "path (0.50 m, 0.00 rad off"),
        ({"cost": 10.5}, "cost"),
        ({"stop": "no valid candidate"}, "plan or reason for none"),
        ({"horizon_s": 2.0}, "imagined horizon"),
        ({"took_s": 0.4}, "time of the cycle"),
        ({"reason": "the follower is asleep"}, "reason"),
    ],
)
def test_a_plan_that_differs_is_told(changes, what):
    (found,) = told(record(), record(plans=[plan(**changes)]))
    assert found.startswith(what)


def test_a_choice_between_equals_may_fall_either_way_and_so_may_what_follows():
    was = record(
        plans=[plan(0.0, margin=1e-5), plan(1.0), plan(2.0), plan(3.0)], commands=[[2.0, 0.3, 0.0, 0.1]]
    )
    now = record(
        plans=[plan(0.0, y=0.4, margin=1e-5), plan(1.0, y=0.2, cost=11.0), plan(2.0), plan(3.0, y=0.3)],
        commands=[[2.0, 0.1, 0.0, -0.1]],
    )
    # The first falls the other way and the second follows from it; then they agree, and the last one counts.
    assert [one.time_s for one in differences(was, now)] == [3.0]
    # Where there was a clear choice all of it counts.
    was["plans"][0]["margin"] = now["plans"][0]["margin"] = 0.1
    assert len(differences(was, now)) == 5


@pytest.mark.parametrize(
    ("stops", "what"),
    [
        ([], "stop 1"),
        ([stop(kind="camera stale")], "stop 1"),
        ([stop(to_s=2.5)], "end of stop 1 (plan expired), s"),
        ([stop(reason="no reason")], "reason of stop 1"),
        ([stop(reason="the plan expired 0.4 s ago", to_s=2.04)], None),
    ],
)
def test_stops_are_compared_with_their_reasons_but_not_the_reasons_figures(stops, what):
    assert told(record(stops=[stop()]), record(stops=stops)) == ([] if what is None else [what])


def test_a_command_that_differs_is_told():
    assert told(record(), record(commands=[[0.0, 0.5, 0.0, 0.1]])) == ["command"]
    assert told(record(), record(commands=[])) == ["half seconds of commands"]


def test_a_reference_of_another_setup_is_refused():
    with pytest.raises(BadReference, match="the reference is of model 'a', this run of 'b'"):
        differences(record(model="a"), record(model="b"))


def test_a_reference_is_a_line_per_event_and_survives_the_disk(tmp_path):
    was = record(plans=[plan(), plan(1.0)], stops=[stop()])
    write_reference(tmp_path / "r.json", was)
    assert read_reference(tmp_path / "r.json") == was
    assert sum(line.startswith('  {"at_s"') for line in (tmp_path / "r.json").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no such reference; --update-ref writes it"),
        ("{", "not a reference"),
        ("{}", "of another version"),
    ],
)
def test_what_is_no_reference_is_refused(tmp_path, content, words):
    if content is not None:
        (tmp_path / "r.json").write_text(content)
    with pytest.raises(BadReference, match=words):
        read_reference(tmp_path / "r.json")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_planner_behaves_on_bundled_recordings_as_it_did(name, checkout):
    words = [word.format(data=checkout / "test" / "data") for word in COMMANDS[name].split()]
    result = CliRunner().invoke(app, [*words, "--check", str(REFERENCES / f"{name}.json")])
    again = f"sana_wm {COMMANDS[name].format(data='test/data')} --check test/data/references/{name}.json --update-ref"
    assert result.exit_code == 0, f"{result.output}\nif this is meant: {again}"
    assert "as before" in result.output


def test_one_reference_rests_on_clear_choices():
    # Its budget leaves no time to refine; refined candidates, as in the other one, differ little in cost.
    kept = read_reference(REFERENCES / "small_12s.json")
    planned = [one for one in kept["plans"] if "path" in one]
    clear = [one for one in planned if one["margin"] > kept["tolerances"]["margin_relative"]]
    assert len(planned) >= 10 and len(clear) >= 0.7 * len(planned) and kept["stops"]


def test_another_behaviour_is_found_out_and_the_reference_can_be_written_anew(checkout, tmp_path):
    kept = json.loads((REFERENCES / "ros1_4s.json").read_text())
    broken = copy.deepcopy(kept)
    for one in broken["plans"]:
        one["path"] = [[x, y + 1.0, yaw] for x, y, yaw in one.get("path", [])]
    path = tmp_path / "r.json"
    write_reference(path, broken)
    words = [word.format(data=checkout / "test" / "data") for word in COMMANDS["ros1_4s"].split()]
    found = CliRunner().invoke(app, [*words, "--check", str(path)])
    assert found.exit_code == 1 and "path (1.00 m" in found.output and "--update-ref" in found.output
    anew = CliRunner().invoke(app, [*words, "--check", str(path), "--update-ref"])
    assert anew.exit_code == 0 and "path (1.00 m" in anew.output
    assert differences(kept, read_reference(path)) == []
