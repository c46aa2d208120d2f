"""LPIPS of pictures, by torchmetrics and torchvision, which the extra ``eval`` brings.

Nothing is ever downloaded: the backbone's weights are read from a file that the caller names.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sana_wm_ros.evaluation.metrics import Floats, Pictures

_FULL_SIZE = 64  # pixels that AlexNet needs in either direction


class Lpips:
    """Learned perceptual distance (Zhang et al., CVPR 2018), AlexNet, of frames in [0, 255].

    weights: torchvision's ``alexnet-owt-7be5be79.pth``; it is read without unpickling objects. Raises
    ValueError naming what is missing.
    """

    def __init__(self, weights: Path) -> None:
        for package in ("torchmetrics", "torchvision"):
            if find_spec(package) is None:
                raise ValueError(f"LPIPS needs {package}: pip install {package}")
        from torchmetrics.functional.image.lpips import _LPIPS  # public only with its own download

        try:
            state = torch.load(weights, weights_only=True, map_location="cpu")
            features = {name: value for name, value in state.items() if name.startswith("features.")}
            self._network: Any = _LPIPS(pretrained=True, net="alex", pnet_rand=True, eval_mode=True)
            _fill(self._network.net, features)
        except Exception as error:  # half a dozen types for a file that is not what it should be
            raise ValueError(
                f"{weights}: not AlexNet's weights as torchvision stores them ({type(error).__name__}: {error}); "
                "expected alexnet-owt-7be5be79.pth"
            ) from error

    def __call__(self, seen_THWC: Pictures, guess_THWC: Pictures) -> Floats:
        """Distance of each frame, (T,); 0 for equal pictures. Small pictures are enlarged to 64 pixels."""
        pair = [_planes(frames) / 127.5 - 1.0 for frames in (seen_THWC, guess_THWC)]
        least = min(pair[0].shape[-2:])
        if least < _FULL_SIZE:
            pair = [torch.nn.functional.interpolate(p, scale_factor=_FULL_SIZE / least) for p in pair]
        with torch.inference_mode():
            return np.asarray(self._network(*pair).flatten().double().numpy())


def _fill(backbone: torch.nn.Module, features: dict[str, torch.Tensor]) -> None:
    """Give torchmetrics' sliced AlexNet torchvision's weights; layers keep their numbers in both."""
    own = backbone.state_dict()
    taken = {}
    for name, value in own.items():
        _, _, rest = name.partition(".")  # "slice1.0.weight" is torchvision's "features.0.weight"
        source = features[f"features.{rest}"]
        if source.shape != value.shape:
            raise ValueError(f"features.{rest} is {tuple(source.shape)}, expected {tuple(value.shape)}")
        taken[name] = source
    backbone.load_state_dict(taken)


def _planes(frames_THWC: Pictures) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(frames_THWC)).permute(0, 3, 1, 2).float()
