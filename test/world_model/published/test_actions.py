"""Keys and twists become the camera paths that anybody can work out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sana_wm_ros.geometry.camera import base_to_optical
from sana_wm_ros.world_model.published.actions import (
    CURRENT,
    FIRST_RELEASE,
    parse_actions,
    poses_of_actions,
    poses_of_twists,
)

FRAMES_PER_TAU = 0.45 * 16


def yaw_of(pose: torch.Tensor) -> float:
    """Positive to the right: the camera's forward axis seen from above."""
    return math.atan2(float(pose[0, 2]), float(pose[2, 2]))


def test_n_frames_give_n_and_one_poses_and_the_first_stays() -> None:
    poses = poses_of_actions("none-3, w-5")
    assert poses.shape == (9, 4, 4)
    assert torch.equal(poses[0], torch.eye(4, dtype=torch.float64))
    assert torch.equal(poses[3], poses[0])


def test_w_walks_forward_at_once_and_coasts_when_let_go() -> None:
    z = poses_of_actions("w-4,none-2")[:, 2, 3]
    # A fresh press snaps to 0.025 m a frame; then speed falls by exp(-1 / 16) a frame (time constant 1 s).
    fall = math.exp(-1 / 16)
    steps = [0.025] * 4 + [0.025 * fall, 0.025 * fall**2]
    torch.testing.assert_close(z[1:], torch.tensor(steps, dtype=torch.float64).cumsum(0))


def test_the_same_key_eases_after_another_was_let_go() -> None:
    # wd together, then w alone: turning coasts, walking goes on.
    poses = poses_of_actions("wd-1,w-1")
    turns = [yaw_of(poses[1]), yaw_of(poses[2]) - yaw_of(poses[1])]
    assert turns == pytest.approx([math.radians(0.6), math.radians(0.6) * math.exp(-1 / 16)])
    # Pressed again after a pause of one frame, w is fresh and snaps.
    z = poses_of_actions("w-1,none-1,w-1")[:, 2, 3]
    assert float(z[3] - z[2]) == pytest.approx(0.025)


def test_a_held_key_returns_to_its_speed_when_its_opposite_is_let_go() -> None:
    # w and s cancel; after s the target is 0.025 again, reached with a time constant of 0.45 s.
    z = poses_of_actions("ws-1,w-1")[:, 2, 3]
    assert float(z[1]) == 0.0
    assert float(z[2]) == pytest.approx(0.025 * (1 - math.exp(-1 / FRAMES_PER_TAU)))


@pytest.mark.parametrize(
    ("key", "axis", "sign"), [("w", 2, 1.0), ("s", 2, -1.0), ("l", 0, 1.0), ("j", 0, -1.0)]
)
def test_current_keys_move_along_their_axis(key: str, axis: int, sign: float) -> None:
    position = poses_of_actions(f"{key}-1")[1, :3, 3]
    expected = torch.zeros(3, dtype=torch.float64)
    expected[axis] = sign * 0.025
    torch.testing.assert_close(position, expected)


def test_a_and_d_turn_now_and_strafed_in_the_first_release() -> None:
    assert yaw_of(poses_of_actions("d-1")[1]) == pytest.approx(math.radians(0.6))
    assert yaw_of(poses_of_actions("a-1")[1]) == pytest.approx(-math.radians(0.6))
    strafed = poses_of_actions("d-1", FIRST_RELEASE)[1]
    assert strafed[:3, 3].tolist() == [0.05, 0.0, 0.0]
    assert yaw_of(poses_of_actions("l-2", FIRST_RELEASE)[2]) == pytest.approx(math.radians(2.4))


def test_the_camera_moves_level_however_it_looks() -> None:
    poses = poses_of_actions("i-50,w-40")
    # 50 frames of 0.6 degrees and a coast reach far up, yet walking neither climbs nor slows down.
    assert float(poses[50, 1, 2]) == pytest.approx(-math.sin(math.radians(30.0)))
    assert float(poses[-1, 1, 3]) == 0.0
    assert float(poses[51, 2, 3]) == pytest.approx(0.025)


def test_pitch_stops_at_its_limit() -> None:
    up = poses_of_actions("i-120")
    assert math.asin(-float(up[-1, 1, 2])) == pytest.approx(math.radians(60.0))
    # The first release drops the step that would go beyond: 70 of 1.2 degrees fit under 85.
    first = poses_of_actions("k-90", FIRST_RELEASE)
    assert math.asin(float(first[-1, 1, 2])) == pytest.approx(math.radians(84.0))


def test_poses_stay_rigid() -> None:
    turn = poses_of_actions("wd-200,ia-100,none-50,ks-40")[:, :3, :3]
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3, dtype=torch.float64).expand_as(turn))


@pytest.mark.parametrize(
    "actions", ["", "w", "w-", "w-0", "-5", "w--5", "w-1.5", "q-3", "w-3,,s-2", "w-٣", "w-999999999"]
)
def test_bad_actions_are_refused(actions: str) -> None:
    with pytest.raises(ValueError, match="action"):
        parse_actions(actions, CURRENT.keys)


def test_spaces_and_capitals_do_not_matter() -> None:
    assert parse_actions(" W-1 , None-2 ", CURRENT.keys) == [frozenset("w"), frozenset(), frozenset()]


def test_twists_drive_a_base_that_carries_the_camera() -> None:
    camera = base_to_optical((0.2, 0.0, 0.5), (0.0, 0.0, 0.0))
    poses = poses_of_twists([[0.8, 0.0, 0.0]] * 16, camera, frame_rate_hz=16.0)
    assert poses.shape == (17, 4, 4)
    # One second at 0.8 m/s: the camera went 0.8 m along its own forward axis.
    moved = torch.linalg.inv(poses[0]) @ poses[-1]
    torch.testing.assert_close(moved[:3, 3], torch.tensor([0.0, 0.0, 0.8], dtype=torch.float64))
    # A quarter turn to the left in place swings it about the base's centre.
    turned = poses_of_twists([[0.0, 0.0, np.pi / 2]] * 16, camera)
    torch.testing.assert_close(
        turned[-1][:3, 3], torch.tensor([0.0, 0.2, 0.5], dtype=torch.float64), atol=1e-9, rtol=0
    )
    for bad in ([[0.1, 0.0]], [0.1, 0.0, 0.0], [[np.nan, 0.0, 0.0]]):
        with pytest.raises(ValueError, match=r"expected \(frames, 3\)"):
            poses_of_twists(bad, camera)
