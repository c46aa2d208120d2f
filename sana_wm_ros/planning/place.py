"""The place embedding of a single picture: what the model says of standing still where it was taken."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sana_wm_ros.geometry.camera import cover_crop
from sana_wm_ros.world_model.framing import cropped
from sana_wm_ros.world_model.protocol import Intrinsics, WorldModel


@torch.inference_mode()
def embedded(model: WorldModel, picture_HWC: NDArray[np.uint8], intrinsics: Intrinsics) -> Tensor:
    """The embedding (E,) of an RGB picture of any size, as if the camera with these intrinsics had taken it.

    Raises ``ValueError`` for what is no picture.
    """
    if picture_HWC.ndim != 3 or picture_HWC.shape[2] != 3 or min(picture_HWC.shape[:2]) < 8:
        shape = picture_HWC.shape
        raise ValueError(f"a goal image has shape {shape}; expected (height, width, 3), 8 pixels or more")
    height, width = picture_HWC.shape[:2]
    out = (model.spec.image_width, model.spec.image_height)
    frame = cropped(picture_HWC, cover_crop(width, height, *out), *out)
    stay_44 = torch.eye(4)
    context = model.start(intrinsics).extend(torch.from_numpy(frame)[None], stay_44[None])
    noise = torch.Generator().manual_seed(0)
    _, rollout = context.fork(1).imagine(stay_44[None, None], generator=noise)
    return rollout.place_NFE[0, 0].float().cpu()
