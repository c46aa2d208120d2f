"""A seed belongs to one split, for ever."""

from __future__ import annotations

import pytest

from sana_wm_ros.training.episodes import WrongSplit, check_split, split_of


def test_splits_meet_where_they_are_said_to() -> None:
    seeds = (0, 899_999, 900_000, 999_999, 1_000_000, 5_000_000)
    assert [split_of(seed) for seed in seeds] == [
        "train",
        "train",
        "validation",
        "validation",
        "test",
        "test",
    ]
    with pytest.raises(ValueError, match="from 0 on"):
        split_of(-1)


def test_a_seed_of_another_split_is_named() -> None:
    check_split([1, 2, 900_000], "train", "validation")
    with pytest.raises(WrongSplit, match="seed 900000 belongs to the validation split.*only train"):
        check_split([5, 900_000], "train")
