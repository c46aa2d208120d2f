"""Where published repositories keep what; knows paths only, so that asking costs nothing."""

from __future__ import annotations

from pathlib import Path

# Folders of the transformer and of the video autoencoder.
TRANSFORMERS = ("dit", "sana_dit", "transformer")
AUTOENCODERS = ("vae", "ltx2_causal_vae")
# Files that a user puts beside them: the caption, and how to plan.
CAPTION_FILE, SETTINGS_FILE = "caption.safetensors", "planning.yaml"
PICKLES = (".pt", ".pth", ".bin", ".ckpt")


def is_published(path: Path) -> bool:
    """Whether a path is a file of weights, or a folder laid out like a published repository."""
    if path.is_file():
        return path.suffix in (".safetensors", *PICKLES) or path.name.endswith(".index.json")
    return any((path / place).is_dir() for place in TRANSFORMERS)
