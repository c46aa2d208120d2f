"""Models on disk: a folder with config.yaml, weights (``weight_files``) and MODEL_CARD.md, read strictly.

Nothing is ever unpickled. A file that is not exactly what its configuration describes is refused with
one error that names every difference.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from torch import Tensor

from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.heads import Heads, HeadsConfig
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.precision import use_precision
from sana_wm_ros.world_model.protocol import WorldModel
from sana_wm_ros.world_model.published.places import is_published
from sana_wm_ros.world_model.transformer import SanaTransformer
from sana_wm_ros.world_model.weight_files import (
    MOST_BYTES,
    WEIGHTS_FILE,
    BadWeights,
    listed,
    read_weights,
    write_weights,
)

CONFIG_FILE, CARD_FILE = "config.yaml", "MODEL_CARD.md"
FORMAT_VERSION = 1
_PARTS: dict[str, type[Any]] = {
    "transformer": TransformerConfig, "heads": HeadsConfig, "autoencoder": AutoencoderConfig
}  # fmt: skip
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
C = TypeVar("C")


class BadCheckpoint(ValueError):
    """A model folder that cannot be trusted; the message says which file, what is wrong, what to do."""


def save_model(
    folder: Path, model: NavigationModel, card: str | None = None, dtype: torch.dtype = torch.float32,
    most_bytes: int = MOST_BYTES,
) -> None:  # fmt: skip
    """Write a model folder. ``dtype`` is how weights are stored; they are loaded as float32 either way.

    Each file is written beside its place and moved there, so a reader never sees half of it; weights of more than
    ``most_bytes`` become several files. Without a ``card`` an existing MODEL_CARD.md stays.
    """
    if dtype not in _DTYPES:
        raise ValueError(f"dtype is {dtype}; expected one of {', '.join(map(str, _DTYPES))}")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: value.detach().cpu().to(dtype).contiguous() for name, value in model.state_dict().items()
    }
    bad = [name for name, value in tensors.items() if not value.isfinite().all()]
    if bad:
        raise BadCheckpoint(f"not saved: values that are not finite (as {dtype}) in {listed(bad)}")
    configs: dict[str, Any] = {
        "transformer": model.transformer.config,
        "heads": model.heads.config,
        "autoencoder": model.autoencoder.config,
    }
    described: dict[str, Any] = {"format": FORMAT_VERSION, "frame_rate_hz": model.spec.frame_rate_hz}
    described |= {name: _plain(dataclasses.asdict(config)) for name, config in configs.items()}
    texts = {CONFIG_FILE: yaml.safe_dump(described, sort_keys=False)}
    if card is not None:
        texts[CARD_FILE] = card
    write_weights(folder, tensors, most_bytes)
    for name, text in texts.items():
        beside = folder / f".{name}.tmp"
        beside.write_text(text, encoding="utf-8")
        beside.replace(folder / name)


def load_model(
    folder: Path | str, device: torch.device | str = "cpu", precision: str = "auto"
) -> NavigationModel:
    """Read a model folder onto a device, ready to imagine (``NavigationModel.ready_on``). Raises ``BadCheckpoint``."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BadCheckpoint(f"{folder}: no such folder; expected one with {CONFIG_FILE} and {WEIGHTS_FILE}")
    described = _read_config(folder / CONFIG_FILE)
    try:
        model = NavigationModel(
            SanaTransformer(described["transformer"]),
            Heads(described["heads"], described["transformer"].width, described["transformer"].tokens),
            Autoencoder(described["autoencoder"]),
            described["frame_rate_hz"],
        )
    except ValueError as error:
        raise BadCheckpoint(f"{folder / CONFIG_FILE}: {error}") from error
    try:
        tensors = read_weights(folder)
    except BadWeights as error:
        raise BadCheckpoint(str(error)) from error
    _fill(model, tensors, folder)
    return model.requires_grad_(False).ready_on(device, precision)


def open_model(folder: Path | str, device: torch.device | str = "cpu", precision: str = "auto") -> WorldModel:
    """Any model on disk: a folder of ours, or a published repository (see models/README.md).

    precision: what its blocks multiply in (``precision.use_precision``).
    """
    if is_published(Path(folder)):
        from sana_wm_ros.world_model.published.folder import open_published

        published = open_published(folder, device)
        use_precision(published.transformer, precision)
        return published
    return load_model(folder, device, precision)


def _read_config(path: Path) -> dict[str, Any]:
    """The checked configuration, its parts as dataclasses."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadCheckpoint(f"{path}: cannot be read ({error})") from error
    wanted = {"format", "frame_rate_hz", *_PARTS}
    if not isinstance(values, dict) or set(values) != wanted:
        found = sorted(map(str, values)) if isinstance(values, dict) else type(values).__name__
        raise BadCheckpoint(f"{path}: has {found}; expected exactly {sorted(wanted)}")
    if values["format"] != FORMAT_VERSION:
        raise BadCheckpoint(f"{path}: format is {values['format']!r}; this version reads {FORMAT_VERSION}")
    rate = values["frame_rate_hz"]
    if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0.1 <= rate <= 1000:
        raise BadCheckpoint(f"{path}: frame_rate_hz is {rate!r}; expected 0.1 to 1000")
    parts = {name: _read_part(path, name, kind, values[name]) for name, kind in _PARTS.items()}
    return {"frame_rate_hz": float(rate), **parts}


def _read_part(path: Path, name: str, kind: type[C], values: object) -> C:
    """One dataclass from its mapping; missing settings are refused too, because defaults change.

    Only settings that older folders cannot have may be missing: their defaults say what those were trained with.
    """
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    known = [field.name for field in fields]
    needed = {field.name for field in fields if not field.metadata.get("later")}
    if not isinstance(values, dict):
        raise BadCheckpoint(f"{path}: {name} is {values!r}; expected settings {', '.join(known)}")
    unknown, missing = sorted(set(map(str, values)) - set(known)), sorted(needed - set(values))
    if unknown or missing:
        raise BadCheckpoint(
            f"{path}: {name} has unknown settings {unknown}, lacks {missing}; "
            f"expected exactly {', '.join(known)}"
        )
    try:
        return kind(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
    except (ValueError, TypeError) as error:
        raise BadCheckpoint(f"{path}: {name}: {error}") from error


def _fill(model: NavigationModel, tensors: dict[str, Tensor], folder: Path) -> None:
    """Copy tensors into the model, or say everything that does not fit."""
    own = model.state_dict()
    wrong = [f"missing {name} {tuple(own[name].shape)}" for name in own if name not in tensors]
    for name, value in tensors.items():
        if name not in own:
            wrong.append(f"extra {name} {tuple(value.shape)}")
        elif value.shape != own[name].shape:
            wrong.append(f"misshapen {name} {tuple(value.shape)}, expected {tuple(own[name].shape)}")
        elif value.dtype not in _DTYPES:
            wrong.append(f"{name} holds {value.dtype}, expected float32, float16 or bfloat16")
        elif not value.isfinite().all():
            wrong.append(f"{name} holds values that are not finite")
    if wrong:
        raise BadCheckpoint(
            f"{folder}: {len(wrong)} tensors do not fit {CONFIG_FILE}:\n  " + "\n  ".join(wrong)
        )
    model.load_state_dict(tensors)


def _plain(value: Any) -> Any:
    """Tuples as lists: YAML has no other."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
