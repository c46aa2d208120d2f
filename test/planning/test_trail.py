"""The trail: in order, of bounded length, and what lies on it."""

import numpy as np
import pytest

from sana_wm_ros.planning.trail import Trail


def along_x(*x):
    poses = np.zeros((len(x), 3))
    poses[:, 0] = x
    return poses


def test_ways_beside_the_trail_are_moved_onto_it():
    trail = Trail()
    way = np.array([[0.0, 0.2], [1.0, 0.2], [2.0, 0.3], [3.0, -0.1], [4.0, 0.2]])
    assert np.array_equal(trail.onto([way])[0], way) and not trail.carries(way[None]).any(), (
        "there is none yet"
    )
    trail.add(along_x(*np.arange(0.0, 4.0, 0.125)))
    # 0.2 and 0.1 m beside it: onto it; 0.3 m: a way of its own; both ends stay.
    moved = np.array([[0.0, 0.2], [1.0, 0.0], [2.0, 0.3], [3.0, 0.0], [4.0, 0.2]])
    assert trail.onto([way])[0] == pytest.approx(moved)
    assert trail.carries(np.array([[[1.0, 0.1], [1.0, 0.15]]])).tolist() == [[True, False]]


def test_what_the_trail_carries_is_what_lies_within_twelve_centimetres_of_its_nearest_pose():
    random, trail = np.random.default_rng(0), Trail()
    trail.add(np.cumsum(random.uniform(-0.3, 0.3, (200, 3)), axis=0))
    points = random.uniform(-3.0, 3.0, (40, 50, 2))
    away = np.hypot(*np.moveaxis(points[..., None, :] - trail.poses_P3[:, :2], -1, 0)).min(axis=-1)
    carried = trail.carries(points)
    assert np.array_equal(carried, away <= 0.12) and 10 < carried.sum() < carried.size
    trail.add(np.array([[*points[0, 0], 0.0]]))
    assert trail.carries(points)[0, 0], "it grew, so it is searched anew"


def test_a_long_trail_keeps_its_newest_half_and_what_was_read_stays_as_it_was():
    trail = Trail()
    trail.add(along_x(*(0.2 * np.arange(6000))))
    before = trail.poses_P3
    assert len(before) == 6000
    trail.add(along_x(1200.0))
    assert len(trail.poses_P3) == 3001 and trail.poses_P3[0, 0] == pytest.approx(600.0)
    assert trail.carries(np.array([[[10.0, 0.0], [600.0, 0.05]]])).tolist() == [[False, True]]
    assert trail.poses_P3[-1, 0] == 1200.0 and before[-1, 0] == pytest.approx(1199.8)


def test_the_trail_is_searched_anew_only_after_it_grew(monkeypatch):
    import sana_wm_ros.planning.trail as module

    built, original = [], module.KDTree
    monkeypatch.setattr(module, "KDTree", lambda points: built.append(len(points)) or original(points))
    trail = Trail()
    trail.add(along_x(0.0, 1.0))
    for _ in range(3):
        trail.carries(np.zeros((2, 3, 2)))
        trail.onto([np.zeros((4, 2))])
        trail.add(along_x(1.05))  # too near to count
    assert built == [2]
