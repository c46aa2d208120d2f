"""Recorded bags: a real robot's topics and types, stamps in order, the camera where the transforms say."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from sana_wm_ros.simulation.bags import BagConfig, record_bag
from sana_wm_ros.simulation.drive import DriveConfig, draw_scene

SEED = 1_000_003
DRIVE = DriveConfig(seconds=2.0, driver="tour", open_loop=False)
EXPECTED = {
    "/camera/image/compressed": ("sensor_msgs/msg/CompressedImage", 21),
    "/camera/camera_info": ("sensor_msgs/msg/CameraInfo", 21),
    "/scan": ("sensor_msgs/msg/LaserScan", 21),
    "/contact": ("std_msgs/msg/Bool", 21),
    "/odom": ("nav_msgs/msg/Odometry", 41),
    "/tf": ("tf2_msgs/msg/TFMessage", 41),
    "/cmd_vel": ("geometry_msgs/msg/TwistStamped", 41),
    "/tf_static": ("tf2_msgs/msg/TFMessage", 1),
}

pytestmark = pytest.mark.usefixtures("pictures")


def read(path: Path) -> dict[str, list[tuple[int, Any]]]:
    found = defaultdict(list)
    with AnyReader([path]) as reader:
        for connection, stamp_ns, raw in reader.messages():
            found[connection.topic].append((stamp_ns, reader.deserialize(raw, connection.msgtype)))
    return found


@pytest.fixture(scope="module", params=["mcap", "sqlite3", "ros1"])
def topics(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = tmp_path_factory.mktemp("bags") / ("drive.bag" if request.param == "ros1" else "drive")
    return read(record_bag(path, SEED, BagConfig(drive=DRIVE, storage=request.param)))


def test_topics_types_and_rates_are_a_robot_s(topics: Any) -> None:
    said = {topic: (messages[0][1].__msgtype__, len(messages)) for topic, messages in topics.items()}
    assert said == EXPECTED


def test_stamps_go_forward_and_agree_with_the_headers(topics: Any) -> None:
    for topic, messages in topics.items():
        received = np.array([stamp_ns for stamp_ns, _ in messages])
        assert (np.diff(received) > 0).all(), topic
        if hasattr(messages[0][1], "header"):
            stamps = [m.header.stamp.sec * 10**9 + m.header.stamp.nanosec for _, m in messages]
            np.testing.assert_array_equal(stamps, received)


def test_static_transform_is_the_camera_s_pose(topics: Any) -> None:
    transform = topics["/tf_static"][0][1].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ("base_link", "camera_optical_frame")
    q, t = transform.transform.rotation, transform.transform.translation
    x, y, z, w = q.x, q.y, q.z, q.w
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    expected = draw_scene(SEED, DRIVE).camera.T_base_camera_44
    np.testing.assert_allclose(rotation, expected[:3, :3], atol=1e-9)
    np.testing.assert_allclose([t.x, t.y, t.z], expected[:3, 3], atol=1e-9)


def test_pictures_decode_to_the_size_the_camera_info_gives(topics: Any) -> None:
    info = topics["/camera/camera_info"][0][1]
    picture = cv2.imdecode(topics["/camera/image/compressed"][0][1].data, cv2.IMREAD_COLOR)
    assert picture.shape == (info.height, info.width, 3) == (64, 96, 3)


def test_transform_and_odometry_agree(topics: Any) -> None:
    odom, tf = topics["/odom"][-1][1], topics["/tf"][-1][1].transforms[0]
    assert (odom.header.frame_id, odom.child_frame_id) == ("odom", "base_link")
    assert tf.transform.translation.x == odom.pose.pose.position.x
    assert tf.transform.rotation.z == odom.pose.pose.orientation.z


def test_scan_is_a_full_turn_from_straight_ahead(topics: Any) -> None:
    scan = topics["/scan"][0][1]
    assert len(scan.ranges) == 72 and scan.angle_min == 0.0
    assert scan.angle_min + 71 * scan.angle_increment == pytest.approx(scan.angle_max, abs=1e-4)
    assert min(scan.ranges) > 0.2


def test_raw_pictures_are_bit_equal_to_lossless_ones(tmp_path: Path) -> None:
    raw = read(record_bag(tmp_path / "raw", SEED, BagConfig(drive=DRIVE, coding="raw")))
    png = read(record_bag(tmp_path / "png", SEED, BagConfig(drive=DRIVE, coding="png")))
    image = raw["/camera/image"][-1][1]
    assert (image.encoding, image.step) == ("rgb8", 3 * image.width)
    decoded = cv2.imdecode(png["/camera/image/compressed"][-1][1].data, cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(image.data.reshape(image.height, image.width, 3), decoded)


def test_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(FileExistsError, match="mine"):
        record_bag(tmp_path / "mine", SEED, BagConfig(drive=DRIVE))


def test_unknown_storage_and_coding_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="mcap, sqlite3, ros1"):
        BagConfig(drive=DRIVE, storage="tape")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="jpeg, png or raw"):
        BagConfig(drive=DRIVE, coding="gif")  # type: ignore[arg-type]


BUNDLED = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize("name", ["small_12s", "raw_3s", "sqlite3_4s", "ros1_4s.bag"])
def test_bundled_bags_can_be_read(name: str) -> None:
    topics = read(BUNDLED / name)
    assert set(topics) - {"/camera/image", "/camera/image/compressed"} == set(EXPECTED) - {
        "/camera/image/compressed"
    }
    assert len(topics["/odom"]) >= 60
