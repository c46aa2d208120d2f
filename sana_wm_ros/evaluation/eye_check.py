"""What the model's autoencoder makes of a recording's pictures, where there are no poses to imagine with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from sana_wm_ros.evaluation.bag_facts import BagFacts
from sana_wm_ros.evaluation.bags import Bag
from sana_wm_ros.evaluation.metrics import Pictures, psnr_db
from sana_wm_ros.evaluation.pictures import rgb_picture
from sana_wm_ros.geometry.camera import cover_crop
from sana_wm_ros.world_model.framing import cropped
from sana_wm_ros.world_model.protocol import Intrinsics, WorldModel

_EVERY = 25


@torch.inference_mode()
def autoencoder_alone(model: WorldModel, bag: Bag, facts: BagFacts) -> tuple[float, int] | None:
    """Mean PSNR in dB of single pictures encoded and decoded, and of how many; None without pictures."""
    spec = model.spec
    focal = spec.image_width / 2
    intrinsics = Intrinsics(fx=focal, fy=focal, cx=(spec.image_width - 1) / 2, cy=(spec.image_height - 1) / 2)
    found = []
    for picture in _pictures(bag, facts):
        height, width = picture.shape[:2]
        size = spec.image_width, spec.image_height
        frame = cropped(picture, cover_crop(width, height, *size), *size)
        context = model.start(intrinsics).extend(torch.from_numpy(frame[None]), torch.eye(4)[None])
        assert context.last_latent_CHW is not None
        decoded = model.decode(context.last_latent_CHW[None]).cpu().numpy()[-1:]
        found.append(float(psnr_db(frame[None], decoded)[0]))
    return (float(np.mean(found)), len(found)) if found else None


def _pictures(bag: Bag, facts: BagFacts) -> Iterator[Pictures]:
    """Every 25th picture that can be read."""
    topic = facts.topics.get("image")
    if topic is None:
        return
    for index, (_, msgtype, _, message) in enumerate(bag.messages({topic.name})):
        if index % _EVERY == 0:
            try:
                yield rgb_picture(message, msgtype)
            except ValueError:
                continue
