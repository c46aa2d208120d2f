"""A picture of any size as published clips begin: resized to cover, cropped about its centre, intrinsics with it."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from sana_wm_ros.world_model.published.conditions import as_intrinsics


def first_picture(
    picture: Image.Image, intrinsics: Tensor, *, height: int = 704, width: int = 1280
) -> tuple[Tensor, Tensor]:
    """The first frame (1, height, width, 3) in uint8 RGB, and its intrinsics (4,) in pixels of that frame.

    The picture keeps its aspect: both sides are made to cover the frame (Lanczos), then what is too much is cut off
    evenly. intrinsics: (4,) or (3, 3), in pixels of the picture. Raises ``ValueError`` for a picture without area.
    """
    if min(picture.size) < 1:
        raise ValueError(f"the picture is {picture.size[0]} x {picture.size[1]} pixels")
    across, down = picture.size
    scale = max(height / down, width / across)
    covering = max(width, round(across * scale)), max(height, round(down * scale))
    left, top = (covering[0] - width) // 2, (covering[1] - height) // 2
    resized = picture.convert("RGB").resize(covering, Image.Resampling.LANCZOS)
    cropped = resized.crop((left, top, left + width, top + height))
    pixels = torch.frombuffer(bytearray(cropped.tobytes()), dtype=torch.uint8).view(1, height, width, 3)
    fx, fy, cx, cy = as_intrinsics(intrinsics, 1)[0].tolist()
    wider, higher = covering[0] / across, covering[1] / down
    return pixels, torch.tensor([fx * wider, fy * higher, cx * wider - left, cy * higher - top])
