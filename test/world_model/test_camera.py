"""Rays, ray frames and the path inside a latent frame, against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sana_wm_ros.world_model.camera import (
    CameraTrack,
    camera_tables,
    interpolate,
    latent_intrinsics,
    pixel_rays,
    relative_to,
    rigid_inverse,
)
from sana_wm_ros.world_model.toy import TINY, drive


def turned(yaw: float, x: float = 0.0, z: float = 0.0) -> Tensor:
    """A pose turned about the camera's y axis (down) by ``yaw``."""
    c, s = math.cos(yaw), math.sin(yaw)
    return torch.tensor([[c, 0, s, x], [0, 1, 0, 0], [-s, 0, c, z], [0, 0, 0, 1.0]])


def test_intrinsics_scale_to_latent_pixels() -> None:
    got = latent_intrinsics(48.0, 44.0, 47.5, 31.5, image=(64, 96), latent=(4, 6))
    assert got.tolist() == pytest.approx([3.0, 2.75, 2.96875, 1.96875])


def test_a_quarter_of_the_way_is_a_quarter_of_the_turn_and_of_the_distance() -> None:
    way = interpolate(turned(0.2), turned(1.0, x=2.0, z=4.0), 4)
    for i, pose in enumerate(way, start=1):
        torch.testing.assert_close(pose, turned(0.2 + 0.2 * i, x=0.5 * i, z=float(i)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("yaw", [0.0, 1e-7, 1.0, 3.0, math.pi])
def test_the_way_ends_exactly_at_its_end_and_stays_rigid(yaw: float) -> None:
    end = turned(yaw, x=1.0)
    way = interpolate(turned(0.0), end, 4)
    assert torch.equal(way[-1], end)
    product = way[:, :3, :3] @ way[:, :3, :3].transpose(-1, -2)
    torch.testing.assert_close(product, torch.eye(3).expand(4, 3, 3), atol=1e-5, rtol=0)


def test_far_from_the_origin_nothing_is_lost() -> None:
    """A step of 1 mm, 100 km away: float32 would round it to nothing."""
    anchor = torch.eye(4, dtype=torch.float64)
    anchor[0, 3] = 1e5
    pose = anchor.clone()
    pose[0, 3] += 1e-3
    assert relative_to(anchor, pose)[0, 3].item() == pytest.approx(1e-3, rel=1e-4)


def test_the_inverse_of_a_pose_undoes_it() -> None:
    poses = drive(2, 5).poses_BF44
    torch.testing.assert_close(
        rigid_inverse(poses) @ poses, torch.eye(4).expand(2, 5, 4, 4), atol=1e-5, rtol=0
    )


def test_the_principal_point_looks_straight_ahead() -> None:
    rays = pixel_rays(torch.tensor([[3.0, 3.0, 2.0, 1.0]]), 4, 6)
    assert rays[0, 1 * 6 + 2].tolist() == [0.0, 0.0, 1.0]
    right = torch.tensor([1 / 3, 0.0, 1.0])
    torch.testing.assert_close(rays[0, 1 * 6 + 3], right / right.norm())


def test_ray_matrices_are_the_published_construction() -> None:
    """zr = R d, xr = R[:, 1] x zr, yr = zr x xr, t = -R_w2l o, here from the formulas one token at a time."""
    track = drive(2, 3)
    tables = camera_tables(track, TINY)
    rays = pixel_rays(track.intrinsics_B4, 4, 6)
    for b, f, s in ((0, 0, 0), (1, 2, 23), (0, 1, 9)):
        pose = track.poses_BF44[b, f].clone()
        pose[:3, 3] *= TINY.position_scale
        turn, centre = pose[:3, :3], pose[:3, 3]
        z = turn @ rays[b, s]
        x = torch.linalg.cross(turn[:, 1], z)
        x = x / x.norm()
        y = torch.linalg.cross(z, x)
        to_ray = torch.stack([x, y, z])
        expected = torch.eye(4)
        expected[:3, :3], expected[:3, 3] = to_ray, -to_ray @ centre
        torch.testing.assert_close(tables.ray_FBS44[f, b, s], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(
            tables.ray_inverse_FBS44[f, b, s] @ expected, torch.eye(4), atol=1e-5, rtol=0
        )


def test_pluecker_rays_are_direction_and_moment_of_each_raw_frame() -> None:
    poses = torch.stack([turned(0.0), turned(0.0, z=4.0)])[None]
    track = CameraTrack(
        poses_BF44=poses, before_B44=poses[:, 0], intrinsics_B4=torch.tensor([[3.0, 3.0, 2.0, 1.0]])
    )
    plucker = camera_tables(track, TINY).plucker_FBSP.unflatten(-1, (4, 6))
    # Standing at the origin, all moments vanish.
    assert plucker[0, ..., 3:].abs().max() == 0
    # Pixel (row 1, column 5) looks along d = (1, 0, 1) / sqrt 2; from (0, 0, z) its moment is (0, z d_x, 0).
    half = math.sqrt(0.5)
    for i in range(4):
        z = (i + 1) * TINY.position_scale
        expected = torch.tensor([half, 0.0, half, 0.0, z * half, 0.0])
        torch.testing.assert_close(plucker[1, 0, 1 * 6 + 5, i], expected, atol=1e-6, rtol=0)


def test_a_slice_remembers_the_pose_before_it() -> None:
    track = drive(1, 6)
    whole, part = camera_tables(track, TINY), camera_tables(track.slice(2, 5), TINY)
    torch.testing.assert_close(part.plucker_FBSP, whole.plucker_FBSP[2:5])
