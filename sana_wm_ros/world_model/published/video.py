"""The LTX-2 video autoencoder behind published latents: pictures to latents and back, a stretch at a time.

diffusers holds the networks. They are causal in time, so a stretch needs only the last inputs of each temporal
convolution of the stretch before: they are kept outside the network, and streaming gives what one pass gives.
Dimension letters: T raw frames, R of them per latent frame, F latent frames, C channels, H and W rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sana_wm_ros.world_model.checkpoint import BadCheckpoint

# Frames that a temporal convolution of three taps looks back.
BACK = 2
# Raw frames encoded, latent frames decoded at once: what bounds the memory.
ENCODE_FRAMES, DECODE_FRAMES = 16, 4
# As published: tiles in time for decoders that look ahead (pictures per tile, and from one tile to the next).
TILE_FRAMES, TILE_STRIDE = 96, 64


@dataclass(frozen=True, kw_only=True)
class StreamState:
    """The last inputs of every temporal layer by its name; never written to. Empty before the first frame."""

    tails: dict[str, Tensor]

    @property
    def bytes(self) -> int:
        """Bytes that it takes."""
        return sum(tail.numel() * tail.element_size() for tail in self.tails.values())


EMPTY = StreamState(tails={})


class LTXVideo:
    """An ``AutoencoderKLLTX2Video`` as planning and samplers see one, for pictures of one size."""

    def __init__(self, network: Any, image_height: int, image_width: int) -> None:
        """network: the autoencoder of diffusers; heights and widths are multiples of its spatial stride."""
        self.network = network.eval().requires_grad_(False)
        self.frames_per_latent, stride = strides(network)
        for name, value in (("image_height", image_height), ("image_width", image_width)):
            if value < stride or value % stride:
                raise ValueError(f"{name} is {value}; expected a positive multiple of {stride}")
        if not network.config.encoder_causal:
            raise ValueError("the autoencoder's encoder looks ahead; a stream needs encoder_causal")
        self.image_height, self.image_width = image_height, image_width
        self.latent_shape = (
            int(network.config.latent_channels), image_height // stride, image_width // stride
        )  # fmt: skip

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.network.latents_mean.device

    @torch.no_grad()
    def encode(self, frames_THWC: Tensor, state: StreamState = EMPTY) -> tuple[Tensor, StreamState]:
        """uint8 RGB frames to normalised latents (F, C, H, W), and the state for the frames that follow.

        A stream begins with its single first frame: T = 1 + k R with an empty state, T = k R later.
        """
        first, R = not state.tails, self.frames_per_latent
        wanted = (self.image_height, self.image_width, 3)
        T = len(frames_THWC) if frames_THWC.ndim == 4 else 0
        if tuple(frames_THWC.shape[1:]) != wanted or T == 0 or (T - first) % R:
            form = f"1 + k * {R}" if first else f"k * {R}"
            raise ValueError(
                f"frames of shape {tuple(frames_THWC.shape)}; expected (T, {wanted}) with T = {form}"
            )
        if frames_THWC.dtype != torch.uint8:
            raise TypeError(f"frames are {frames_THWC.dtype}; expected torch.uint8")
        latents, start = [], 0
        while start < T:
            stop = min(T, start + (1 if not state.tails else 0) + max(R, ENCODE_FRAMES // R * R))
            x = frames_THWC[start:stop].to(self.device, self.network.dtype).div(127.5).sub(1.0)
            with streaming(self.network.encoder, state) as after:
                moments = self.network.encoder(x.permute(3, 0, 1, 2)[None])
            # The mode of the posterior: the first half of the channels.
            latents.append(self._normalised(moments[:, : self.latent_shape[0]]))
            state, start = after(), stop
        return torch.cat(latents), state

    @torch.no_grad()
    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Normalised latents from anywhere in a clip to pictures, uint8 (F * R, H, W, 3).

        The decoder makes one picture of the first latent frame that it sees; so that any latent frame gives R,
        the first one is shown to it twice, and what came before is taken to be a still of it.
        """
        return torch.cat(list(self.decoded(torch.cat([latents_FCHW[:1], latents_FCHW]))))[1:]

    @torch.no_grad()
    def decoded(self, latents_FCHW: Tensor) -> Iterator[Tensor]:
        """A clip's latents to its 1 + (F - 1) R pictures, a few latent frames at a time."""
        if latents_FCHW.ndim != 4 or tuple(latents_FCHW.shape[1:]) != self.latent_shape:
            raise ValueError(
                f"latents of shape {tuple(latents_FCHW.shape)}; expected (F, {self.latent_shape})"
            )
        z = self._raw(latents_FCHW)
        if not self.network.config.decoder_causal:
            yield self._pictures(self.network.decode(z).sample)
            return
        state = EMPTY
        for part in z.split(DECODE_FRAMES, 2):
            with streaming(self.network.decoder, state) as after:
                sample = self.network.decoder(part)
            state = after()
            yield self._pictures(sample)

    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = (s.float()[:, None, None] for s in (self.network.latents_mean, self.network.latents_std))
        return mean, std / float(self.network.config.scaling_factor)

    def _normalised(self, z_1CFHW: Tensor) -> Tensor:
        mean, std = self._statistics()
        return (z_1CFHW[0].transpose(0, 1).float() - mean) / std

    def _raw(self, latents_FCHW: Tensor) -> Tensor:
        mean, std = self._statistics()
        z = latents_FCHW.to(self.device).float() * std + mean
        return z.transpose(0, 1)[None].to(self.network.dtype)

    def _pictures(self, sample_1CTHW: Tensor) -> Tensor:
        pixels = (sample_1CTHW[0].float() + 1.0) * 127.5
        return pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 3, 0)


def strides(network: Any) -> tuple[int, int]:
    """Pictures per latent frame, and pixels per latent pixel and side, as the encoder's layers make them.

    The network's own word for them is wrong where its configuration does not give it.
    """
    time, space = int(network.config.patch_size_t), int(network.config.patch_size)
    for layer in network.encoder.modules():
        if _halves(layer):
            time, space = time * layer.stride[0], space * layer.stride[1]
    network.temporal_compression_ratio, network.spatial_compression_ratio = time, space
    return time, space


def load_video(
    folder: Path | str, image_height: int = 704, image_width: int = 1280, *,
    device: torch.device | str = "cpu", dtype: torch.dtype = torch.bfloat16,
) -> LTXVideo:  # fmt: skip
    """The video autoencoder of a published repository (its folder ``vae`` or ``ltx2_causal_vae``).

    Both kinds have the same layers and names; the second one's decoder looks only back.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise BadCheckpoint(f"{folder}: no config.json; expected the folder of an LTX-2 video autoencoder")
    try:
        from diffusers.models.autoencoders.autoencoder_kl_ltx2 import AutoencoderKLLTX2Video
    except ImportError as error:
        raise ImportError(
            "the video autoencoder of SANA-WM needs diffusers 0.42.1 or later (Python 3.11 or later): "
            "pip install 'sana_wm_ros[sana_wm]'"
        ) from error
    try:
        network, loading = AutoencoderKLLTX2Video.from_pretrained(
            str(folder),
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise BadCheckpoint(f"{folder}: not a whole LTX-2 video autoencoder ({error})") from error
    wrong = [f"{kind[:-5]} {name}" for kind in ("missing_keys", "unexpected_keys") for name in loading[kind]]
    if wrong:
        raise BadCheckpoint(f"{folder}: {len(wrong)} tensors do not fit:\n  " + "\n  ".join(sorted(wrong)))
    network.enable_tiling(
        tile_sample_min_height=image_height, tile_sample_min_width=image_width,
        tile_sample_min_num_frames=TILE_FRAMES, tile_sample_stride_num_frames=TILE_STRIDE,
    )  # fmt: skip
    network.use_framewise_encoding = network.use_framewise_decoding = True
    return LTXVideo(network.to(device), image_height, image_width)


@contextmanager
def streaming(network: nn.Module, state: StreamState) -> Iterator[Callable[[], StreamState]]:
    """While open, a pass of a causal network goes on where ``state`` ended; yields what gives the next state.

    Every temporal layer gets its last two inputs of before put in front, and what it makes of these is cut off.
    Layers that change the frame rate treat the very first frame apart; with inputs in front they never see it.
    """
    tails: dict[str, Tensor] = {}
    handles = []
    for name, layer, kept in _temporal_layers(network):
        handles.append(layer.register_forward_pre_hook(_before(name, state, tails)))
        handles.append(layer.register_forward_hook(_after(name, state, kept)))
    try:
        yield lambda: StreamState(tails=dict(tails))
    finally:
        for handle in handles:
            handle.remove()


def _temporal_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module, float]]:
    """Layers that look back in time, the outermost ones: name, layer, output frames per input frame."""
    inside: tuple[str, ...] = ()
    for name, layer in network.named_modules():
        kind = type(layer).__name__
        if name.startswith(inside):
            continue
        if kind == "LTX2VideoDownsampler3d" and layer.stride[0] == 2:
            inside, rate = (*inside, f"{name}."), 0.5
        elif kind == "LTX2VideoUpsampler3d" and layer.stride[0] == 2:
            inside, rate = (*inside, f"{name}."), 2.0
        elif kind == "LTX2VideoCausalConv3d" and layer.kernel_size[0] == BACK + 1:
            rate = 1.0
        else:
            continue
        yield name, layer, rate


def _before(name: str, state: StreamState, tails: dict[str, Tensor]) -> Callable[[Any, Any], Any]:
    """Puts the tail in front of a layer's input, and keeps the new one."""

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x = inputs[0]
        tail = state.tails.get(name)
        # Before the first frame all was as it is in it.
        seen = torch.cat([x[:, :, :1].expand(-1, -1, BACK, -1, -1) if tail is None else tail, x], 2)
        tails[name] = seen[:, :, -BACK:].clone()
        if tail is None:
            return inputs
        # A halving layer repeats the frame in front: three frames and this one make two pairs.
        front = tail if not _halves(layer) else torch.cat([tail[:, :, :1], tail], 2)
        return (torch.cat([front, x], 2), *inputs[1:])

    return hook


def _after(name: str, state: StreamState, rate: float) -> Callable[[Any, Any, Tensor], Tensor | None]:
    """Cuts off what a layer made of the tail."""

    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if name not in state.tails:
            return None
        front = BACK + (1 if _halves(layer) else 0)
        frames = int((inputs[0].shape[2] - front) * rate)
        return output[:, :, -frames:]

    return hook


def _halves(layer: nn.Module) -> bool:
    return type(layer).__name__ == "LTX2VideoDownsampler3d"
