"""LPIPS of pictures: how different two of them look, where PSNR lets blur pass.

Nothing is ever downloaded. Shift-tolerant LPIPS has its weights in the package stlpips-pytorch (extra ``eval``);
the older LPIPS takes torchvision's AlexNet from a file that the caller names.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sana_wm_ros.evaluation.metrics import Floats, Pictures

_FULL_SIZE = 64  # pixels that AlexNet needs in either direction
_AT_ONCE = 8  # pictures; its first layer keeps every pixel


class Lpips:
    """Learned perceptual distance of frames in [0, 255]; ``name`` is the metric's in tables."""

    def __init__(self, name: str, network: nn.Module) -> None:
        self.name = name
        self._network = network.eval().requires_grad_(False)

    def __call__(self, seen_THWC: Pictures, guess_THWC: Pictures) -> Floats:
        """Distance of each frame, (T,); 0 for equal pictures. Small pictures are enlarged to 64 pixels."""
        found = [
            self._measured(_planes(seen_THWC[at : at + _AT_ONCE]), _planes(guess_THWC[at : at + _AT_ONCE]))
            for at in range(0, len(seen_THWC), _AT_ONCE)
        ]
        return np.concatenate(found) if found else np.empty(0)

    def distance(self, seen_TCHW: Tensor, guess_TCHW: Tensor) -> Tensor:
        """The same of pictures in [-1, 1], with gradients, as a loss."""
        least = min(seen_TCHW.shape[-2:])
        if least < _FULL_SIZE:
            scale = _FULL_SIZE / least
            seen_TCHW, guess_TCHW = (
                functional.interpolate(one, scale_factor=scale) for one in (seen_TCHW, guess_TCHW)
            )
        self._network.to(seen_TCHW.device)
        return self._network(seen_TCHW, guess_TCHW).flatten()

    @torch.inference_mode()
    def _measured(self, *pair_TCHW: Tensor) -> Floats:
        return np.asarray(self.distance(*pair_TCHW).double().numpy())


def shift_tolerant_lpips() -> Lpips | None:
    """Ghildyal and Liu, "Shift-tolerant Perceptual Similarity Metric", ECCV 2022, AlexNet.

    None where the package with its weights isn't installed; ValueError where they are not what they should be.
    """
    package = find_spec("stlpips_pytorch")
    if package is None or not package.submodule_search_locations:
        return None
    # Only its file is read: its code wants an interactive shell and torchvision.
    file = Path(package.submodule_search_locations[0], "weights", "vST0.0", "alex_shift_tolerant.pth")
    network = _ShiftTolerant()
    try:
        network.load_state_dict(_renamed(torch.load(file, weights_only=True, map_location="cpu")))
    except Exception as error:  # half a dozen types for a file that is not what it should be
        raise ValueError(
            f"{file}: not the weights of shift-tolerant LPIPS ({type(error).__name__}: {error}); install "
            "stlpips-pytorch 0.0.2 again"
        ) from error
    return Lpips("ST-LPIPS", network)


def alexnet_lpips(weights: Path) -> Lpips:
    """Zhang et al., "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018.

    weights: torchvision's ``alexnet-owt-7be5be79.pth``; it is read without unpickling objects. Raises
    ValueError naming what is missing.
    """
    for package in ("torchmetrics", "torchvision"):
        if find_spec(package) is None:
            raise ValueError(f"LPIPS needs {package}: pip install {package}")
    from torchmetrics.functional.image.lpips import _LPIPS  # public only with its own download

    try:
        state = torch.load(weights, weights_only=True, map_location="cpu")
        features = {name: value for name, value in state.items() if name.startswith("features.")}
        network: Any = _LPIPS(pretrained=True, net="alex", pnet_rand=True, eval_mode=True)
        _fill(network.net, features)
    except Exception as error:
        raise ValueError(
            f"{weights}: not AlexNet's weights as torchvision stores them ({type(error).__name__}: {error}); "
            "expected alexnet-owt-7be5be79.pth"
        ) from error
    return Lpips("LPIPS", network)


class _Blur(nn.Module):
    """Every second pixel of a picture smoothed by [1 2 1] in both directions, with two mirrored pixels around it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        row = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("filter_C1HW", (row[:, None] * row).expand(channels, 1, 3, 3).clone())

    def forward(self, x_TCHW: Tensor) -> Tensor:
        padded = functional.pad(x_TCHW, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(padded, self.get_buffer("filter_C1HW"), stride=2, groups=x_TCHW.shape[1])


class _ShiftTolerant(nn.Module):
    """AlexNet that blurs wherever it drops pixels; five layers' unit features are compared, weighted, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(1, 3, 1, 1))
        self.register_buffer("scale", torch.ones(1, 3, 1, 1))
        widths = (64, 192, 384, 256, 256)
        pool = [nn.MaxPool2d(3, 1)]
        stages = (
            (nn.Conv2d(3, 64, 11, padding=2), _Blur(64), nn.ReLU()),
            (*pool, _Blur(64), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU()),
            (*pool, _Blur(192), nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            (nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            (nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()),
        )
        self.stages = nn.ModuleList(nn.Sequential(*layers) for layers in stages)
        self.weighing = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in widths)

    def forward(self, seen_TCHW: Tensor, guess_TCHW: Tensor) -> Tensor:
        both = (torch.cat([seen_TCHW, guess_TCHW]) - self.get_buffer("shift")) / self.get_buffer("scale")
        total = seen_TCHW.new_zeros(len(seen_TCHW))
        for stage, weigh in zip(self.stages, self.weighing, strict=True):
            both = stage(both)
            unit = both / (both.square().sum(1, keepdim=True).sqrt() + 1e-10)
            seen, guess = unit.chunk(2)
            total = total + weigh((seen - guess).square()).mean((1, 2, 3))
        return total


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published names (``net.slice2.5.weight``: stage, running number of the layer) as ours."""
    first = {"1": 0, "2": 3, "3": 7, "4": 11, "5": 13}  # the running number that each stage begins with
    renamed = {}
    for name, value in state.items():
        kind, _, rest = name.partition(".")
        if kind == "scaling_layer":
            renamed[rest] = value
        elif kind == "net":
            stage, layer, what = rest.removeprefix("slice").split(".")
            what = {"filt": "filter_C1HW"}.get(what, what)
            renamed[f"stages.{int(stage) - 1}.{int(layer) - first[stage]}.{what}"] = value
        else:
            renamed[f"weighing.{kind.removeprefix('lin')}.weight"] = value
    return renamed


def _fill(backbone: nn.Module, features: dict[str, Tensor]) -> None:
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


def _planes(frames_THWC: Pictures) -> Tensor:
    return torch.from_numpy(frames_THWC.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1.0
