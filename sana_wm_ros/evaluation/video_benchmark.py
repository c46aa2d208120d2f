"""A minute of video by a transformer of the published size, weights drawn at random: they cost what real ones cost.

Streaming form: chunk after chunk, four denoising passes and one that writes the state; no text encoder, no pictures
decoded. diffusers' class, which has no streaming form, does as many passes over the whole clip at once.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from sana_wm_ros.evaluation.timing import peak_gib, timed, usable_device
from sana_wm_ros.world_model.config import SANA_WM_STREAMING, TransformerConfig
from sana_wm_ros.world_model.published.conditions import CameraConditions, camera_conditions
from sana_wm_ros.world_model.published.sampling import FEW_STEPS, Prompted, stream_clip
from sana_wm_ros.world_model.transformer import SanaTransformer

FRAME_RATE_HZ, STRIDE = 16.0, 32  # of the published model: raw frames per second, pixels per latent


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """The clip, and how much of the published transformer: the defaults are all of it, 60 s at 704 x 1280.

    depth and width may be smaller for a dry run; heads stay 112 wide.
    """

    latent_frames: int = 121
    height: int = 704
    width: int = 1280
    depth: int = SANA_WM_STREAMING.depth
    heads: int = SANA_WM_STREAMING.heads
    text_tokens: int = 300
    runs: int = 2
    compare: bool = True
    device: str = "cuda"

    @property
    def config(self) -> TransformerConfig:
        """The streaming preset at this size."""
        return dataclasses.replace(
            SANA_WM_STREAMING, depth=self.depth, heads=self.heads, width=112 * self.heads,
            latent_height=self.height // STRIDE, latent_width=self.width // STRIDE,
        )  # fmt: skip

    @property
    def raw_frames(self) -> int:
        """Raw frames of the clip."""
        return 1 + (self.latent_frames - 1) * self.config.raw_per_latent


@torch.inference_mode()
def measure_video(
    settings: VideoSettings, progress: Callable[[str], None] = lambda what: None
) -> dict[str, Any]:
    """Seconds per clip, times real time (above 1 is faster than the clip plays), and peak memory, here and there."""
    device, config = usable_device(settings.device), settings.config
    kind = torch.bfloat16 if device.type == "cuda" else torch.float32
    clip_s = settings.raw_frames / FRAME_RATE_HZ
    progress("our streaming form")
    torch.manual_seed(0)
    with device:
        transformer = SanaTransformer(config).to(kind).eval()
        text = transformer.read(torch.randn(1, settings.text_tokens, config.text_width))
        camera = _camera(settings)
    prompted = Prompted(transformer=transformer, text=text)

    call = partial(_stream, prompted, camera)
    peak = peak_gib(call, device)
    taken = timed(call, device, settings.runs, warm_up=0 if device.type == "cuda" else 1)
    results: dict[str, Any] = {
        "clip_s": clip_s,
        "parameters": sum(p.numel() for p in transformer.parameters()),
        "steps": len(FEW_STEPS),
        "streaming": {**taken, "peak_gib": peak, "times_real_time": clip_s / taken["p50"]},
    }
    del transformer, prompted, text, call  # the next one needs the room
    if settings.compare:
        progress("diffusers")
        results["diffusers"] = _diffusers(settings, camera, device, kind, clip_s)
    return results


def _stream(prompted: Prompted, camera: CameraConditions) -> None:
    for chunk in stream_clip(prompted, camera, generator=torch.Generator().manual_seed(0)):
        if not bool(chunk.isfinite().all()):
            raise ValueError("latents that are not finite: their time means nothing")


def _camera(settings: VideoSettings) -> CameraConditions:
    """Straight ahead at 0.4 m/s."""
    poses = torch.eye(4, dtype=torch.float64).repeat(settings.raw_frames, 1, 1)
    poses[:, 2, 3] = 0.4 / FRAME_RATE_HZ * torch.arange(settings.raw_frames)
    intrinsics = torch.tensor(
        [settings.width / 2, settings.width / 2, settings.width / 2, settings.height / 2], dtype=torch.float64
    )
    latent = (settings.config.latent_height, settings.config.latent_width)
    return camera_conditions(
        poses, intrinsics, image=(settings.height, settings.width), latent=latent,
        raw_per_latent=settings.config.raw_per_latent,
    )  # fmt: skip


def _diffusers(
    settings: VideoSettings, camera: CameraConditions, device: torch.device, kind: torch.dtype, clip_s: float
) -> dict[str, Any]:
    """The same number of passes by diffusers' transformer over all frames at once; or why there is no figure."""
    if importlib.util.find_spec("diffusers") is None:
        return {"skipped": "diffusers is not installed: pip install 'sana_wm_ros[sana_wm]'"}
    from diffusers import SanaWMTransformer3DModel

    config = settings.config
    with device:
        model = SanaWMTransformer3DModel(
            in_channels=config.latent_channels, num_layers=config.depth, hidden_size=config.width,
            num_attention_heads=config.heads, linear_head_dim=config.head_width,
            caption_channels=config.text_width, chunk_plucker_channels=6 * config.raw_per_latent,
        ).to(kind).eval()  # fmt: skip
        x = torch.randn(
            1,
            config.latent_channels,
            settings.latent_frames,
            config.latent_height,
            config.latent_width,
            dtype=kind,
        )
        timestep = torch.full((1, 1, settings.latent_frames), 500.0)
        text = torch.randn(1, 1, settings.text_tokens, config.text_width, dtype=kind)
        mask = torch.ones(1, settings.text_tokens)

    def passes() -> None:
        for _ in FEW_STEPS:
            model(
                x, timestep, text, mask=mask, camera_conditions=camera.conditions_BF20.to(kind),
                chunk_plucker=camera.plucker_BPFHW.to(kind),
            )  # fmt: skip

    try:
        peak = peak_gib(passes, device)
        taken = timed(passes, device, settings.runs, warm_up=0 if device.type == "cuda" else 1)
    except torch.OutOfMemoryError as error:
        return {"skipped": f"out of memory: {str(error).splitlines()[0]}"}
    return {**taken, "peak_gib": peak, "times_real_time": clip_s / taken["p50"]}
