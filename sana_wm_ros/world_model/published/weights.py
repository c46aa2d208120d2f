"""Reading published SANA-WM files: recognised by content, compared strictly, never unpickled freely."""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sana_wm_ros.world_model.checkpoint import BadCheckpoint
from sana_wm_ros.world_model.config import (
    SANA_WM,
    SANA_WM_CHUNK_CAUSAL,
    SANA_WM_STREAMING,
    TransformerConfig,
)
from sana_wm_ros.world_model.published.layouts import (
    IGNORED,
    TRAINER,
    Layout,
    Shape,
    differences,
    ignored_shapes,
    layout_of,
    transformer_shapes,
)
from sana_wm_ros.world_model.published.places import AUTOENCODERS, CAPTION_FILE, PICKLES, TRANSFORMERS
from sana_wm_ros.world_model.transformer import SanaTransformer

# The key of a trainer's file under which the weights lie.
GENERATOR = "generator"
FORMS = {"bidirectional": SANA_WM, "chunk_causal": SANA_WM_CHUNK_CAUSAL, "streaming": SANA_WM_STREAMING}
_FLOATS = {"F64", "F32", "F16", "BF16"}
_DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """A file of weights, looked into but not loaded. ``kinds``: number format per tensor; ``read`` gets one tensor."""

    path: Path
    layout: Layout
    shapes: dict[str, Shape]
    kinds: dict[str, str]
    read: Callable[[str], Tensor]

    @property
    def parameters(self) -> int:
        """Numbers in the file."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    def likely_form(self) -> str:
        """What the file was trained as, from its name and layout; the tensors are the same for all."""
        name = str(self.path).lower()
        if "chunk_causal" in name:
            return "chunk_causal"
        return "streaming" if self.layout is TRAINER or "streaming" in name else "bidirectional"


def open_weights(path: Path | str) -> WeightsFile:
    """Look into a ``.safetensors`` file, an index of several, a folder with one of these, or a trainer's ``.pt``.

    Raises ``BadCheckpoint`` where it is none of them, is cut short, or is a pickle of anything but tensors.
    """
    path = Path(path)
    if path.is_dir():
        path = _in_folder(path)
    if not path.is_file():
        raise BadCheckpoint(f"{path}: no such file; expected .safetensors, .safetensors.index.json or .pt")
    if path.name.endswith(".index.json"):
        return _open_parts(path, _parts_of(path))
    if path.suffix == ".safetensors":
        return _open_parts(path, [path])
    if path.suffix in PICKLES:
        return _open_pickle(path)
    raise BadCheckpoint(
        f"{path}: not a file of weights; expected .safetensors, .safetensors.index.json or .pt"
    )


def load_transformer(
    path: Path | str, config: TransformerConfig | None = None, *, device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.bfloat16,
) -> SanaTransformer:  # fmt: skip
    """The transformer of a published file, ready to run. Reads one tensor at a time.

    config: what it must be (None: the published size, in the form that the file's name or layout tells).
    dtype: what its weights become; published pipelines run in bfloat16.
    Raises ``BadCheckpoint`` naming every missing, extra or misshapen tensor.
    """
    file = open_weights(path)
    config = FORMS[file.likely_form()] if config is None else config
    wrong = differences(file.layout, file.shapes, config)
    wrong += [f"{name} holds {kind}, expected one of {', '.join(sorted(_FLOATS))}" for name, kind in
              file.kinds.items() if kind not in _FLOATS]  # fmt: skip
    if not wrong:
        tensors = {}
        for name in transformer_shapes(config):
            theirs = file.layout.theirs(name)
            value = file.read(theirs)
            if not value.isfinite().all():
                wrong.append(f"{theirs} holds values that are not finite")
            tensors[name] = value.to(device, dtype)
    if wrong:
        raise BadCheckpoint(
            f"{file.path}: {len(wrong)} tensors are not those of SANA-WM ({file.layout.what}):\n  "
            + "\n  ".join(wrong)
        )
    with torch.device("meta"):
        model = SanaTransformer(config)
    model.load_state_dict(tensors, assign=True)
    return model.eval().requires_grad_(False)


def describe(path: Path | str) -> dict[str, str]:
    """What a file of weights is, for people; loads nothing."""
    file = open_weights(path)
    form = file.likely_form()
    facts = {
        "file": f"{file.path.stat().st_size / 1e6:.1f} MB, {', '.join(sorted(set(file.kinds.values())))}",
        "layout": f"{file.layout.name}: {file.layout.what}",
        "form": f"{form} (from its name and layout; the tensors of all forms are alike)",
        "tensors": f"{len(file.shapes)}, {file.parameters / 1e6:.2f} M numbers",
    }
    unread = ignored_shapes(SANA_WM).keys() & set(map(file.layout.published, file.shapes))
    if unread:
        counts = [(sum(map(ignored.matches, unread)), ignored.reason) for ignored in IGNORED]
        facts["not read"] = "; ".join(f"{count}: {reason}" for count, reason in counts if count)
    wrong = differences(file.layout, file.shapes, FORMS[form])
    facts["fits the published size"] = "yes" if not wrong else f"no: {len(wrong)} tensors differ"
    facts |= {f"  difference {i + 1}": line for i, line in enumerate(wrong[:5])}
    folder = Path(path)
    if folder.is_dir():
        videos = [name for name in AUTOENCODERS if (folder / name).is_dir()]
        facts["video autoencoder"] = ", ".join(videos) or f"none: expected {' or '.join(AUTOENCODERS)}"
        there = (folder / CAPTION_FILE).is_file()
        facts["caption"] = CAPTION_FILE if there else f"none: make {CAPTION_FILE} with sana_wm prompt"
    return facts


def _in_folder(folder: Path) -> Path:
    """The one file of transformer weights where published repositories have it, or else in the folder itself."""
    places = [folder / name for name in TRANSFORMERS if (folder / name).is_dir()] or [folder]
    found = [
        path
        for place in places
        for pattern in ("*.safetensors.index.json", "*.safetensors", "*.pt")
        for path in sorted(place.glob(pattern))
    ]
    indices = [path for path in found if path.name.endswith(".index.json")]
    found = indices or found
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise BadCheckpoint(
            f"{folder}: expected one file of transformer weights, found {names}; name the file"
        )
    return found[0]


def _parts_of(index: Path) -> list[Path]:
    """The files that an index names, all beside it."""
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BadCheckpoint(f"{index}: not an index of safetensors files ({error!r})") from error
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise BadCheckpoint(f"{index}: names {sorted(map(str, names))}; expected files beside it")
    return [index.parent / name for name in sorted(names)]


def _open_parts(path: Path, parts: list[Path]) -> WeightsFile:
    shapes: dict[str, Shape] = {}
    kinds: dict[str, str] = {}
    where: dict[str, Path] = {}
    for part in parts:
        try:
            with safe_open(part, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a dict)
                    tensor = file.get_slice(name)
                    shapes[name], kinds[name] = tuple(tensor.get_shape()), str(tensor.get_dtype())
                    where[name] = part
        except (SafetensorError, OSError, RuntimeError, ValueError) as error:
            raise BadCheckpoint(f"{part}: truncated or not safetensors ({error}); fetch it again") from error

    def read(name: str) -> Tensor:
        with safe_open(where[name], framework="pt") as file:
            return file.get_tensor(name)

    return WeightsFile(path=path, layout=_layout(path, shapes), shapes=shapes, kinds=kinds, read=read)


def _open_pickle(path: Path) -> WeightsFile:
    """A trainer's file. Only tensors, numbers and containers are unpickled; anything else raises."""
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, OSError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadCheckpoint(
            f"{path}: not a file of tensors alone, or cut short ({first}); not opened"
        ) from error
    if not isinstance(held, dict) or not isinstance(held.get(GENERATOR), dict):
        keys = sorted(map(str, held)) if isinstance(held, dict) else type(held).__name__
        raise BadCheckpoint(f"{path}: holds {keys}; expected the weights under the key {GENERATOR!r}")
    tensors = held[GENERATOR]
    strange = [str(name) for name, value in tensors.items() if not isinstance(value, Tensor)]
    if strange:
        raise BadCheckpoint(f"{path}: {GENERATOR} holds more than tensors: {', '.join(strange[:5])}")
    shapes = {str(name): tuple(value.shape) for name, value in tensors.items()}
    kinds = {str(name): _DTYPES.get(value.dtype, str(value.dtype)) for name, value in tensors.items()}
    return WeightsFile(
        path=path, layout=_layout(path, shapes), shapes=shapes, kinds=kinds, read=tensors.__getitem__
    )


def _layout(path: Path, shapes: dict[str, Shape]) -> Layout:
    layout = layout_of(shapes)
    if layout is None:
        raise BadCheckpoint(
            f"{path}: its {len(shapes)} tensors ({', '.join(sorted(shapes)[:3])}, ...) are in none of the layouts "
            "of SANA-WM's transformer"
        )
    return layout
