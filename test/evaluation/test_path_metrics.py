"""Displacement, heading and comfort, by numbers worked out by hand."""

import numpy as np
import pytest

from sana_wm_ros.evaluation import path_metrics

DRIVEN = np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [3.0, 0.0, 0.0]])


def test_ade_is_the_mean_distance_and_fde_the_last_one():
    plan = np.array([[1.0, 0.0, 0.0], [2.0, 3.0, 0.0], [0.0, 4.0, 0.0]])
    # distances 0, 3 and sqrt(3^2 + 4^2) = 5
    assert path_metrics.displacement(plan, DRIVEN).tolist() == [0.0, 3.0, 5.0]
    assert path_metrics.average_displacement(plan, DRIVEN) == pytest.approx(8 / 3)
    assert path_metrics.final_displacement(plan, DRIVEN) == 5.0


def test_many_candidates_are_measured_at_once():
    plans = np.stack([DRIVEN, DRIVEN + [0.0, 1.0, 0.0]])
    assert path_metrics.average_displacement(plans, DRIVEN).tolist() == [0.0, 1.0]


def test_heading_error_takes_the_shorter_turn():
    # from 170 to -170 degrees it is 20, not 340; the mean with 0 and 10 is 10
    plan, driven = DRIVEN.copy(), DRIVEN.copy()
    plan[:, 2], driven[:, 2] = np.radians([170, 0, 10]), np.radians([-170, 0, 0])
    assert np.degrees(path_metrics.heading_error(plan, driven)) == pytest.approx(10.0)


def test_a_steady_speeding_up_has_that_acceleration_and_no_jerk():
    times = np.arange(10) * 0.5
    twists = np.stack([0.4 * times, 0 * times, 0 * times], axis=1)
    found = path_metrics.comfort(times, twists)
    assert found.acceleration_mps2 == pytest.approx(0.4)
    assert found.jerk_mps3 == pytest.approx(0.0, abs=1e-9)
    assert found.yaw_rate_radps == 0.0


def test_a_circle_has_its_centripetal_acceleration():
    # 2 m/s and 0.5 rad/s: v w = 1 m/s^2 to the side
    times = np.arange(8) * 0.5
    found = path_metrics.comfort(times, np.tile([2.0, 0.0, 0.5], (8, 1)))
    assert found.acceleration_mps2 == pytest.approx(1.0)
    assert found.yaw_rate_radps == 0.5


def test_jerk_is_the_change_of_acceleration():
    # speeds 0, 0, 0.5, 0.5: accelerations 0, 1, 0 m/s^2, jerks 2 and -2 m/s^3
    found = path_metrics.comfort([0.0, 0.5, 1.0, 1.5], [[0, 0, 0], [0, 0, 0], [0.5, 0, 0], [0.5, 0, 0]])
    assert found.jerk_mps3 == pytest.approx(2.0)


def test_noise_within_a_window_is_no_jerk():
    times = np.arange(100) * 0.05
    wiggle = np.where(np.arange(100) % 2, 0.1, -0.1)
    found = path_metrics.comfort(times, np.stack([1.0 + wiggle, 0 * times, 0 * times], axis=1))
    assert found.jerk_mps3 == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_too_little_motion_has_no_comfort(length):
    assert path_metrics.comfort(np.arange(length) * 0.5, np.zeros((length, 3))) is None
