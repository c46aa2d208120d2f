"""What a recording holds: topics by type, questions where several fit, stamps that can be used or not."""

import re

import numpy as np
import pytest

from sana_wm_ros.evaluation.bag_facts import facts_of, read_facts
from sana_wm_ros.evaluation.bag_writer import BagWriter, header
from sana_wm_ros.evaluation.bags import BadBag, open_bag

from .synthetic import camera_info, image, odometry

GREY = np.full((64, 96, 3), 90, np.uint8)


def write(
    path, *, cameras=("camera",), odometry_topics=("/odom",), image_shift=0.0, seconds=3.0, stamped=True
):
    """A short drive; ``image_shift``: the camera's clock less odometry's."""
    with BagWriter(path) as bag:
        for k in range(round(seconds * 8)):
            time_s = 100 + k / 8
            for topic in odometry_topics:
                bag.write(topic, time_s, odometry(time_s, 0.5 * k / 8, 0.0))
            for camera in cameras:
                picture = image(time_s + image_shift, GREY)
                if not stamped:
                    picture.header = header(0.0, "camera")
                bag.write(f"/{camera}/camera_info", time_s, camera_info(time_s))
                bag.write(f"/{camera}/image", time_s, picture)
    return path


def look(path, wanted=None):
    with open_bag(path) as bag:
        return facts_of(bag, wanted, complete=False)


@pytest.mark.parametrize(
    ("options", "role", "names"),
    [
        ({"cameras": ("left", "right")}, "image", "/left/image (24), /right/image (24)"),
        ({"odometry_topics": ("/odom", "/visual_odom")}, "odom", "/odom (24), /visual_odom (24)"),
    ],
)
def test_where_several_topics_fit_it_names_them_and_the_option(tmp_path, options, role, names):
    path = write(tmp_path / "two", **options)
    with pytest.raises(BadBag) as caught:
        read_facts(path)
    first = names.split()[0]
    assert f"several topics could be {role}: {names}; choose one with --topic {role}:={first}" in str(
        caught.value
    )
    assert read_facts(path, {role: first}).topics[role].name == first


def test_the_camera_info_is_the_one_beside_the_picture(tmp_path):
    path = write(tmp_path / "two", cameras=("left", "right"))
    assert look(path, {"image": "/right/image"}).topics["camera_info"].name == "/right/camera_info"


def test_a_picture_raw_and_compressed_is_one_camera(tmp_path):
    path = write(tmp_path / "bag")
    with BagWriter(tmp_path / "both") as out, open_bag(path) as bag:
        types = {topic.name: topic.msgtype for topic in bag.topics}
        for name, time_ns, data in bag.serialized(set(types)):
            out.write_raw(name, types[name], time_ns, data)
            if name == "/camera/image":
                out.write_raw(
                    f"{name}/compressed", "sensor_msgs/msg/CompressedImage", time_ns, b"\0\1\0\0" + bytes(20)
                )
    assert look(tmp_path / "both").topics["image"].name == "/camera/image"


def test_stamps_of_one_clock_are_used_whatever_the_recorders_clock_says(tmp_path):
    facts = look(write(tmp_path / "bag"))
    assert facts.stamps_usable and facts.missing == ()
    assert facts.path_T4[0].tolist() == [100.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"image_shift": -50.0}, r"stamps of camera and odometry are of different clocks \(-50.0 s apart\)"),
        ({"stamped": False}, "no usable stamps on image"),
    ],
)
def test_stamps_that_cannot_be_used_give_way_to_recording_times(tmp_path, options, reason):
    facts = look(write(tmp_path / "bag", **options))
    assert not facts.stamps_usable
    assert re.search(reason, facts.missing[0]) and "the times of recording were used" in facts.missing[0]


def test_an_incomplete_recording_is_refused_only_where_it_has_to_be_complete(tmp_path):
    path = write(tmp_path / "blind", cameras=())
    with pytest.raises(BadBag, match="for image; there is /odom"):
        read_facts(path)
    assert look(path).missing == (
        "no image: the bag has no topic of type sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage",
    )
