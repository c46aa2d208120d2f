"""What makes one preset differ from another: a frozen, checked description of the transformer.

Every preset is served by the same classes; a preset only chooses numbers and switches.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal


class BadConfig(ValueError):
    """A configuration value that no model can be built from; names the field and what it may be."""


def _later(default: Any) -> Any:
    """A setting that came after the first model folders: where one lacks it, it was trained with ``default``."""
    return field(default=default, metadata={"later": True})


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Size and switches of the transformer (SANA-WM, arXiv 2605.15178; numbers are per latent frame).

    width: hidden channels; heads * head_width must equal it.
    softmax_every: every n-th block attends exactly, the others carry a Gated DeltaNet state.
    window_frames, sink_frames: what exact attention sees before its own chunk, in latent frames.
    keyframes: seen frames that softmax blocks remember beside the window, kept for coverage of places
        (0: none, as published). keyframe_reads: how many of them a chunk looks up, those whose view
        overlaps its own most.
    keyframe_guide: the keyframes that show most of an imagined frame are also moved to its rays and enter
        with it.
    raw_per_latent: raw frames whose rays the Plücker input holds, 6 channels each.
    position_scale: model units per metre (the camera branch likes positions of about 1).
    translation: how the camera branch knows where a frame was seen from. homogeneous: in UCPE's 4 x 4
        matrices, as published; far from the anchor its numbers grow, and moving the anchor is exact only
        at first. rotary: as phases of positions, orthogonal, so that no place is special.
    reach_m: how far from its anchor a context may get before the anchor follows it.
    prediction: what the last layer says, the clean latent (x0) or the flow (noise - x0).
    bounded_keys: scale beta so that no memory transition has an eigenvalue outside [0, 1].
    denominator_floor: least normaliser of the linear attention (0: the published 1e-8 is added).
    truncate_timesteps: timesteps become whole numbers first, as the published weights were trained.
    default_steps: denoising steps where a caller names none. flow_shift: s in s t / (1 + (s - 1) t), which
        moves the noise levels of several steps towards pure noise.
    blank_pure_noise: frames at sigma 1 enter as zeros; pure noise tells nothing, and one-step presets
        need not learn to look past it.

    Public versions of SANA-WM disagree in some places, so these are switches:
    text_width: channels of the text encoder's embeddings (0: no text branch).
    renorm: after UCPE no camera query, key or value may be longer than before (diffusers: on; NVlabs: off).
    softmax_scale: 1 / sqrt(width) of softmax, where the width is the head's ("head"), the one it is padded to
        (32, 64, 128 or 256) in the camera branch only ("padded_camera"), or in both ("padded").
    softmax_bf16: queries, keys and values of softmax blocks are rounded to bfloat16, as published code does.
    causal_softmax: softmax blocks see no later chunk. Off, they see the whole clip, which must come at once.
    carried_camera_conv: the camera branch's short convolution sees the chunk before, like the main branch's.
    main_branch: attention without places beside the camera branch; off only to measure what it is worth.
    """

    width: int = 128
    depth: int = 8
    heads: int = 4
    head_width: int = 32
    mlp_ratio: float = 2.0
    latent_channels: int = 32
    latent_height: int = 4
    latent_width: int = 6
    softmax_every: int = 4
    window_frames: int = 16
    sink_frames: int = 1
    keyframes: int = _later(0)
    keyframe_reads: int = _later(4)
    conv_width: int = 4
    raw_per_latent: int = 4
    position_scale: float = 0.15
    translation: Literal["homogeneous", "rotary"] = _later("homogeneous")
    reach_m: float = _later(20.0)
    chunk_frames: int = 2
    max_chunk_frames: int = 3
    prediction: Literal["x0", "flow"] = "x0"
    bounded_keys: bool = True
    denominator_floor: float = 0.1
    truncate_timesteps: bool = False
    blank_pure_noise: bool = False
    timestep_width: int = 256
    default_steps: int = 1
    flow_shift: float = 1.0
    keyframe_guide: bool = _later(False)
    text_width: int = _later(0)
    renorm: bool = _later(False)
    softmax_scale: Literal["head", "padded_camera", "padded"] = _later("head")
    softmax_bf16: bool = _later(False)
    causal_softmax: bool = _later(True)
    carried_camera_conv: bool = _later(True)
    main_branch: bool = _later(True)

    def __post_init__(self) -> None:
        whole = {
            "width": (8, 8192), "depth": (1, 128), "heads": (1, 128), "head_width": (8, 256),
            "latent_channels": (1, 1024), "latent_height": (1, 256), "latent_width": (1, 256),
            "softmax_every": (1, 128), "window_frames": (1, 1024), "sink_frames": (0, 64),
            "keyframes": (0, 4096), "keyframe_reads": (1, 64),
            "conv_width": (1, 16), "raw_per_latent": (1, 64), "chunk_frames": (1, 1024),
            "max_chunk_frames": (1, 1024), "timestep_width": (2, 8192),
            "default_steps": (1, 1000), "text_width": (0, 65536),
        }  # fmt: skip
        for name, (low, high) in whole.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise BadConfig(f"{name} is {value!r}; expected a whole number from {low} to {high}")
        real = {
            "mlp_ratio": (0.5, 16.0), "position_scale": (1e-4, 1e4), "denominator_floor": (0.0, 10.0),
            "flow_shift": (0.01, 100.0), "reach_m": (0.1, 1e6),
        }  # fmt: skip
        for name, (low_real, high_real) in real.items():
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not low_real <= value <= high_real:
                raise BadConfig(f"{name} is {value!r}; expected a number from {low_real} to {high_real}")
        switches = (
            "bounded_keys", "truncate_timesteps", "blank_pure_noise", "renorm", "softmax_bf16",
            "causal_softmax", "carried_camera_conv", "keyframe_guide", "main_branch",
        )  # fmt: skip
        for name in switches:
            if not isinstance(getattr(self, name), bool):
                raise BadConfig(f"{name} is {getattr(self, name)!r}; expected true or false")
        if self.prediction not in ("x0", "flow"):
            raise BadConfig(f"prediction is {self.prediction!r}; expected x0 or flow")
        if self.translation not in ("homogeneous", "rotary"):
            raise BadConfig(f"translation is {self.translation!r}; expected homogeneous or rotary")
        if self.softmax_scale not in ("head", "padded_camera", "padded"):
            raise BadConfig(
                f"softmax_scale is {self.softmax_scale!r}; expected head, padded_camera or padded"
            )
        if self.heads * self.head_width != self.width:
            raise BadConfig(
                f"heads * head_width is {self.heads * self.head_width}; expected width {self.width}"
            )
        if self.head_width % 8:
            raise BadConfig(f"head_width is {self.head_width}; expected a multiple of 8 (4x4 camera groups)")
        if 0 < self.keyframes < self.keyframe_reads:
            raise BadConfig(f"keyframes is {self.keyframes}; expected 0 or at least keyframe_reads")
        if self.keyframe_guide and self.keyframes < 2:
            raise BadConfig(f"keyframe_guide is on and keyframes is {self.keyframes}; expected at least 2")
        if self.chunk_frames > self.max_chunk_frames:
            raise BadConfig(f"chunk_frames is {self.chunk_frames}; expected at most {self.max_chunk_frames}")

    @property
    def tokens(self) -> int:
        """Tokens per latent frame."""
        return self.latent_height * self.latent_width

    @property
    def mlp_width(self) -> int:
        """Width of the gated convolution."""
        return int(self.width * self.mlp_ratio)

    def is_softmax(self, block: int) -> bool:
        """Whether block ``block`` (from 0) attends exactly."""
        return (block + 1) % self.softmax_every == 0


# As small as it is because it was trained on one CPU core: 128 wide trained at half the speed.
NANO = TransformerConfig(width=96, depth=8, heads=4, head_width=24, blank_pure_noise=True)

# For one GPU: heads 64 wide fill its tensor cores, 48 tokens see twice as sharply as nano.
SMALL = TransformerConfig(
    width=384, depth=12, heads=6, head_width=64, latent_height=6, latent_width=8, blank_pure_noise=True
)

# NVIDIA's published 2.6 B weights; 704 x 1280 pixels. Bidirectional: the whole clip is one chunk.
SANA_WM = TransformerConfig(
    width=2240, depth=20, heads=20, head_width=112, mlp_ratio=3.0, latent_channels=128, latent_height=22,
    latent_width=40, window_frames=1024, sink_frames=0, raw_per_latent=8, position_scale=1.0,
    chunk_frames=1024, max_chunk_frames=1024, prediction="flow", bounded_keys=False, denominator_floor=0.0,
    truncate_timesteps=True, default_steps=60, flow_shift=9.8, text_width=2304,
    softmax_scale="padded_camera", causal_softmax=False, carried_camera_conv=False,
)  # fmt: skip

# The same weights' layout with chunks of 3 latent frames that see nothing later.
SANA_WM_CHUNK_CAUSAL = replace(SANA_WM, chunk_frames=3, causal_softmax=True)

# Distilled to 4 steps; softmax sees the first chunk (4 frames of a 60 s clip), the last one and its own.
SANA_WM_STREAMING = replace(
    SANA_WM, chunk_frames=3, window_frames=3, sink_frames=4, default_steps=4, flow_shift=8.0,
    softmax_scale="padded", causal_softmax=True,
)  # fmt: skip

PRESETS = {
    "nano": NANO,
    "small": SMALL,
    "sana_wm": SANA_WM,
    "sana_wm_chunk_causal": SANA_WM_CHUNK_CAUSAL,
    "sana_wm_streaming": SANA_WM_STREAMING,
}
