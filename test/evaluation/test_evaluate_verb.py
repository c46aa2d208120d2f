"""``sana_wm evaluate`` from bags to pages, figures, a spreadsheet and a bag that opens again; and ROS stays out."""

import csv
import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from sana_wm_ros.cli.main import app
from sana_wm_ros.evaluation.bags import open_bag
from sana_wm_ros.evaluation.result import read_evaluation
from sana_wm_ros.nodes.evaluation_jobs import Task, run_task, share_threads
from sana_wm_ros.nodes.offline_evaluation import EvaluateOptions

QUICK = ["--model", "toy", "--starts", "3", "--frames-per-s", "500", "--goal", "ahead:3"]
QUICK += ["--param", "planner.candidates:=4", "--param", "planner.horizon_s:=2.0"]


@pytest.fixture(scope="module")
def evaluated(checkout, tmp_path_factory):
    """Two bundled bags, one cut short by its name, and one that is not there, two at a time."""
    out = tmp_path_factory.mktemp("evaluate") / "out"
    data = checkout / "test" / "data"
    bags = [str(data / "small_12s"), str(data / "ros1_4s.bag"), str(data / "gone")]
    result = CliRunner().invoke(app, ["evaluate", *bags, *QUICK, "--jobs", "2", "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out, result.output


def test_every_recording_has_a_page_and_the_overview_leads_there(evaluated):
    out, output = evaluated
    page = (out / "report.html").read_text(encoding="utf-8")
    for name in ("small_12s", "ros1_4s"):
        assert (out / name / "report.html").is_file()
        assert f'href="{name}/report.html"' in page
    assert "gone failed: no such bag" in output and "failed: no such bag" in page
    assert "http" not in page.replace("http-equiv", ""), "self-contained: nothing is fetched"


def test_figures_are_in_json_and_csv_alike(evaluated):
    out, _ = evaluated
    evaluation = read_evaluation(out)
    assert [bag.name for bag in evaluation.bags] == ["small_12s", "ros1_4s", "gone"]
    rows = list(csv.DictReader((out / "metrics.csv").open(encoding="utf-8")))
    assert len(rows) == sum(len(bag.measures) for bag in evaluation.bags)
    assert json.loads((out / "evaluation.json").read_text())["hardware"]["cores"] >= 1
    small = {(m.metric, m.who, m.at_s) for m in evaluation.bags[0].measures}
    assert {("PSNR", "imagined", 4.0), ("ADE", "plan", 2.0), ("AUROC", "imagined", None)} <= small


def test_the_bag_has_inputs_and_outputs_on_the_nodes_topics(evaluated):
    out, _ = evaluated
    with open_bag(out / "small_12s" / "bag") as bag:
        counts = {topic.name: topic.count for topic in bag.topics}
        assert (
            counts["/camera/image/compressed"] == 121 and counts["/odom"] == 241 and counts["/tf_static"] == 1
        )
        for topic in ("/plan", "/goal_pose", "/diagnostics", "/replay/cmd_vel", "/evaluation/driven"):
            assert counts[topic] > 3, topic
        assert counts["/sana_wm_planner/rollouts"] == counts["/plan"]
        assert counts["/sana_wm_planner/imagined/film_strip"] == 3
        times = [time for _, _, time, _ in bag.messages({"/plan"})]
    assert 1.75e9 <= min(times) <= max(times) <= 1.75e9 + 13


def test_best_median_and_worst_are_shown(evaluated):
    out, _ = evaluated
    page = (out / "small_12s" / "report.html").read_text(encoding="utf-8")
    for title in ("Best moment", "Median moment", "Worst moment"):
        assert title in page
    assert "Contact: foretold and true" in page


def test_an_evaluation_is_not_overwritten_unasked(evaluated, checkout):
    out, _ = evaluated
    words = ["evaluate", str(checkout / "test" / "data" / "small_12s"), *QUICK, "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 2 and "holds an evaluation already" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--goal", "there"], "expected ahead:SECONDS"),
        (["--param", "planner.candidates"], "expected NAME:=VALUE"),
        (["--model", "no_such_model"], "no shipped model of that name"),
        (["--param", "planner.horizn_s:=3"], "the planner has no parameter 'planner.horizn_s'"),
        (["--param", "planner.candidates:=0"], "expected a whole number in [1, 1024]"),
        (["--topic", "image:=/nowhere"], "no topic /nowhere"),
        (["--lpips-weights", "gone.pth"], "LPIPS needs"),
    ],
)
def test_bad_options_are_told_in_a_line(checkout, tmp_path, words, said):
    bag = str(checkout / "test" / "data" / "raw_3s")
    result = CliRunner().invoke(app, ["evaluate", bag, *QUICK, *words, "--out", str(tmp_path / "out")])
    assert result.exit_code in (1, 2)
    assert said in result.output.replace("\n", " ")
    assert "Traceback" not in result.output


def test_a_task_that_fails_is_a_result_with_its_reason(tmp_path):
    task = Task(
        bag=tmp_path / "gone", name="gone", out=tmp_path / "out", options=EvaluateOptions(model="toy")
    )
    assert run_task(task).failure == "no such bag"


def test_processes_side_by_side_share_the_cores():
    assert share_threads(EvaluateOptions(), jobs=4, cores=16).threads == 4
    assert share_threads(EvaluateOptions(), jobs=4, cores=2).threads == 1
    assert share_threads(EvaluateOptions(threads=3), jobs=4, cores=16).threads == 3
    assert share_threads(EvaluateOptions(), jobs=1, cores=16).threads == 0


def test_on_ray_as_in_processes(checkout, tmp_path):
    pytest.importorskip("ray", reason="Ray is an extra")
    bag = str(checkout / "test" / "data" / "raw_3s")
    result = CliRunner().invoke(
        app, ["evaluate", bag, *QUICK, "--ray", "local", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    assert read_evaluation(tmp_path / "out").bags[0].measures


def test_without_ray_it_says_what_to_install(checkout, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    bag = str(checkout / "test" / "data" / "raw_3s")
    result = CliRunner().invoke(
        app, ["evaluate", bag, *QUICK, "--ray", "local", "--out", str(tmp_path / "out")]
    )
    assert result.exit_code == 2 and "--ray needs Ray: pip install 'sana_wm_ros[ray]'" in result.output


def test_the_offline_run_imports_no_ros():
    code = "import sys, sana_wm_ros.nodes.evaluation_jobs; sys.exit(any(m.split('.')[0] in ROS for m in sys.modules))"
    code = f"ROS = {{'rclpy', 'sensor_msgs', 'nav_msgs', 'builtin_interfaces', 'cv_bridge'}}\n{code}"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
