"""Every kind of broken recording is evaluated as far as it can be, and the report says what was missing."""

import json

import cv2
import numpy as np
import pytest

from sana_wm_ros.evaluation.bag_writer import BagWriter, header
from sana_wm_ros.evaluation.bags import BadBag
from sana_wm_ros.nodes.offline_evaluation import EvaluateOptions, evaluate_bag

from .synthetic import camera_info, image, odometry

QUICK = EvaluateOptions(
    model="toy",
    starts=2,
    frames_per_s=500.0,
    goal="ahead:3",
    parameters=("planner.candidates:=4", "planner.horizon_s:=2.0"),
)
SECONDS, START_S = 9.0, 100.0


def record(
    path, *, camera=True, odom=True, info=True, encode=None, gap=(0.0, 0.0), camera_clock=0.0, stamps=True
):
    """0.5 m/s along x at 8 Hz; each argument breaks one thing. ``encode(k)``: encoding of picture k."""
    with BagWriter(path) as bag:
        for k in range(round(SECONDS * 8)):
            time_s = START_S + k / 8
            if odom:
                bag.write("/odom", time_s, odometry(time_s, 0.5 * k / 8, 0.0))
            if info and camera:
                bag.write("/camera/camera_info", time_s, camera_info(time_s))
            if camera and not gap[0] <= k / 8 < gap[1]:
                message = picture(k, time_s + camera_clock, "rgb8" if encode is None else encode(k))
                if not stamps:
                    message.header = header(0.0, "camera")
                bag.write("/camera/image", time_s, message)
    return path


def picture(k, time_s, encoding):
    wall = np.roll(np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8), k, axis=1)
    pixels = {
        "rgb8": lambda: wall,
        "bgr8": lambda: wall[..., ::-1],
        "mono8": lambda: cv2.cvtColor(wall, cv2.COLOR_RGB2GRAY)[..., None],
        "32FC1": lambda: np.zeros((64, 96, 1), np.float32),
    }
    return image(time_s, np.ascontiguousarray(pixels[encoding]()), encoding)


def evaluate(path, tmp_path):
    result = evaluate_bag(path, path.name, tmp_path / "out", QUICK)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    kept = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert kept["measures"] and set(result.skipped) <= set(kept["skipped"])
    for sentence in result.skipped:
        assert sentence.split("'")[0] in page, "the report says what was left out"
    return result, page


def metrics(result):
    return {measure.metric for measure in result.measures}


def said(result):
    return " ".join([*result.skipped, *result.notes])


def test_a_whole_recording_has_it_all(tmp_path):
    result, page = evaluate(record(tmp_path / "whole"), tmp_path)
    assert {"PSNR", "latent error", "controllability", "ADE", "rank correlation", "jerk"} <= metrics(result)
    assert (
        "Its plans, and what was then driven" in page and "Best moment" not in page
    )  # two starts: no middle one
    assert "refused" not in said(result)


def test_cut_short(tmp_path):
    path = record(tmp_path / "cut")
    (file,) = path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: int(0.7 * file.stat().st_size)])
    result, page = evaluate(path, tmp_path)
    assert {"PSNR", "ADE"} <= metrics(result)
    assert 3.0 < result.seconds < SECONDS
    assert "cut short; all that was recorded before the cut was used" in page


def test_no_camera(tmp_path):
    result, page = evaluate(record(tmp_path / "blind", camera=False), tmp_path)
    assert "jerk" in metrics(result) and not {"PSNR", "ADE"} & metrics(result)
    assert "no image: the bag has no topic" in page
    assert "no camera message was received yet" in page, "the planner stood, and said why"


def test_no_odometry(tmp_path):
    result, page = evaluate(record(tmp_path / "lost", odom=False), tmp_path)
    assert "without odom there is no drive to imagine from" in page
    assert [m for m in result.measures if m.who == "autoencoder alone"], (
        "what the eye alone can do is measured"
    )
    assert not {"ADE", "controllability"} & metrics(result)


def test_wrong_stamps(tmp_path):
    result, page = evaluate(record(tmp_path / "clocks", camera_clock=3000.0), tmp_path)
    assert {"PSNR", "ADE"} <= metrics(result)
    assert "different clocks (+3000.0 s apart): the times of recording were used" in page


def test_no_stamps(tmp_path):
    result, page = evaluate(record(tmp_path / "unstamped", stamps=False), tmp_path)
    assert {"PSNR", "ADE"} <= metrics(result)
    assert "no usable stamps on image" in page


def test_gaps(tmp_path):
    result, page = evaluate(record(tmp_path / "gap", gap=(1.0, 2.5)), tmp_path)
    assert {"PSNR", "ADE"} <= metrics(result)
    assert "falls into 2 stretches by gaps; the longest one was checked" in page
    assert "the newest camera message is" in page, "the planner stopped in the gap"


def test_mixed_encodings(tmp_path):
    kinds = ("rgb8", "bgr8", "mono8", "rgb8", "rgb8", "rgb8", "rgb8", "32FC1")
    result, page = evaluate(record(tmp_path / "mixed", encode=lambda k: kinds[k % 8]), tmp_path)
    assert {"PSNR", "ADE"} <= metrics(result)
    assert "pictures are encoded as &#39;32FC1&#39;" in page
    assert "/camera/image: 9 refused" in page


def test_no_camera_info(tmp_path):
    result, page = evaluate(record(tmp_path / "uncalibrated", info=False), tmp_path)
    assert {"PSNR", "ADE"} <= metrics(result)
    assert "no camera_info: a horizontal field of view of 90 degrees was assumed" in page


def test_a_bag_with_neither_camera_nor_odometry_is_refused_with_what_it_holds(tmp_path):
    path = tmp_path / "other"
    with BagWriter(path) as bag:
        bag.write("/camera/camera_info", 1.0, camera_info(1.0))
    with pytest.raises(BadBag, match="neither pictures nor odometry; there is /camera/camera_info"):
        evaluate_bag(path, "other", tmp_path / "out", QUICK)
