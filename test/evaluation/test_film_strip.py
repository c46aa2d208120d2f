"""Film strips: every frame at its place, at its size, and bad rows refused."""

import numpy as np
import pytest

from sana_wm_ros.evaluation.film_strip import (
    EMPTY_RGB,
    FilmLayout,
    FilmRow,
    enlarge,
    film_strip,
    seconds_label,
)


def _flat(level: int) -> np.ndarray:
    return np.full((8, 12, 3), level, np.uint8)


def test_each_frame_fills_its_tile_and_nothing_else():
    rows = [
        FilmRow(label="seen", frames=[_flat(50), _flat(100), _flat(150)]),
        FilmRow(label="imagined", frames=[_flat(60), _flat(110), _flat(160)], notes=["a", "b", "c"]),
    ]
    strip = film_strip(rows, [0.0, 1.0, 2.0], tile_width=96)
    layout = FilmLayout(tile_width=96, tile_height=64)  # 96 * 8 / 12
    for number, row in enumerate(rows):
        for column, frame in enumerate(row.frames):
            left, top = layout.tile_origin(rows, number, column)
            tile = strip[top : top + 64, left : left + 96]
            assert (tile == frame[0, 0]).all()
            assert (strip[top - 1, left : left + 96] != frame[0, 0]).any()
            assert (strip[top : top + 64, left - 1] != frame[0, 0]).all()


def test_layout_by_hand():
    # tile 96 x 64: gap 3, label 0.64 * 96 = 61, header 0.2 * 96 = 19, notes 0.155 * 96 = 15
    layout = FilmLayout(tile_width=96, tile_height=64)
    rows = [FilmRow(label="a", frames=[None] * 4, notes=["x"] * 4), FilmRow(label="b", frames=[None] * 4)]
    assert layout.tile_origin(rows, 0, 0) == (61, 19)
    assert layout.tile_origin(rows, 1, 2) == (61 + 2 * 99, 19 + 64 + 15 + 3)
    assert layout.size(rows, 4) == (61 + 4 * 99, 19 + 64 + 15 + 3 + 64 + 3)


def test_the_strip_has_the_size_that_the_layout_says():
    rows = [FilmRow(label="seen", frames=[_flat(9)] * 5)]
    width, height = FilmLayout(tile_width=192, tile_height=128).size(rows, 5)
    assert film_strip(rows, [0, 1, 2, 3, 4]).shape == (height, width, 3)


def test_a_missing_frame_is_an_empty_place():
    rows = [FilmRow(label="seen", frames=[None, _flat(200)])]
    strip = film_strip(rows, [0, 1], tile_width=96)
    left, top = FilmLayout(tile_width=96, tile_height=64).tile_origin(rows, 0, 0)
    assert (strip[top : top + 64, left : left + 96] == EMPTY_RGB).all()


def test_a_strip_of_only_missing_frames_can_be_drawn():
    assert film_strip([FilmRow(label="seen", frames=[None])], ["-"]).ndim == 3


def test_notes_are_written_below_their_frames():
    plain = film_strip([FilmRow(label="a", frames=[_flat(90)], notes=[""])], [0], tile_width=96)
    noted = film_strip([FilmRow(label="a", frames=[_flat(90)], notes=["20.1 dB"])], [0], tile_width=96)
    rows, columns = np.nonzero((plain != noted).any(axis=2))
    assert len(rows) and rows.min() >= 19 + 64 and columns.min() >= 61


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "at least one row"),
        ([FilmRow(label="seen", frames=[_flat(1)])], "'seen' has 1 frames"),
        ([FilmRow(label="seen", frames=[_flat(1)] * 2, notes=["x"])], "1 notes, expected 2"),
        ([FilmRow(label="seen", frames=[_flat(1), np.zeros((4, 4, 3), np.uint8)])], "share one"),
        ([FilmRow(label="seen", frames=[np.zeros((4, 4), np.uint8)] * 2)], "share one"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(rows, words):
    with pytest.raises(ValueError, match=words):
        film_strip(rows, [0.0, 1.0])


@pytest.mark.parametrize(
    ("time_s", "label"), [(0, "now"), (0.5, "0.5 s"), (8.0, "8 s"), (60.0, "60 s"), (-2.0, "-2 s")]
)
def test_seconds_as_people_read_them(time_s, label):
    assert seconds_label(time_s) == label


def test_enlarging_keeps_what_is_flat_flat():
    assert (enlarge(_flat(77), 120, 80) == 77).all()
    assert enlarge(_flat(77), 6, 4).shape == (4, 6, 3)
