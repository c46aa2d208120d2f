"""Planar motions obey the group's laws, and arcs end where a compass and a ruler say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sana_wm_ros.geometry import se2, se3

metres = st.floats(-50, 50)
poses = st.tuples(metres, metres, st.floats(-np.pi, np.pi)).map(np.array)
twists = st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.floats(-3, 3)).map(np.array)


def same_pose(a, b, tolerance=1e-9):
    offset = np.asarray(a) - np.asarray(b)
    offset[..., 2] = se2.wrap_angle(offset[..., 2])
    return np.abs(offset).max() < tolerance


@given(st.floats(-1000, 1000))
def test_wrapped_angles_lie_in_the_half_open_circle_and_stay_the_same_angle(angle):
    wrapped = float(se2.wrap_angle(angle))
    assert -np.pi <= wrapped <= np.pi
    assert abs(np.exp(1j * wrapped) - np.exp(1j * angle)) < 1e-9


def test_half_a_turn_wraps_to_plus_pi_from_both_sides():
    assert se2.wrap_angle(np.pi) == np.pi
    assert se2.wrap_angle(-np.pi) == np.pi


@given(poses, poses, poses)
def test_composition_is_associative_and_matches_matrices(a, b, c):
    left = se2.compose(se2.compose(a, b), c)
    assert same_pose(left, se2.compose(a, se2.compose(b, c)), 1e-8)
    matrix = se3.from_planar(a) @ se3.from_planar(b) @ se3.from_planar(c)
    assert same_pose(left, se3.to_planar(matrix), 1e-8)


@given(poses, poses)
def test_inverse_undoes_and_between_leads_from_one_to_the_other(a, b):
    assert same_pose(se2.compose(a, se2.inverse(a)), np.zeros(3))
    assert same_pose(se2.compose(a, se2.between(a, b)), b)


def test_a_quarter_circle_to_the_left():
    # 1 m/s along a circle of radius 2 m for a quarter of it: pi seconds at 0.5 rad/s.
    assert same_pose(se2.exp([1.0, 0.0, 0.5], np.pi), [2.0, 2.0, np.pi / 2])


def test_a_sideways_arc():
    # Moving left while turning left circles about a point behind: quarter turn, radius 2: x = -2, y = 2.
    assert same_pose(se2.exp([0.0, 1.0, 0.5], np.pi), [-2.0, 2.0, np.pi / 2])


def test_straight_ahead_and_a_turn_so_small_that_naive_formulas_divide_by_zero():
    assert same_pose(se2.exp([0.6, 0.0, 0.0], 0.5), [0.3, 0.0, 0.0])
    # y = v w t^2 / 2 = 1e-9 / 2
    assert se2.exp([1.0, 0.0, 1e-9], 1.0)[1] == pytest.approx(0.5e-9, rel=1e-6)


@given(twists, st.floats(0.01, 1.0))
def test_the_exact_arc_is_the_limit_of_many_small_steps(twist, duration):
    steps = 4000
    pose = np.zeros(3)
    yaw = twist[2] * duration * (np.arange(steps) + 0.5) / steps  # midpoint rule
    pose[0] = np.sum(np.cos(yaw) * twist[0] - np.sin(yaw) * twist[1]) * duration / steps
    pose[1] = np.sum(np.sin(yaw) * twist[0] + np.cos(yaw) * twist[1]) * duration / steps
    pose[2] = twist[2] * duration
    assert same_pose(se2.exp(twist, duration), pose, 1e-6)


@given(twists)
def test_log_undoes_exp_within_half_a_turn(twist):
    assert np.allclose(se2.log(se2.exp(twist)), twist, atol=1e-9)


@given(poses, arrays(np.float64, (2, 5, 3), elements=st.floats(-2, 2)))
def test_integration_equals_composing_arc_after_arc(start, sequence):
    integrated = se2.integrate(start, sequence, 0.5)
    for n in range(2):
        pose = start
        for f in range(5):
            pose = se2.compose(pose, se2.exp(sequence[n, f], 0.5))
            assert same_pose(integrated[n, f], pose, 1e-8)


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"last axis, got shape \(2,\)"):
        se2.compose([1.0, 2.0], [0.0, 0.0, 0.0])
