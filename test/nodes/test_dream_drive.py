"""Dreams that are kept: a bag that reads back as it was dreamed, films, strips, figures, and clear refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sana_wm_ros.cli import main as command_line
from sana_wm_ros.evaluation.drive import read_drive
from sana_wm_ros.geometry import se3
from sana_wm_ros.nodes.dream_benchmark import measure_dream
from sana_wm_ros.nodes.dream_drive import DreamOptions, dream_drive
from sana_wm_ros.training.recordings import Recording, to_episode
from sana_wm_ros.world_model.checkpoint import open_model

pytestmark = pytest.mark.timeout(600)
BAG = Path(__file__).parents[1] / "data" / "small_12s"
run = CliRunner().invoke


@pytest.fixture
def parameters(model_folder: Path) -> dict[str, Any]:
    return {"bag": str(BAG), "context_s": 4.0, "model.path": str(model_folder), "model.threads": 1}


def test_a_dream_s_bag_is_what_was_dreamed_and_training_reads_it(
    parameters: dict[str, Any], model_folder: Path, tmp_path: Path
) -> None:
    """Written, read through the node's own buffer, and made an episode: places, pictures and ranges survive."""
    spec = open_model(model_folder).spec
    path = tmp_path / "dreams" / "one"
    summary = dream_drive(DreamOptions(parameters=parameters, seconds=21.0, record=path))
    assert summary.written == [path] and summary.dreamed_s == pytest.approx(21.0)
    recorded = read_drive(path, spec)
    drive = recorded.drive
    assert len(drive.frames_THWC) == 1 + 21 * 8
    begin = read_drive(BAG, spec)
    np.testing.assert_allclose(recorded.T_base_camera_44, begin.T_base_camera_44, atol=1e-6)
    np.testing.assert_allclose(drive.poses_T44[0], begin.drive.poses_T44[32], atol=1e-3)
    # JPEG of the picture that the dream began with; colours at half of such small pictures' resolution.
    first, seen = drive.frames_THWC[0].astype(float), begin.drive.frames_THWC[32].astype(float)
    assert np.abs(first - seen).mean() < 6.0
    base_T3 = se3.to_planar(drive.poses_T44 @ se3.inverse(recorded.T_base_camera_44))
    way_m = np.hypot(*np.diff(base_T3[:, :2], axis=0).T).sum()
    assert way_m == pytest.approx(summary.driven_m, rel=0.1)
    assert recorded.measured is not None
    episode = to_episode(
        Recording(
            name=path.name,
            frames_THWC=drive.frames_THWC,
            poses_T44=drive.poses_T44,
            intrinsics=drive.intrinsics,
            T_base_camera_44=recorded.T_base_camera_44,
            sectors=24,
        )
    )
    assert len(episode.frames_THWC) == len(drive.frames_THWC)


def test_one_seed_gives_one_dream(parameters: dict[str, Any], tmp_path: Path) -> None:
    strips = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        strip = tmp_path / f"{name}.png"
        dream_drive(DreamOptions(parameters={**parameters, "seed": seed}, seconds=2.0, strip=strip))
        strips.append(np.asarray(Image.open(strip)))
    np.testing.assert_array_equal(strips[0], strips[1])
    assert not np.array_equal(strips[0], strips[2])


@pytest.mark.parametrize("ending", ["mp4", "gif", "webp"])
def test_a_film_has_a_frame_for_every_dreamed_picture(
    parameters: dict[str, Any], tmp_path: Path, ending: str
) -> None:
    film = tmp_path / f"film.{ending}"
    dream_drive(DreamOptions(parameters=parameters, seconds=2.0, video=film))
    if ending == "mp4":
        reader = cv2.VideoCapture(str(film))
        assert reader.get(cv2.CAP_PROP_FRAME_COUNT) == 16 and reader.get(cv2.CAP_PROP_FPS) == 8.0
        return
    with Image.open(film) as image:
        assert image.n_frames == 16  # type: ignore[attr-defined]
        assert image.size == (3 * 48 + 3 * 32, 3 * 32)


def test_the_verb_dreams_from_a_picture_and_says_what_came_of_it(model_folder: Path, tmp_path: Path) -> None:
    picture, strip = tmp_path / "hall.jpg", tmp_path / "strip.png"
    assert cv2.imwrite(str(picture), np.full((60, 100, 3), 128, np.uint8))
    words = ["dream", "--picture", str(picture), "--model", str(model_folder), "--seconds", "2"]
    done = run(command_line.app, [*words, "--strip", str(strip), "--param", "model.threads:=1"])
    assert done.exit_code == 0, done.output
    assert "2.0 s dreamed on from hall.jpg" in done.output and strip.is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bag", str(BAG), "--video", "film.avi"], "films are written as .mp4, .gif, .webp"),
        (["--bag", str(BAG), "--strip", "strip.jpg"], "film strips are written as .png"),
        (["--bag", str(BAG), "--record", str(BAG)], "exists already"),
        (["--bag", str(BAG), "--param", "speed:=3"], "speed is no parameter of dream_node"),
        (["--bag", str(BAG), "--param", "rate"], "expected NAME:=VALUE"),
        ([], "begins with a picture or with a bag"),
        (["--picture", "nowhere.png"], "nowhere.png"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_line(model_folder: Path, words: list[str], said: str) -> None:
    done = run(command_line.app, ["dream", "--model", str(model_folder), *words])
    assert done.exit_code == 2
    assert said in done.stderr.replace("\n", " ") and done.stderr.count("\n") == 1


def test_the_benchmark_s_figures_agree_with_each_other(model_folder: Path) -> None:
    told: list[str] = []
    found = measure_dream(
        BAG, str(model_folder), seconds=5.0, threads=1, progress=lambda stage, done: told.append(stage)
    )
    alone, node = found["imagined"], found["node"]
    assert alone["pictures_per_s"] == pytest.approx(8.0 * alone["times_real_time"])
    assert 0.0 < alone["took_s"]["p50"] <= alone["took_s"]["p99"]
    assert 0.1 < node["real-time factor"] < 1.1
    assert node["command to first picture, mean (s)"] > 0.25
    assert {"as fast as it goes", "in real time through the node"} <= set(told)
    json.dumps(found)
