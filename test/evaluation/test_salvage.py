"""Bags that were cut short or lost their index are read as far as they go, and say so."""

import shutil

import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from sana_wm_ros.evaluation.bag_writer import STORE, BagWriter, number
from sana_wm_ros.evaluation.bags import BadBag, open_bag


def write(path, count=4000):
    with BagWriter(path) as bag:
        for k in range(count):
            bag.write("/number", k / 10, number(k))
    return path


def values(path):
    with open_bag(path, tolerant=True) as bag:
        return [message.data for _, _, _, message in bag.messages({"/number"})], bag.notes


def cut(path, share):
    (file,) = path.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])


def test_a_whole_bag_is_read_without_a_note(tmp_path):
    found, notes = values(write(tmp_path / "bag"))
    assert found == list(range(4000)) and notes == []


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_what_lies_before_the_cut_is_read(tmp_path, share):
    path = write(tmp_path / "bag")
    cut(path, share)
    found, notes = values(path)
    assert found == list(range(len(found)))
    assert 0.5 * share * 4000 < len(found) <= 4000
    assert "cut short; all that was recorded before the cut was used" in notes[0]


def test_compressed_chunks_are_unpacked_up_to_the_cut(tmp_path):
    path = tmp_path / "bag"
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer as bag:
        connection = bag.add_connection("/number", "std_msgs/msg/Float32", typestore=STORE)
        for k in range(20000):
            bag.write(connection, k * 10**8, STORE.serialize_cdr(number(k), "std_msgs/msg/Float32"))
    cut(path, 0.6)
    found, _ = values(path)
    assert len(found) > 1000 and found == list(range(len(found)))


def test_a_lost_metadata_file_is_no_loss(tmp_path):
    path = write(tmp_path / "bag")
    (path / "metadata.yaml").unlink()
    found, notes = values(path)
    assert len(found) == 4000
    assert "no metadata.yaml" in notes[0]


def test_without_being_asked_to_a_broken_bag_is_refused(tmp_path):
    path = write(tmp_path / "bag")
    cut(path, 0.5)
    with pytest.raises(BadBag, match="not a readable bag"), open_bag(path):
        pass


@pytest.mark.parametrize("content", [b"", b"\x89MCAP0\r\n", b"something else"])
def test_what_is_no_mcap_at_all_is_refused(tmp_path, content):
    path = write(tmp_path / "bag", count=1)
    (file,) = path.glob("*.mcap")
    file.write_bytes(content)
    with pytest.raises(BadBag, match="not a readable bag"), open_bag(path, tolerant=True):
        pass


@pytest.mark.parametrize(
    ("name", "file", "cure"),
    [
        ("ros1_4s.bag", "ros1_4s.bag", "rosbag reindex"),
        ("sqlite3_4s", "sqlite3_4s/sqlite3_4s.db3", ".recover"),
    ],
)
def test_other_formats_cut_short_are_refused_with_the_tool_that_may_help(
    checkout, tmp_path, name, file, cure
):
    source, path = checkout / "test" / "data" / name, tmp_path / name
    shutil.copytree(source, path) if source.is_dir() else shutil.copy(source, path)
    data = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(BadBag, match=f"not a readable bag.*{cure}"), open_bag(path, tolerant=True):
        pass
