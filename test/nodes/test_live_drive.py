"""The live demo: robot and planner as processes over DDS, two bags that can be read again, and a film of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the simulator is the extra 'sim': pip install 'sana_wm_ros[sim]'")

from rosbags.highlevel import AnyReader

from sana_wm_ros.cli.demo import _point
from sana_wm_ros.nodes.live_drive import LiveFailed, LiveOptions, live_drive
from sana_wm_ros.simulation.drive import draw_scene
from sana_wm_ros.simulation.film import write_film
from sana_wm_ros.simulation.gl import NoPictures, open_gl_context

SEED = 1_000_003
pytestmark = pytest.mark.timeout(600)  # starts two processes that import torch, on a machine that may be busy


@pytest.fixture
def pictures() -> None:
    try:
        open_gl_context(48, 32)
    except NoPictures as error:
        pytest.skip(str(error))


def test_it_drives_towards_the_goal_and_films_it(pictures: None, model_folder: Path, tmp_path: Path) -> None:
    scene = draw_scene(SEED, LiveOptions(out=tmp_path, width=48, height=32).config)
    x, y, yaw = scene.start_3
    options = LiveOptions(
        out=tmp_path,
        model=str(model_folder),
        seed=SEED,
        goal=(x + 0.9 * np.cos(yaw), y + 0.9 * np.sin(yaw)),
        seconds=25.0,
        look=False,
        width=48,
        height=32,
        parameters=("planner.candidates:=4", "planner.horizon_s:=4.0", "model.threads:=1"),
    )
    stages: list[str] = []
    summary = live_drive(options, lambda stage, done, total: stages.append(stage))
    assert summary.reached and summary.contacts == 0
    assert summary.first_distance_m == pytest.approx(0.9, abs=0.1)
    assert summary.last_distance_m < 0.35 and summary.driven_m > 0.5 and summary.plans >= 1
    assert {"robot and planner start", "driving"} == set(stages)
    found = {}
    for name in ("robot", "bag"):
        with AnyReader([tmp_path / name]) as reader:
            found |= {topic: about.msgcount for topic, about in reader.topics.items()}
    assert found["/tf_static"] == 1
    assert found["/sana_wm_live/image"] > 5 and found["/sana_wm_live/plan"] >= 1
    assert found["/sana_wm_live/goal_pose"] == 1
    film = write_film(tmp_path / "live.mp4", [tmp_path / "robot", tmp_path / "bag"], scene.plan, radius_m=0.2)
    video = cv2.VideoCapture(str(film))
    frames = []
    while (read := video.read())[0]:
        frames.append(read[1])
    assert len(frames) == found["/sana_wm_live/image"]
    assert frames[0].shape == (528, 960, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 2.0  # it moved


def test_a_planner_that_does_not_start_is_told_with_its_own_words(pictures: None, tmp_path: Path) -> None:
    options = LiveOptions(out=tmp_path, model="/nowhere/nano", seed=SEED, width=48, height=32)
    with pytest.raises(LiveFailed, match=r"no such folder \(/nowhere/nano\)"):
        live_drive(options, lambda stage, done, total: None)


def test_bags_without_pictures_make_no_film(tmp_path: Path) -> None:
    bag = Path(__file__).parents[1] / "data" / "sqlite3_4s"
    plan = draw_scene(SEED, LiveOptions(out=tmp_path).config).plan
    with pytest.raises(ValueError, match="no pictures or no true poses"):
        write_film(tmp_path / "live.mp4", [bag], plan, radius_m=0.2)


def test_a_goal_is_two_numbers() -> None:
    assert _point("2.5,-1") == (2.5, -1.0)
    assert _point(None) is None
    for text in ("here", "1", "1,2,3", "nan,1"):
        with pytest.raises(ValueError, match="expected X,Y"):
            _point(text)
