"""Weights on disk as one safetensors file or, where that would be large, as several with an index, read strictly.

The index and the shards' names are those that Hugging Face's tools use. All shards of one save carry its name, so
a folder that holds parts of two is told from a whole one. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

WEIGHTS_FILE, INDEX_FILE, SHARDS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
)
# What version control still takes gladly, in bytes; and what a tensor's name and shape take in a file's header.
MOST_BYTES, HEADER_BYTES = 40_000_000, 256
SAVE = "save"


class BadWeights(ValueError):
    """Weight files that cannot be trusted; the message says which, what is wrong, what to do."""


@dataclass(frozen=True, kw_only=True)
class _Index:
    """Which file holds each tensor, and the save that they belong to (None: written by others)."""

    file_of: dict[str, str]
    save: str | None


def is_there(folder: Path) -> bool:
    """Whether a folder holds weights in either form."""
    return (folder / WEIGHTS_FILE).is_file() or (folder / INDEX_FILE).is_file()


def write_weights(folder: Path, tensors: Mapping[str, Tensor], most_bytes: int = MOST_BYTES) -> list[Path]:
    """One file, or shards of at most ``most_bytes`` and their index where one would be larger; returns them.

    Each file is written beside its place and moved there, the index last; then files of an earlier save go. A
    reader meanwhile finds the old, the new, or an error that says that they are mixed.
    """
    groups = _groups(tensors, most_bytes)
    names = [WEIGHTS_FILE]
    if len(groups) > 1:
        names = [f"model-{i + 1:05d}-of-{len(groups):05d}.safetensors" for i in range(len(groups))]
    notes = {SAVE: _name_of(tensors)} if len(groups) > 1 else None
    for name, group in zip(names, groups, strict=True):
        save_file({key: tensors[key] for key in group}, _beside(folder, name), metadata=notes)
    for name in names:
        _beside(folder, name).replace(folder / name)
    if notes is not None:
        total = sum(value.nbytes for value in tensors.values())
        where = {key: name for name, group in zip(names, groups, strict=True) for key in group}
        index = {"metadata": {"total_size": total, **notes}, "weight_map": where}
        _beside(folder, INDEX_FILE).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
        _beside(folder, INDEX_FILE).replace(folder / INDEX_FILE)
        names.append(INDEX_FILE)
    for path in [folder / WEIGHTS_FILE, folder / INDEX_FILE, *folder.glob(SHARDS)]:
        if path.name not in names:
            path.unlink(missing_ok=True)
    return [folder / name for name in names]


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, after a look at their index. Raises ``BadWeights``."""
    one, index = folder / WEIGHTS_FILE, folder / INDEX_FILE
    strays = {path.name for path in folder.glob(SHARDS)}
    if index.is_file():
        named = set(_read_index(index).file_of.values())
        missing = sorted(name for name in named if not (folder / name).is_file())
        if missing:
            raise BadWeights(
                f"{index}: names {', '.join(missing)}, which is not there; fetch the folder again"
            )
        strays = strays - named | ({WEIGHTS_FILE} if one.is_file() else set())
        if strays:
            raise BadWeights(
                f"{index}: does not name {', '.join(sorted(strays))} beside it; delete one or the other"
            )
        return [folder / name for name in sorted(named)]
    if strays:
        raise BadWeights(
            f"{folder}: has {', '.join(sorted(strays))} but no {INDEX_FILE}; fetch the folder again"
        )
    if not one.is_file():
        raise BadWeights(f"{one}: no such file; the folder is not a whole model")
    return [one]


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder in either form. Raises ``BadWeights`` that names what is wrong."""
    files = weight_files(folder)
    index = _read_index(folder / INDEX_FILE) if (folder / INDEX_FILE).is_file() else None
    tensors: dict[str, Tensor] = {}
    for path in files:
        found, notes = _read(path)
        if index is not None:
            _check_shard(path, set(found), notes, index)
        tensors.update(found)
    return tensors


def _check_shard(path: Path, found: set[str], notes: Mapping[str, str], index: _Index) -> None:
    """Raise where a shard is not what the index says about it."""
    if index.save is not None and notes.get(SAVE) != index.save:
        raise BadWeights(f"{path}: belongs to another save than {INDEX_FILE}; fetch the folder again")
    promised = {name for name, file in index.file_of.items() if file == path.name}
    for names, words in ((promised - found, "lacks"), (found - promised, "holds, unknown to the index,")):
        if names:
            raise BadWeights(f"{path}: {words} {listed(sorted(names))}; fetch the folder again")


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A file's tensors and notes."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise BadWeights(
            f"{path}: truncated or not safetensors ({error}); fetch or export it again"
        ) from error


def _read_index(path: Path) -> _Index:
    try:
        held: Any = json.loads(path.read_text(encoding="utf-8"))
        file_of, notes = dict(held["weight_map"]), dict(held.get("metadata") or {})
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadWeights(f"{path}: not an index of safetensors files ({error!r}); fetch it again") from error
    strange = [name for name in file_of.values() if not isinstance(name, str) or not Path(name).match(SHARDS)
               or Path(name).name != name]  # fmt: skip
    if strange or not file_of:
        raise BadWeights(f"{path}: names {listed(sorted(map(str, strange))) or 'nothing'}; expected {SHARDS}")
    return _Index(file_of=file_of, save=notes.get(SAVE))


def _groups(tensors: Mapping[str, Tensor], most_bytes: int) -> list[list[str]]:
    """Names in their order, in groups that fit into a file each; a tensor too large for that is alone."""
    groups: list[list[str]] = [[]]
    size = 0
    for name, value in tensors.items():
        own = value.nbytes + HEADER_BYTES
        if groups[-1] and size + own > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += own
    return groups


def _name_of(tensors: Mapping[str, Tensor]) -> str:
    """Sixteen letters that the same weights share and others do not."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(name.encode())
        digest.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def _beside(folder: Path, name: str) -> Path:
    return folder / f".{name}.tmp"


def listed(names: list[str]) -> str:
    """Some names, not thousands."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
