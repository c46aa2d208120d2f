"""Each candidate passes its own points, one after the other, and stands at its own end."""

import numpy as np
import pytest

from sana_wm_ros.planning.motion_models import roll_out
from sana_wm_ros.planning.pursuit import Pursuit
from sana_wm_ros.planning.types import Robot

VIAS = np.array(
    [[[1.0, 0.0], [2.0, 1.0], [2.0, 2.0]], [[-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]], np.zeros((3, 2))]
)
COUNTS, ENDS = np.array([3, 1, 0]), np.array([[0.0, 3.0], [-2.0, 0.5], [2.5, -1.0]])
SPEEDS = np.array([0.5, 0.3, 0.4])


def driven(rows, drive="differential", yaw_rad=None, frames=80):
    rows, robot = np.array(rows), Robot(drive=drive)
    pursuit = Pursuit(
        robot, VIAS[rows], COUNTS[rows], ENDS[rows], SPEEDS[rows], 0.5, arrive_m=0.15, yaw_rad=yaw_rad
    )
    everyone = np.ones(len(rows), dtype=bool)
    return roll_out(
        robot,
        np.zeros(3),
        np.zeros(3),
        lambda k, poses, twists: pursuit.command(poses, everyone),
        size=len(rows),
        frames=frames,
        period_s=0.5,
    )


@pytest.mark.parametrize("drive", ["differential", "omnidirectional"])
@pytest.mark.parametrize("yaw_rad", [None, 1.0])
def test_who_drives_beside_others_drives_as_if_alone(drive, yaw_rad):
    twists, poses = driven([0, 1, 2], drive, yaw_rad)
    for n in range(3):
        alone_twists, alone_poses = driven([n], drive, yaw_rad)
        assert np.array_equal(twists[n], alone_twists[0]) and np.array_equal(poses[n], alone_poses[0])
    assert np.hypot(*(poses[:, -1, :2] - ENDS).T).max() < 0.15 and not twists[:, -1].any()


def test_it_passes_near_all_its_points():
    _, poses = driven([0])
    for via_2 in VIAS[0]:
        assert np.hypot(*(poses[0, :, :2] - via_2).T).min() < 0.3


def test_an_end_within_reach_of_the_last_point_is_reached_with_it():
    # 0.2 m before the point the robot passes it, and stands within 0.15 m of its end.
    pursuit = Pursuit(
        Robot(), np.array([[[0.2, 0.0]]]), np.array([1]), np.array([[0.1, 0.0]]), np.array([0.5]), 0.5,
        arrive_m=0.15, yaw_rad=None,
    )  # fmt: skip
    assert not pursuit.command(np.zeros((3, 1)), np.array([True])).any()


def test_who_is_not_active_does_not_move_on():
    pursuit = Pursuit(
        Robot(), np.array([[[0.2, 0.0]]]), np.array([1]), np.array([[0.0, 1.0]]), np.array([0.5]), 0.5,
        arrive_m=0.15, yaw_rad=None,
    )  # fmt: skip
    assert pursuit.command(np.zeros((3, 1)), np.array([False]))[0, 0] > 0, "to the point ahead"
    assert pursuit.command(np.zeros((3, 1)), np.array([True]))[0, 0] == 0, "turns to its end"
