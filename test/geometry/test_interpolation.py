"""Stamped poses: linear between, the shorter turn, no guessing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sana_wm_ros.geometry.interpolation import NoPose, interpolate_poses

STAMPS = [10.0, 10.2, 10.4]
POSES = [[0.0, 0.0, 3.0], [1.0, 2.0, -3.0], [1.0, 2.0, -3.0]]


def test_half_way_by_hand_across_the_cut_at_pi():
    # From 3.0 to -3.0 the shorter turn is +0.2832; half of it: 3.1416 = pi.
    pose = interpolate_poses(STAMPS, POSES, 10.1)[0]
    assert pose[:2] == pytest.approx([0.5, 1.0])
    assert abs(pose[2]) == pytest.approx(np.pi)


def test_stamps_give_back_their_own_poses():
    assert np.allclose(interpolate_poses(STAMPS, POSES, STAMPS), POSES)


@given(st.floats(10.0, 10.4))
def test_positions_never_leave_the_segment(at):
    pose = interpolate_poses(STAMPS, POSES, at)[0]
    assert 0 <= pose[0] <= 1 and 0 <= pose[1] <= 2


def test_nothing_is_guessed_outside_the_stamps():
    with pytest.raises(NoPose, match="0.100 s outside"):
        interpolate_poses(STAMPS, POSES, [10.1, 10.5])
    with pytest.raises(NoPose, match="outside"):
        interpolate_poses(STAMPS, POSES, 9.99)


def test_a_little_extrapolation_may_be_allowed_and_carries_the_motion_on():
    pose = interpolate_poses(
        [0.0, 1.0], [[0, 0, 0], [1, 0, 0.5]], 1.1, max_gap_s=1.0, max_extrapolation_s=0.1
    )[0]
    assert pose == pytest.approx([1.1, 0.0, 0.55])


def test_a_hole_in_odometry_is_refused_except_on_its_edges():
    stamps, poses = [0.0, 2.0], [[0, 0, 0], [1, 0, 0]]
    with pytest.raises(NoPose, match="2.000 s apart"):
        interpolate_poses(stamps, poses, 1.0)
    assert interpolate_poses(stamps, poses, 2.0)[0, 0] == 1


def test_nothing_received_is_said_so():
    with pytest.raises(NoPose, match="no pose"):
        interpolate_poses([], np.zeros((0, 3)), 1.0)


def test_stamps_that_go_back_are_refused():
    with pytest.raises(ValueError, match="increase"):
        interpolate_poses([1.0, 1.0], np.zeros((2, 3)), 1.0)
