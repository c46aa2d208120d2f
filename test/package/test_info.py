"""``sana_wm info`` describes this machine, a bag and a model folder, and says what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from safetensors.numpy import save_file
from typer.testing import CliRunner

from sana_wm_ros.cli.main import app

STORE = get_typestore(Stores.ROS2_JAZZY)


def info(*args: str) -> str:
    result = CliRunner().invoke(
        app, ["--debug", "info", *args], env={"COLUMNS": "160"}, catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.output


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Eleven odometry messages in two seconds, and nothing else."""
    odometry, header, time = (
        STORE.types[name]
        for name in ("nav_msgs/msg/Odometry", "std_msgs/msg/Header", "builtin_interfaces/msg/Time")
    )
    pose_type = STORE.types["geometry_msgs/msg/PoseWithCovariance"]
    twist_type = STORE.types["geometry_msgs/msg/TwistWithCovariance"]
    pose, point, quaternion, twist, vector = (
        STORE.types[f"geometry_msgs/msg/{name}"]
        for name in ("Pose", "Point", "Quaternion", "Twist", "Vector3")
    )
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/wheels/odom", odometry.__msgtype__, typestore=STORE)
        for i in range(11):
            message = odometry(
                header=header(stamp=time(sec=0, nanosec=i * 200_000_000 % 1_000_000_000), frame_id="odom"),
                child_frame_id="base_link",
                pose=pose_type(
                    pose=pose(
                        position=point(x=0.0, y=0.0, z=0.0),
                        orientation=quaternion(x=0.0, y=0.0, z=0.0, w=1.0),
                    ),
                    covariance=np.zeros(36),
                ),
                twist=twist_type(
                    twist=twist(linear=vector(x=0.0, y=0.0, z=0.0), angular=vector(x=0.0, y=0.0, z=0.0)),
                    covariance=np.zeros(36),
                ),
            )
            writer.write(connection, i * 200_000_000, STORE.serialize_cdr(message, odometry.__msgtype__))
    return tmp_path / "bag"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.yaml").write_text("preset: tiny\nclock:\n  latent_period_s: 0.5\n")
    save_file({"blocks.0.weight": np.zeros((1000, 500), np.float16)}, folder / "model.safetensors")
    (folder / "MODEL_CARD.md").write_text("# Tiny\n\nTrust it for half a second.\n\nMore.\n")
    return folder


def test_without_a_path_it_names_the_versions_and_the_middleware() -> None:
    text = info()
    assert "torch" in text
    assert "rmw_" in text
    assert "cores" in text
    assert "chunk (cpu: batched matrix products" in text or "triton (" in text


def test_of_a_bag_it_gives_topics_counts_rates_and_what_the_planner_would_use(bag: Path) -> None:
    text = info(str(bag))
    line = next(line for line in text.splitlines() if "nav_msgs/msg/Odometry" in line)
    assert "/wheels/odom" in line
    assert " 11 " in line
    assert " 5.5 " in line  # 11 messages in the 2 s from the first to the last one
    assert "none: the planner needs a camera" in text
    assert "/wheels/odom (11)" in text


def test_of_a_model_it_gives_size_settings_and_the_first_words_of_its_card(model: Path) -> None:
    text = info(str(model))
    assert "0.50 M" in text  # 1000 x 500 parameters
    assert "1.0 MB" in text  # of two bytes each
    assert "clock.latent_period_s" in text
    assert "Trust it for half a second." in text
    assert "More." not in text


def test_of_a_model_in_several_files_it_gives_their_sum_and_the_largest(model: Path) -> None:
    half = {"blocks.1.weight": np.zeros((1000, 250), np.float16)}
    (model / "model.safetensors").rename(model / "model-00001-of-00002.safetensors")
    save_file(half, model / "model-00002-of-00002.safetensors")
    index = {f"blocks.{i}.weight": f"model-0000{i + 1}-of-00002.safetensors" for i in range(2)}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    text = info(str(model))
    assert "1.5 MB in 2 files, the largest of 1.0 MB, F16" in text and "0.75 M" in text
    (model / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ValueError, match="names model-00002-of-00002.safetensors, which is not there"):
        info(str(model))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"\x00" * 7),
            "not a whole safetensors file",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "no such file"),
        (lambda folder: (folder / "config.yaml").write_text("[1, 2"), "readable config.yaml"),
        (
            lambda folder: (folder / "config.yaml").write_text("[1, 2]"),
            "expected settings by name, found list",
        ),
        (lambda folder: (folder / "config.yaml").unlink(), "readable config.yaml"),
    ],
)
def test_a_spoilt_model_folder_is_named_with_what_is_wrong(model: Path, spoil, message: str) -> None:
    spoil(model)
    result = CliRunner().invoke(app, ["info", str(model)])
    assert result.exit_code == 2
    assert message in result.stderr
    assert str(model) in result.stderr


def test_a_folder_that_is_neither_model_nor_bag_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["info", str(tmp_path)])
    assert result.exit_code == 2
    assert str(tmp_path) in result.stderr


def test_a_published_file_is_recognised_by_its_tensors(tmp_path: Path) -> None:
    names = ("t_embedder.mlp.0.weight", "x_embedder.proj.weight", "pos_embed")
    save_file({name: np.zeros((1, 2), np.float32) for name in names}, tmp_path / "sana_wm.safetensors")
    shown = info(str(tmp_path / "sana_wm.safetensors"))
    assert "nvidia: one file with NVIDIA's own names" in shown
    assert "no: 872 tensors differ" in shown
    assert "missing x_embedder.proj.bias (2240,)" in shown


def test_a_file_of_something_else_is_an_error(tmp_path: Path) -> None:
    save_file({"lm_head.weight": np.zeros(2, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="none of the layouts"):
        info(str(tmp_path / "model.safetensors"))
