"""A published repository on disk, opened as a world model that can be planned with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
import yaml

from sana_wm_ros.world_model.checkpoint import BadCheckpoint
from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.published.caption import load_caption
from sana_wm_ros.world_model.published.places import AUTOENCODERS, CAPTION_FILE, SETTINGS_FILE
from sana_wm_ros.world_model.published.video import load_video
from sana_wm_ros.world_model.published.weights import FORMS, load_transformer, open_weights
from sana_wm_ros.world_model.published.world_model import PublishedModel

PIXELS_PER_LATENT = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanningSettings:
    """What ``planning.yaml`` beside the weights may say; pictures of other sizes than published are allowed.

    image_height, image_width: pixels, multiples of 32. form: what the weights were trained as (None: as their
    file's name tells).
    """

    image_height: int = 704
    image_width: int = 1280
    form: str | None = None

    def __post_init__(self) -> None:
        for name in ("image_height", "image_width"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 4096 or value % 32:
                raise ValueError(f"{name} is {value!r}; expected a multiple of 32 up to 4096")
        if self.form not in (None, *FORMS):
            raise ValueError(f"form is {self.form!r}; expected one of {', '.join(FORMS)}")


def open_published(
    folder: Path | str, device: torch.device | str = "cpu", *, config: TransformerConfig | None = None,
    dtype: torch.dtype = torch.bfloat16,
) -> PublishedModel:  # fmt: skip
    """A folder with a transformer, a video autoencoder and a caption file, ready to imagine.

    config: the transformer's size and switches (None: as published in the weights' form). Raises ``BadCheckpoint``
    that says which part is missing, and where it is to be had.
    """
    folder = Path(folder)
    settings = read_settings(folder / SETTINGS_FILE)
    form = settings.form or open_weights(folder).likely_form()
    if form == "bidirectional" and config is None:
        raise BadCheckpoint(
            f"{folder}: bidirectional weights sample whole clips, which nobody can plan with step by step; "
            "use SANA-WM_streaming (or SANA-WM_chunk_causal)"
        )
    caption_file = folder / CAPTION_FILE
    if not caption_file.is_file():
        raise BadCheckpoint(
            f"{folder}: no {CAPTION_FILE}; make one with: sana_wm prompt TEXT --encoder FOLDER"
        )
    videos = [folder / name for name in AUTOENCODERS if (folder / name).is_dir()]
    if not videos:
        raise BadCheckpoint(f"{folder}: no video autoencoder; expected a folder {' or '.join(AUTOENCODERS)}")
    if config is None:
        config = dataclasses.replace(
            FORMS[form],
            latent_height=settings.image_height // PIXELS_PER_LATENT,
            latent_width=settings.image_width // PIXELS_PER_LATENT,
        )
    caption = load_caption(caption_file, config.text_width)
    video = load_video(videos[-1], settings.image_height, settings.image_width, device=device, dtype=dtype)
    transformer = load_transformer(folder, config, device=device, dtype=dtype)
    return PublishedModel(transformer, video, transformer.read(caption.embedding_1LE, caption.mask_1L))


def read_settings(path: Path) -> PlanningSettings:
    """The settings of a file, or the published ones where there is no file."""
    if not path.is_file():
        return PlanningSettings()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        known = {field.name for field in dataclasses.fields(PlanningSettings)}
        if not isinstance(values, dict) or not set(values) <= known:
            raise ValueError(f"expected settings among {', '.join(sorted(known))}")
        return PlanningSettings(**values)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        raise BadCheckpoint(f"{path}: {error}") from error
