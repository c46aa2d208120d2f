"""Parts of a dream, worked out by hand: ranges between two frames, who drives when nobody else does."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.dream import DreamStep
from sana_wm_ros.simulation.dream_driver import Retracer, Wanderer, thinned


def step(
    clearance_K: list[float], *, begin_3: tuple[float, float, float], contact: bool = False
) -> DreamStep:
    """A step of two moments that ends at the origin."""
    return DreamStep(
        time_s=0.0,
        command=(0.4, 0.0),
        times_M=np.array([0.25, 0.5]),
        poses_M3=np.array([begin_3, (0.0, 0.0, 0.0)]),
        twists_M2=np.zeros((2, 2)),
        pictures_THWC=np.zeros((1, 2, 2, 3), np.uint8),
        clearance_K=np.array(clearance_K),
        probability=0.0,
        contact=contact,
        uncertainty=0.0,
        took_s=0.0,
    )


def test_before_its_end_a_step_s_ranges_are_moved_back_along_the_way() -> None:
    """Half a metre before the end the wall ahead is half a metre further, the one behind nearer, sides alike."""
    found = step([2.0, 1.0, 3.0, 1.0], begin_3=(-0.5, 0.0, 0.0))
    np.testing.assert_allclose(found.clearance_at(0), [2.5, 1.0, 2.5, 1.0], atol=1e-9)
    np.testing.assert_allclose(found.clearance_at(1), [2.0, 1.0, 3.0, 1.0], atol=1e-9)


def test_before_its_end_a_step_s_ranges_are_turned_back() -> None:
    """Where the robot looked left by a quarter turn, what is now on its left was ahead of it."""
    found = step([4.0, 1.0, 2.0, 3.0], begin_3=(0.0, 0.0, math.pi / 2))
    np.testing.assert_allclose(found.clearance_at(0), [1.0, 2.0, 3.0, 4.0], atol=1e-9)


def test_ranges_are_never_negative() -> None:
    assert step([1.0, 1.0, 0.1, 1.0], begin_3=(-1.0, 0.0, 0.0)).clearance_at(0)[2] == 0.0


def room(ahead: float, left: float, right: float) -> list[float]:
    """24 sectors: ahead are those within 60 degrees or so, then left, behind as far as ahead, then right."""
    return [ahead] * 4 + [left] * 6 + [ahead] * 5 + [right] * 6 + [ahead] * 3


def test_the_wanderer_turns_in_place_before_what_is_near_to_where_there_is_room_and_keeps_to_it() -> None:
    driver, origin_3 = Wanderer(), np.zeros(3)
    assert driver.command(origin_3, None) == (0.4, 0.0)
    speed, turn = driver.command(origin_3, step(room(0.5, 3.0, 1.0), begin_3=(0.0, 0.0, 0.0)))
    assert speed == 0.0 and turn > 0.0
    # Now there is more room to the right, but changing its mind would let it stand still for ever.
    assert driver.command(origin_3, step(room(0.5, 1.0, 3.0), begin_3=(0.0, 0.0, 0.0))) == (0.0, turn)
    speed, turn = driver.command(origin_3, step(room(4.0, 1.0, 3.0), begin_3=(0.0, 0.0, 0.0)))
    assert speed == 0.4 and turn < 0.0


def test_the_wanderer_turns_after_contact_though_the_model_sees_room() -> None:
    speed, turn = Wanderer().command(
        np.zeros(3), replace(step(room(4.0, 3.0, 1.0), begin_3=(0.0, 0.0, 0.0)), contact=True)
    )
    assert speed == 0.0 and turn > 0.0


def test_the_retracer_drives_a_way_back_and_forth() -> None:
    way_P2 = np.stack([np.arange(0.0, 3.2, 0.4), np.zeros(8)], axis=1)
    driver = Retracer(way_P2, Robot(), 0.5)
    pose_3, reached = np.array([2.8, 0.0, math.pi]), []
    for _ in range(100):
        speed, turn = driver.command(pose_3, None)
        for _ in range(10):
            pose_3 += 0.05 * np.array([speed * math.cos(pose_3[2]), speed * math.sin(pose_3[2]), turn])
        reached.append(pose_3[0])
        assert abs(pose_3[1]) < 0.7
    assert min(reached) < 0.5 and max(reached[int(np.argmin(reached)) :]) > 2.2


def test_a_way_is_thinned_to_strides() -> None:
    way_P2 = np.stack([np.linspace(0.0, 1.0, 101), np.zeros(101)], axis=1)
    kept = thinned(way_P2)
    assert kept[:, 0] == pytest.approx([0.0, 0.4, 0.8])
