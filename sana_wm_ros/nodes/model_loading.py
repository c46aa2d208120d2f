"""From the words of parameters to a loaded, warmed world model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from sana_wm_ros.nodes.settings import ModelSettings
from sana_wm_ros.resources import share_path
from sana_wm_ros.world_model.protocol import Intrinsics, WorldModel

LoadModel = Callable[[ModelSettings], WorldModel]


def load(settings: ModelSettings) -> WorldModel:
    """The model that the settings name, on the device that they name.

    Raises ``FileNotFoundError`` or ``ValueError`` with what is wrong and what to do.
    """
    from sana_wm_ros.world_model.checkpoint import open_model

    if settings.threads:
        torch.set_num_threads(settings.threads)
    folder = model_folder(settings.path)
    return open_model(folder, device=device(settings.device), precision=settings.precision)


def model_folder(name: str) -> Path:
    """A folder as given, or the shipped model of that name; ``FileNotFoundError`` says where was looked."""
    given = Path(name).expanduser()
    if given.is_dir():
        return given
    try:
        return share_path("models", name)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"model.path = {name!r}: there is no such folder ({given.absolute()}), and no shipped model of that "
            f"name ({error})"
        ) from error


def device(name: str) -> str:
    """The torch device for "auto", "cpu" or "cuda"; ``ValueError`` when there is no usable GPU."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("model.device = cuda, but torch sees no usable GPU here; set it to cpu or auto")
    return name


@torch.inference_mode()
def warm(model: WorldModel, candidates: int) -> None:
    """Run every part once, so that the first plan is not the one that pays for set-up.

    A model that cannot do this fails here, where somebody configures it, and not on the road.
    """
    spec = model.spec
    spec.require("collision", "clearance", "uncertainty")
    frames = 1 + 2 * spec.frames_per_latent
    pictures = torch.zeros(frames, spec.image_height, spec.image_width, 3, dtype=torch.uint8)
    poses_T44 = torch.eye(4).repeat(frames, 1, 1)
    focal = spec.image_width / 2
    intrinsics = Intrinsics(fx=focal, fy=focal, cx=(spec.image_width - 1) / 2, cy=(spec.image_height - 1) / 2)
    context = model.start(intrinsics).extend(pictures, poses_T44)
    poses_NF44 = torch.eye(4).expand(candidates, 4, 4, 4)
    _, rollout = context.fork(candidates).imagine(poses_NF44, generator=torch.Generator().manual_seed(0))
    shape = tuple(rollout.latents_NFCHW.shape)
    if (
        shape != (candidates, 4, *spec.latent_shape)
        or not np.isfinite(rollout.collision_NF.cpu().numpy()).all()
    ):
        raise ValueError(
            f"the model is not usable: imagining gave latents {shape} or values that are not finite"
        )
