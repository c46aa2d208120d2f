"""Make what is whole of an mcap bag readable again: one that was cut short, or lost its metadata.yaml.

An mcap file is a row of records, each with its length before it; a recording that ended with the power lacks the
last ones, among them the index. The whole records are copied and an empty footer is put behind them, which makes
readers look for messages by themselves. Source: the MCAP specification (mcap.dev/spec), "Records" and "Footer".
"""

from __future__ import annotations

import struct
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lz4.frame import LZ4FrameDecompressor

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdDecompressor, ZstdError
else:
    from backports.zstd import ZstdDecompressor, ZstdError

_MAGIC = b"\x89MCAP0\r\n"
_HEADER, _FOOTER, _CHUNK, _DATA_END = 0x01, 0x02, 0x06, 0x0F
_END = (
    struct.pack("<BQI", _DATA_END, 4, 0)  # no checksum
    + struct.pack("<BQQQI", _FOOTER, 20, 0, 0, 0)  # no summary
    + _MAGIC
)


def salvageable(path: Path) -> bool:
    """Whether there is one mcap file to salvage: the path itself, or the only one in its folder."""
    return _mcap_file(path) is not None


@contextmanager
def salvaged(path: Path) -> Iterator[tuple[Path, str]]:
    """A readable copy of the file, gone afterwards, and what was done in words."""
    source = _mcap_file(path)
    assert source is not None
    with tempfile.TemporaryDirectory(prefix="sana_wm_salvage_") as folder:
        whole = Path(folder) / "whole.mcap"
        complete = _copy_whole_records(source, whole)
        note = "the bag was cut short; all that was recorded before the cut was used"
        if complete:
            note = "the bag's index was missing; its messages were found by reading the file"
        yield whole, note


def _mcap_file(path: Path) -> Path | None:
    found = [path] if path.is_file() else sorted(path.glob("*.mcap"))
    if len(found) != 1 or found[0].suffix != ".mcap":
        return None
    with found[0].open("rb") as file:
        return found[0] if file.read(len(_MAGIC) + 1) == _MAGIC + bytes([_HEADER]) else None


def _copy_whole_records(source: Path, target: Path) -> bool:
    """Copy records until one is cut or the data end; whether they did end."""
    size = source.stat().st_size
    with source.open("rb") as read, target.open("wb") as write:
        write.write(read.read(len(_MAGIC)))
        complete = False
        while len(head := read.read(9)) == 9:
            code, length = struct.unpack("<BQ", head)
            complete = code in (_DATA_END, _FOOTER)  # nothing but the index follows
            if complete:
                break
            if read.tell() + length > size:
                if code == _CHUNK:
                    write.write(_whole_records_of_chunk(read.read()))
                break
            write.write(head)
            _copy(read, write, length)
        write.write(_END)
    return complete


def _whole_records_of_chunk(content: bytes) -> bytes:
    """The records inside of a chunk that was cut, up to the cut."""
    if len(content) < 40:
        return b""
    name_length = struct.unpack_from("<I", content, 28)[0]
    compression = content[32 : 32 + name_length].decode(errors="replace")
    records, used = _unpacked(compression, content[40 + name_length :]), 0
    while len(records) - used >= 9:
        length = 9 + struct.unpack_from("<BQ", records, used)[1]
        if used + length > len(records):
            break
        used += length
    return records[:used]


def _unpacked(compression: str, packed: bytes) -> bytes:
    """As much of a cut chunk as can be unpacked; nothing where the compression is not known here."""
    if compression == "":
        return packed
    try:
        if compression == "lz4":
            return LZ4FrameDecompressor().decompress(packed)
        if compression == "zstd":
            return ZstdDecompressor().decompress(packed)
    except (RuntimeError, ZstdError):
        pass
    return b""


def _copy(read: BinaryIO, write: BinaryIO, length: int) -> None:
    while length > 0:
        part = read.read(min(length, 1 << 20))
        write.write(part)
        length -= len(part)
