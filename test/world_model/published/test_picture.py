"""First pictures are cut as published ones were, and their intrinsics still fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sana_wm_ros.world_model.published.picture import first_picture

K = torch.tensor([500.0, 510.0, 320.0, 240.0])


def noisy(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_a_picture_of_the_right_size_is_kept() -> None:
    picture = noisy(96, 64)
    pixels, k = first_picture(picture, K, height=64, width=96)
    assert pixels.shape == (1, 64, 96, 3) and pixels.dtype == torch.uint8
    assert np.array_equal(pixels[0].numpy(), np.asarray(picture))
    assert torch.equal(k, K)


def test_intrinsics_follow_the_pixels() -> None:
    # 640 x 480 covers 1280 x 704 when doubled to 1280 x 960; 256 rows are too many, 128 go at the top.
    _, k = first_picture(noisy(640, 480), K)
    assert k.tolist() == [1000.0, 1020.0, 640.0, 480.0 - 128.0]
    matrix = torch.tensor([[500.0, 0.0, 320.0], [0.0, 510.0, 240.0], [0.0, 0.0, 1.0]])
    assert torch.equal(first_picture(noisy(640, 480), matrix)[1], k)


@pytest.mark.parametrize("size", [(640, 480), (1920, 1080), (300, 900), (1281, 705), (7, 5)])
def test_it_is_diffusers_own_cut(size: tuple[int, int]) -> None:
    module = pytest.importorskip(
        "diffusers.pipelines.sana_wm.cam_utils", reason="needs diffusers 0.42.1 (extra sana_wm)"
    )
    picture = noisy(*size)
    cropped, source, resized, offset = module.resize_and_center_crop(picture, 64, 96)
    pixels, k = first_picture(picture, K, height=64, width=96)
    assert np.array_equal(pixels[0].numpy(), np.asarray(cropped))
    expected = module.transform_intrinsics_for_crop(K.numpy(), source, resized, offset)
    torch.testing.assert_close(k, torch.from_numpy(expected))


def test_grey_and_transparent_pictures_become_rgb() -> None:
    for mode in ("L", "RGBA", "P"):
        pixels, _ = first_picture(noisy(96, 64).convert(mode), K, height=64, width=96)
        assert pixels.shape == (1, 64, 96, 3)


def test_bad_intrinsics_are_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        first_picture(noisy(96, 64), -K)
