"""Captions for published weights: from Gemma once, on any machine, then from a small file on the robot.

Dimension letters: L tokens, E channels of the text encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sana_wm_ros.world_model.checkpoint import BadCheckpoint

CAPTION_TOKENS = 300
EMBEDDING, MASK, PROMPT = "embedding", "mask", "prompt"


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What a text encoder made of a prompt: (1, L, E) and which tokens count, (1, L) of bool."""

    embedding_1LE: Tensor
    mask_1L: Tensor

    def __post_init__(self) -> None:
        shape, mask = tuple(self.embedding_1LE.shape), tuple(self.mask_1L.shape)
        if len(shape) != 3 or shape[0] != 1 or mask != shape[:2] or 0 in shape:
            raise ValueError(
                f"a caption of shape {shape} with a mask of {mask}; expected (1, L, E) and (1, L)"
            )
        if self.mask_1L.dtype != torch.bool or not self.mask_1L.any():
            raise ValueError("a caption's mask must be of bool and let some token through")
        if not self.embedding_1LE.is_floating_point() or not self.embedding_1LE.isfinite().all():
            raise ValueError("a caption's embedding must be of finite floating-point numbers")


def save_caption(path: Path | str, caption: Caption, prompt: str = "") -> None:
    """Write the tokens that count, in float16, to a safetensors file of well under 2 MB."""
    kept = caption.embedding_1LE[:, caption.mask_1L[0]].to("cpu", torch.float16).contiguous()
    if not kept.isfinite().all():
        raise ValueError("the caption's embedding does not fit into float16")
    save_file({EMBEDDING: kept}, Path(path), metadata={PROMPT: prompt})


def load_caption(path: Path | str, text_width: int) -> Caption:
    """A caption from a file: ``embedding`` (L, E) or (1, L, E), and ``mask`` where not all tokens count."""
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise BadCheckpoint(
            f"{path}: no readable caption file ({error}); make it with sana_wm prompt"
        ) from error
    if EMBEDDING not in held or not set(held) <= {EMBEDDING, MASK}:
        raise BadCheckpoint(f"{path}: holds {sorted(held)}; expected '{EMBEDDING}' and, if need be, '{MASK}'")
    embedding = held[EMBEDDING] if held[EMBEDDING].ndim == 3 else held[EMBEDDING][None]
    if embedding.ndim != 3 or embedding.shape[-1] != text_width:
        raise BadCheckpoint(
            f"{path}: embedding of shape {tuple(held[EMBEDDING].shape)}; expected (tokens, {text_width})"
        )
    mask = held.get(MASK, torch.ones(embedding.shape[:2], dtype=torch.bool)) != 0
    try:
        return Caption(embedding_1LE=embedding.float(), mask_1L=mask if mask.ndim == 2 else mask[None])
    except ValueError as error:
        raise BadCheckpoint(f"{path}: {error}") from error


def instruction_of(config: Path | str) -> str:
    """The lines that published prompts begin with, from a checkpoint's config.yaml, byte for byte."""
    config = Path(config)
    try:
        lines = yaml.safe_load(config.read_text(encoding="utf-8"))["text_encoder"]["chi_prompt"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise BadCheckpoint(f"{config}: no text_encoder.chi_prompt in it ({error!r})") from error
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise BadCheckpoint(
            f"{config}: text_encoder.chi_prompt is {type(lines).__name__}; expected lines of text"
        )
    return "\n".join(lines)


@torch.no_grad()
def encode_caption(
    prompt: str, encoder: Path | str, instruction: str = "", *, tokens: int = CAPTION_TOKENS,
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.bfloat16,
) -> Caption:  # fmt: skip
    """A prompt through Gemma-2 (a folder with model and tokenizer), as published prompts were encoded.

    The instruction goes before it; kept are the first token and the last ``tokens`` - 1. An empty prompt takes no
    instruction: that is the published negative prompt, and says nothing about the scene.
    """
    encoder = Path(encoder)
    tokenizer, network = _gemma(encoder, dtype)
    instruction = instruction if prompt else ""
    length = tokens if not instruction else len(tokenizer.encode(instruction)) + tokens - 2
    inputs = tokenizer(
        [instruction + prompt], max_length=length, padding="max_length", padding_side="right", truncation=True,
        return_tensors="pt",
    ).to(device)  # fmt: skip
    hidden = network.to(device)(
        input_ids=inputs.input_ids, attention_mask=inputs.attention_mask
    ).last_hidden_state
    rows = [0, *range(length - tokens + 1, length)]
    return Caption(embedding_1LE=hidden[:, rows].float(), mask_1L=inputs.attention_mask[:, rows].bool())


def _gemma(folder: Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Tokenizer and network of a folder, from disk only."""
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(2, "no text encoder (a folder with config.json)", str(folder))
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise ImportError(
            "encoding prompts needs transformers: pip install 'sana_wm_ros[sana_wm]'; "
            "a robot needs only the caption file that it makes"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        network = AutoModel.from_pretrained(
            str(folder), dtype=dtype, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise BadCheckpoint(f"{folder}: not a whole text encoder ({error})") from error
    return tokenizer, network.eval()
