"""Spatial motions and ROS quaternions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sana_wm_ros.geometry import se3

angles = st.floats(-1.5, 1.5)
metres = st.floats(-20, 20)


@given(metres, metres, metres, angles, angles, angles)
def test_inverse_and_quaternion_round_trip(x, y, z, roll, pitch, yaw):
    matrix = se3.from_xyz_rpy([x, y, z], [roll, pitch, yaw])
    assert np.allclose(matrix @ se3.inverse(matrix), np.eye(4), atol=1e-9)
    assert np.allclose(se3.from_quaternion([x, y, z], se3.to_quaternion(matrix)), matrix, atol=1e-9)


@given(st.floats(-3.1, 3.1))
def test_yaw_round_trip(yaw):
    assert se3.yaw_from_quaternion(se3.quaternion_from_yaw(yaw)) == pytest.approx(yaw, abs=1e-9)


def test_roll_pitch_yaw_turn_about_fixed_axes():
    # Rolling by 90 deg, then yawing by 90 deg: y goes up (z), and yaw leaves it there; x goes to y.
    matrix = se3.from_xyz_rpy([0, 0, 0], [np.pi / 2, 0, np.pi / 2])
    assert np.allclose(matrix[:3, 0], [0, 1, 0], atol=1e-12)
    assert np.allclose(matrix[:3, 1], [0, 0, 1], atol=1e-12)


def test_a_quarter_turn_quaternion_by_hand():
    # (0, 0, sin 45deg, cos 45deg), scaled by 3 as a sloppy driver might
    matrix = se3.from_quaternion([1, 2, 3], np.array([0, 0, 1, 1]) * 3.0)
    assert np.allclose(matrix, [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]], atol=1e-12)


@pytest.mark.parametrize("quaternion", [[0, 0, 0, 0], [np.nan, 0, 0, 1]])
def test_a_quaternion_that_is_no_rotation_is_refused(quaternion):
    with pytest.raises(ValueError, match="no rotation"):
        se3.yaw_from_quaternion(quaternion)


@given(st.tuples(metres, metres, angles))
def test_planar_round_trip(pose):
    assert np.allclose(se3.to_planar(se3.from_planar(pose)), pose)
