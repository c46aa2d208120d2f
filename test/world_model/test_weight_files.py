"""Weights in one file or in several come back as they were; anything that does not belong together is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from sana_wm_ros.world_model.weight_files import (
    HEADER_BYTES,
    INDEX_FILE,
    MOST_BYTES,
    WEIGHTS_FILE,
    BadWeights,
    is_there,
    read_weights,
    weight_files,
    write_weights,
)

ONE, TWO, THREE = (f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3))


def weights(seed: int = 0) -> dict[str, Tensor]:
    """Five tensors, 400 to 2000 bytes."""
    generator = torch.Generator().manual_seed(seed)
    return {f"part.{i}": torch.randn(100 * i, generator=generator) for i in range(1, 6)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three shards: what fits beside each other into 3000 bytes are 1 to 3, then 4, then 5."""
    write_weights(tmp_path, weights(), 3 * HEADER_BYTES + 2400)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_small_weights_stay_one_file(tmp_path: Path) -> None:
    assert MOST_BYTES == 40_000_000
    assert write_weights(tmp_path, weights()) == [tmp_path / WEIGHTS_FILE]
    assert names(tmp_path) == [WEIGHTS_FILE]


def test_large_weights_become_shards_and_an_index_that_others_can_read(folder: Path) -> None:
    assert names(folder) == [ONE, TWO, THREE, INDEX_FILE]
    assert [list(load_file(folder / name)) for name in (ONE, TWO, THREE)] == [
        ["part.1", "part.2", "part.3"],
        ["part.4"],
        ["part.5"],
    ]
    index = json.loads((folder / INDEX_FILE).read_text())
    assert index["metadata"]["total_size"] == 4 * 1500
    assert index["weight_map"]["part.4"] == TWO
    assert all((folder / name).stat().st_size <= 3 * HEADER_BYTES + 2400 for name in (ONE, TWO, THREE))


@pytest.mark.parametrize("most_bytes", [1, 2000, 10_000])
def test_what_was_written_is_read(tmp_path: Path, most_bytes: int) -> None:
    assert not is_there(tmp_path)
    write_weights(tmp_path, weights(), most_bytes)
    assert is_there(tmp_path)
    found = read_weights(tmp_path)
    assert all(torch.equal(found[name], value) for name, value in weights().items())
    assert set(found) == set(weights())


def test_another_save_leaves_nothing_of_the_one_before(folder: Path) -> None:
    write_weights(folder, weights(1), 1)
    assert len(names(folder)) == 5 + 1
    assert torch.equal(read_weights(folder)["part.3"], weights(1)["part.3"])
    write_weights(folder, weights())
    assert names(folder) == [WEIGHTS_FILE]
    write_weights(folder, weights(), 1)
    assert WEIGHTS_FILE not in names(folder)


def change_index(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    index = json.loads((folder / INDEX_FILE).read_text())
    change(index["weight_map"])
    (folder / INDEX_FILE).write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / TWO).unlink(), f"index.json: names {TWO}, which is not there"),
        (lambda f: change_index(f, lambda m: m.update({"part.6": TWO})), f"{TWO}: lacks part.6"),
        (lambda f: change_index(f, lambda m: m.pop("part.1")), f"{ONE}: holds, unknown to the index, part.1"),
        (lambda f: change_index(f, lambda m: m.update({"part.1": TWO})), f"{ONE}: holds, unknown to the index, part.1"),
        (lambda f: change_index(f, lambda m: m.pop("part.5")), f"does not name {THREE} beside it"),
        (lambda f: change_index(f, lambda m: m.update({"part.5": f"../{THREE}"})), "names ../model-00003"),
        (lambda f: change_index(f, lambda m: m.update({"part.5": 3})), "names 3; expected model-"),
        (lambda f: change_index(f, lambda m: m.clear()), "names nothing; expected model-"),
        (lambda f: (f / INDEX_FILE).write_text("{"), "not an index of safetensors files"),
        (lambda f: (f / INDEX_FILE).write_text("[]"), "not an index of safetensors files"),
        (lambda f: (f / INDEX_FILE).unlink(), f"has {ONE}, {TWO}, {THREE} but no {INDEX_FILE}"),
        (lambda f: (f / ONE).write_bytes((f / ONE).read_bytes()[:-1]), f"{ONE}: truncated or not safetensors"),
        (lambda f: save_file(weights(), f / WEIGHTS_FILE), f"does not name {WEIGHTS_FILE} beside it"),
    ],
)  # fmt: skip
def test_what_does_not_belong_together_is_named(
    folder: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(folder)
    with pytest.raises(BadWeights) as error:
        read_weights(folder)
    assert words in str(error.value)


def test_a_shard_of_another_save_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Same names, same shapes, other numbers: what a copy that was cut short leaves."""
    other = tmp_path_factory.mktemp("other")
    write_weights(other, weights(1), 3 * HEADER_BYTES + 2400)
    (folder / TWO).write_bytes((other / TWO).read_bytes())
    with pytest.raises(BadWeights, match=f"{TWO}: belongs to another save than {INDEX_FILE}"):
        read_weights(folder)


def test_shards_that_others_wrote_need_no_name_of_a_save(folder: Path) -> None:
    index = json.loads((folder / INDEX_FILE).read_text())
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": index["weight_map"]}))
    assert set(read_weights(folder)) == set(weights())


def test_an_empty_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="no such file; the folder is not a whole model"):
        weight_files(tmp_path)
