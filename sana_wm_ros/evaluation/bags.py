"""Read rosbag2 (mcap, sqlite3) and ROS 1 bags without ROS; errors name the bag and say what to do."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.rosbag1 import ReaderError as ReaderError1
from rosbags.rosbag2 import ReaderError as ReaderError2
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_typestore

from sana_wm_ros.evaluation.salvage import salvageable, salvaged

# What a broken file makes rosbags, its storage plug-ins and the decoders of messages raise.
_BROKEN = (
    AnyReaderError,
    ReaderError1,
    ReaderError2,
    SerdeError,
    sqlite3.Error,
    ValueError,
    LookupError,
    struct.error,
)


class BadBag(ValueError):
    """A bag that cannot be read, or holds too little for what was asked."""


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One topic of a bag."""

    name: str
    msgtype: str
    count: int


class Bag:
    """An open bag: its topics, and its messages in the order in which they were recorded.

    tolerant: reading ends where the file is broken, and ``notes`` say so, instead of raising.
    """

    def __init__(self, path: Path, reader: AnyReader, *, tolerant: bool = False) -> None:
        self.path = path
        self.notes: list[str] = []
        self._reader, self._tolerant = reader, tolerant

    @property
    def duration_s(self) -> float:
        """Seconds from the first to the last message by recording time; 0 for an empty bag."""
        return max(0.0, self._reader.duration / 1e9) if self._reader.message_count else 0.0

    @property
    def topics(self) -> list[Topic]:
        """All topics, by name."""
        found = [
            Topic(name=name, msgtype=info.msgtype or "", count=info.msgcount)
            for name, info in self._reader.topics.items()
        ]
        return sorted(found, key=lambda topic: topic.name)

    def find(self, msgtypes: tuple[str, ...], *, ending: str = "", name: str | None = None) -> Topic | None:
        """The topic called ``name``, or else the busiest one of a type whose name ends so."""
        found = [t for t in self.topics if t.msgtype in msgtypes and t.name.endswith(ending) and t.count > 0]
        if name is not None:
            found = [topic for topic in found if topic.name == name]
        return max(found, key=lambda topic: topic.count, default=None)

    def messages(self, names: set[str]) -> Iterator[tuple[str, str, float, Any]]:
        """(topic, type, recording time in s, message) of the named topics."""
        wanted = [connection for connection in self._reader.connections if connection.topic in names]
        if not wanted:
            return
        try:
            for connection, time_ns, raw in self._reader.messages(wanted):
                message = self._reader.deserialize(raw, connection.msgtype)
                yield connection.topic, connection.msgtype, time_ns / 1e9, message
        except _BROKEN as error:
            self._broken(error)

    def serialized(self, names: set[str]) -> Iterator[tuple[str, int, bytes]]:
        """(topic, recording time in ns, message as ROS 2 serialises it) of the named topics."""
        wanted = [connection for connection in self._reader.connections if connection.topic in names]
        if not wanted:
            return
        store = get_typestore(Stores.ROS2_JAZZY)
        try:
            for connection, time_ns, raw in self._reader.messages(wanted):
                data = bytes(raw) if self._reader.is2 else bytes(store.ros1_to_cdr(raw, connection.msgtype))
                yield connection.topic, time_ns, data
        except _BROKEN as error:
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        if not self._tolerant:
            raise BadBag(f"{self.path}: broken in the middle ({error}); record it again") from error
        note = (
            f"the bag is broken in the middle ({type(error).__name__}: {error}); what comes before was used"
        )
        if note not in self.notes:
            self.notes.append(note)


@contextmanager
def open_bag(path: Path, *, tolerant: bool = False) -> Iterator[Bag]:
    """Open a bag for reading. Raises ``BadBag`` naming the file, what is wrong and what to do.

    tolerant: an mcap file that was cut short, or whose metadata.yaml is missing, is read as far as it goes.
    """
    if not path.exists():
        raise BadBag(f"{path}: no such bag")
    try:
        opened = _opened(path)
    except BadBag as error:
        if not (tolerant and salvageable(path)):
            raise
        with salvaged(path) as (whole, note):
            reader = _opened(whole)
            try:
                bag = Bag(path, reader, tolerant=True)
                bag.notes.append(f"{note} ({str(error).removeprefix(f'{path}: ')})")
                yield bag
            finally:
                reader.close()
        return
    try:
        yield Bag(path, opened, tolerant=tolerant)
    finally:
        opened.close()


def _opened(path: Path) -> AnyReader:
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        raise BadBag(
            f"{path}: no metadata.yaml; the recording was not finished, or this is not a bag's folder"
        )
    try:
        reader = AnyReader([path], default_typestore=get_typestore(Stores.ROS2_JAZZY))
        reader.open()
    except Exception as error:  # rosbags, yaml and struct errors: to the user all are one broken file
        raise BadBag(f"{path}: not a readable bag ({type(error).__name__}: {error}){_cure(path)}") from error
    return reader


def _cure(path: Path) -> str:
    """What may help, where another tool does."""
    if path.suffix == ".bag":
        return "; `rosbag reindex` may mend it"
    if path.suffix == ".db3" or (path.is_dir() and list(path.glob("*.db3"))):
        return "; `sqlite3 FILE.db3 .recover` may save what is in it"
    return ""


def stamp_s(message: Any) -> float:
    """The header's stamp in seconds."""
    stamp = message.header.stamp
    return float(stamp.sec) + float(stamp.nanosec) * 1e-9
