"""``sana_wm prompt``: encode a caption for the published weights once, so that a robot needs no text encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def prompt(
    text: Annotated[str, typer.Argument(help="What the scene is; an empty text says nothing about it.")],
    encoder: Annotated[Path, typer.Option(help="folder of gemma-2-2b-it: model and tokenizer")],
    out: Annotated[Path, typer.Option(help="file to write, beside the weights")] = Path(
        "caption.safetensors"
    ),
    config: Annotated[
        Path | None, typer.Option(help="config.yaml of the weights, whose instruction goes before the text")
    ] = None,
    device: Annotated[str, typer.Option(help="where the encoder runs: cpu or cuda")] = "cpu",
) -> None:
    """Encode a caption for the published weights into a small file."""
    from sana_wm_ros.world_model.published.caption import encode_caption, instruction_of, save_caption

    if text and config is None:
        raise ValueError("a text needs --config: published prompts begin with the instruction in config.yaml")
    instruction = instruction_of(config) if config is not None else ""
    caption = encode_caption(text, encoder, instruction, device=device)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_caption(out, caption, text)
    typer.echo(f"{out}: {int(caption.mask_1L.sum())} tokens, {out.stat().st_size / 1e6:.2f} MB")
