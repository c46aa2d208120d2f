"""The tensors of published SANA-WM files by their own names: what there must be, and what of it nothing reads.

All three variants (bidirectional, chunk-causal, streaming) share 872 names and shapes; the files differ in how
they wrap and rename them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import torch

from sana_wm_ros.world_model.config import TransformerConfig
from sana_wm_ros.world_model.transformer import SanaTransformer

Shape = tuple[int, ...]

# The published files have this many positions in a table that nothing reads; any number is accepted.
ANY = -1
CAPTION_TOKENS = 300


@dataclass(frozen=True, kw_only=True)
class Ignored:
    """Tensors of the files that this transformer has no use for, and why."""

    names: str
    reason: str

    def matches(self, name: str) -> bool:
        """Whether ``names``, a regular expression, is the whole name."""
        return re.fullmatch(self.names, name) is not None


IGNORED = (
    Ignored(names=r"pos_embed", reason="a table of positions; rotary embedding took its place"),
    Ignored(names=r"y_embedder\.y_embedding", reason="stands for a dropped caption in training"),
    Ignored(
        names=r"raymap_embedder\.proj\.(weight|bias)",
        reason="embeds a map of up and latitude; the Plücker rays took its place",
    ),
    Ignored(names=r"blocks\.\d+\.attn\.recall_gate", reason="a buffer that no formula reads"),
    Ignored(
        names=r"blocks\.\d+\.attn\.((beta|gate)_proj\.(weight|bias)|A_log|dt_bias)",
        reason="gates of the delta rule, which softmax blocks do not have",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a kind of file names the tensors.

    renamed: pairs (published prefix, prefix in this file). absent: names that it leaves out. told_by: a name that
    only this layout has.
    """

    name: str
    what: str
    told_by: str
    renamed: tuple[tuple[str, str], ...] = ()
    absent: tuple[str, ...] = ()

    def published(self, name: str) -> str:
        """The published name of a tensor that this file calls ``name``."""
        for own, theirs in self.renamed:
            if name.startswith(theirs):
                return own + name[len(theirs) :]
        return name

    def theirs(self, name: str) -> str:
        """What this file calls a tensor of a published name."""
        for own, theirs in self.renamed:
            if name.startswith(own):
                return theirs + name[len(own) :]
        return name


NVIDIA = Layout(name="nvidia", what="one file with NVIDIA's own names", told_by="t_embedder.mlp.0.weight")
DIFFUSERS = Layout(
    name="diffusers",
    what="repackaged for diffusers",
    told_by="t_embedder.linear_1.weight",
    renamed=(("t_embedder.mlp.0.", "t_embedder.linear_1."), ("t_embedder.mlp.2.", "t_embedder.linear_2.")),
    absent=("pos_embed", "y_embedder.y_embedding"),
)
TRAINER = Layout(
    name="trainer",
    what="a trainer's file: the generator's weights under the prefix model.",
    told_by="model.t_embedder.mlp.0.weight",
    renamed=(("", "model."),),
)
LAYOUTS = (NVIDIA, DIFFUSERS, TRAINER)


def layout_of(names: Iterable[str]) -> Layout | None:
    """Which layout a file's names follow, or None if it is no SANA-WM transformer."""
    known = set(names)
    return next((layout for layout in LAYOUTS if layout.told_by in known), None)


def transformer_shapes(config: TransformerConfig) -> dict[str, Shape]:
    """Names and shapes of this transformer's own tensors, without making any of them."""
    with torch.device("meta"):
        return {name: tuple(value.shape) for name, value in SanaTransformer(config).state_dict().items()}


def ignored_shapes(config: TransformerConfig) -> dict[str, Shape]:
    """Names and shapes of what else a file of a transformer of this size holds (see ``IGNORED``)."""
    width, heads = config.width, config.heads
    shapes: dict[str, Shape] = {
        "pos_embed": (1, ANY, width),
        "y_embedder.y_embedding": (CAPTION_TOKENS, config.text_width),
        "raymap_embedder.proj.weight": (width, 3, 1, 1, 1),
        "raymap_embedder.proj.bias": (width,),
    }
    for block in range(config.depth):
        attn = f"blocks.{block}.attn."
        shapes[f"{attn}recall_gate"] = (1,)
        if config.is_softmax(block):
            for gate in ("beta_proj", "gate_proj"):
                shapes[f"{attn}{gate}.weight"], shapes[f"{attn}{gate}.bias"] = (heads, width), (heads,)
            shapes[f"{attn}A_log"] = shapes[f"{attn}dt_bias"] = (heads,)
    return shapes


def differences(layout: Layout, found: dict[str, Shape], config: TransformerConfig) -> list[str]:
    """Everything in which a file is not the transformer of ``config``, one line per tensor in the file's own names."""
    wanted = transformer_shapes(config)
    unread = {name: shape for name, shape in ignored_shapes(config).items() if name not in layout.absent}
    every = {layout.theirs(name): shape for name, shape in (wanted | unread).items()}
    lines = [f"missing {name} {_readable(shape)}" for name, shape in every.items() if name not in found]
    for name, shape in found.items():
        if name not in every:
            lines.append(f"extra {name} {shape}")
        elif len(shape) != len(every[name]) or any(
            want not in (ANY, have) for have, want in zip(shape, every[name], strict=True)
        ):
            lines.append(f"misshapen {name} {shape}, expected {_readable(every[name])}")
    return lines


def _readable(shape: Shape) -> str:
    return (
        "(" + ", ".join("any" if n == ANY else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
    )
