"""Camera inputs of the published weights, worked out by hand, and held against diffusers' own packing."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import camera_tables
from sana_wm_ros.world_model.published.actions import poses_of_actions
from sana_wm_ros.world_model.published.conditions import as_intrinsics, camera_conditions
from sana_wm_ros.world_model.toy import TINY_SANA_WM, drive

IMAGE, LATENT = (64, 96), (2, 3)
K = torch.tensor([48.0, 64.0, 32.0, 32.0])


def walked(frames: int, x: float = 40.0) -> Tensor:
    """Forward by 0.1 m a frame, along the world's z, from (x, 0, 3)."""
    poses = torch.eye(4, dtype=torch.float64).repeat(frames, 1, 1)
    poses[:, 0, 3], poses[:, 2, 3] = x, 3.0 + 0.1 * torch.arange(frames)
    return poses


def test_conditions_are_relative_poses_and_latent_intrinsics_at_every_eighth_frame() -> None:
    got = camera_conditions(walked(17), K, image=IMAGE, latent=LATENT).conditions_BF20
    assert got.shape == (1, 3, 20)
    for latent, z in enumerate((0.0, 0.8, 1.6)):
        pose = torch.eye(4)
        pose[2, 3] = z
        torch.testing.assert_close(got[0, latent, :16], pose.flatten(), atol=1e-6, rtol=0)
        # fx and cx by 3 / 96, fy and cy by 2 / 64.
        assert got[0, latent, 16:].tolist() == [1.5, 2.0, 1.0, 1.0]


def test_each_latent_frame_has_the_rays_of_the_eight_frames_up_to_its_own() -> None:
    got = camera_conditions(walked(17), K, image=IMAGE, latent=LATENT).plucker_BPFHW
    assert got.shape == (1, 48, 3, 2, 3)
    rays = got[0].unflatten(0, (8, 6))
    # Pixel (row 1, column 1) is the principal point: straight ahead, no moment about the path's own line.
    assert rays[:, :3, :, 1, 1].permute(0, 2, 1).reshape(-1, 3).unique(dim=0).tolist() == [[0.0, 0.0, 1.0]]
    # Pixel (1, 2) looks along (2 / 3, 0, 1); from (0, 0, z) its moment is (0, z d_x, 0).
    along = torch.tensor([2 / 3, 0.0, 1.0])
    along = along / along.norm()
    for latent, first in enumerate((0, 1, 9)):
        for frame in range(8):
            z = 0.1 * (first + frame)
            expected = torch.tensor([*along.tolist(), 0.0, z * float(along[0]), 0.0])
            torch.testing.assert_close(rays[frame, :, latent, 1, 2], expected, atol=1e-6, rtol=0)


def test_a_single_frame_repeats_its_rays() -> None:
    got = camera_conditions(walked(1), K, image=IMAGE, latent=LATENT).plucker_BPFHW[0].unflatten(0, (8, 6))
    assert torch.equal(got, got[:1].expand_as(got))


def test_far_from_the_origin_nothing_is_lost() -> None:
    near, far = (
        camera_conditions(walked(9, x), K, image=IMAGE, latent=LATENT).conditions_BF20 for x in (0.0, 1e6)
    )
    torch.testing.assert_close(near, far, atol=1e-6, rtol=0)


def test_packing_is_diffusers_own() -> None:
    module = pytest.importorskip(
        "diffusers.pipelines.sana_wm.cam_utils", reason="needs diffusers 0.42.1 (extra sana_wm)"
    )
    poses = poses_of_actions("wd-9,a-8,il-16")[:33]
    focal = torch.linspace(40.0, 52.0, 33)
    k = torch.stack([focal, focal * 1.1, focal, focal * 0.7], -1)
    theirs = module.prepare_camera(
        poses.float().numpy(), k.numpy(), target_size=IMAGE, vae_stride=(8, 32, 32)
    )
    mine = camera_conditions(poses, k, image=IMAGE, latent=LATENT)
    torch.testing.assert_close(mine.conditions_BF20[0], theirs["raymap"], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(mine.plucker_BPFHW[0], theirs["chunk_plucker"], atol=1e-6, rtol=1e-5)


def test_a_part_of_a_clip_has_the_clip_s_rays() -> None:
    whole = camera_conditions(walked(25), K, image=IMAGE, latent=LATENT)
    part = whole.slice(1, 3)
    assert (part.frames, whole.frames) == (2, 4)
    mine, theirs = part.tables(TINY_SANA_WM), whole.tables(TINY_SANA_WM)
    for name in ("ray_FBS44", "ray_inverse_FBS44", "plucker_FBSP"):
        torch.testing.assert_close(getattr(mine, name), getattr(theirs, name)[1:3])


def test_tables_agree_with_those_of_interpolated_tracks() -> None:
    """On a straight walk interpolated and measured raw frames are the same ones."""
    track = drive(1, 3)
    poses = walked(17, 0.0)
    k = K * torch.tensor([3 / 96, 2 / 64, 3 / 96, 2 / 64])
    relative = torch.linalg.inv(poses[0]) @ poses
    track = type(track)(
        poses_BF44=relative[::8].float()[None], before_B44=relative[:1].float(), intrinsics_B4=k[None]
    )
    mine = camera_conditions(poses, K, image=IMAGE, latent=LATENT).tables(TINY_SANA_WM)
    theirs = camera_tables(track, TINY_SANA_WM)
    torch.testing.assert_close(mine.ray_FBS44, theirs.ray_FBS44, atol=1e-5, rtol=0)
    torch.testing.assert_close(mine.ray_inverse_FBS44, theirs.ray_inverse_FBS44, atol=1e-5, rtol=0)
    # Latent frame 0 looks ahead to frames 0 ... 7 in the published packing; a robot has only frame 0.
    torch.testing.assert_close(mine.plucker_FBSP[1:], theirs.plucker_FBSP[1:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", ["(4,)", "(T, 4)", "(3, 3)", "(T, 3, 3)"])
def test_intrinsics_come_in_four_shapes(shape: str) -> None:
    matrix = torch.tensor([[48.0, 0.0, 32.0], [0.0, 64.0, 31.0], [0.0, 0.0, 1.0]])
    row = torch.tensor([48.0, 64.0, 32.0, 31.0])
    given = {"(4,)": row, "(T, 4)": row.expand(5, 4), "(3, 3)": matrix, "(T, 3, 3)": matrix.expand(5, 3, 3)}
    assert as_intrinsics(given[shape], 5).tolist() == [[48.0, 64.0, 32.0, 31.0]] * 5


@pytest.mark.parametrize(
    ("poses", "k", "words"),
    [
        (walked(9)[:8], K, r"expected \(1 \+ k \* 8, 4, 4\)"),
        (walked(9) * math.nan, K, "finite"),
        (walked(9), K[:3], "intrinsics have shape"),
        (walked(9), K.expand(8, 4), "intrinsics have shape"),
        (walked(9), K * math.inf, "finite"),
        (walked(9), -K, "above 0"),
    ],
)
def test_bad_cameras_are_refused(poses: Tensor, k: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        camera_conditions(poses, k, image=IMAGE, latent=LATENT)


def test_rays_of_another_grid_are_refused() -> None:
    camera = camera_conditions(walked(9), K, image=IMAGE, latent=(4, 6))
    with pytest.raises(ValueError, match="the preset expects"):
        camera.tables(TINY_SANA_WM)
    rotary = dataclasses.replace(TINY_SANA_WM, translation="rotary")
    with pytest.raises(ValueError, match="homogeneous translation, not rotary"):
        camera_conditions(walked(9), K, image=IMAGE, latent=LATENT).tables(rotary)
