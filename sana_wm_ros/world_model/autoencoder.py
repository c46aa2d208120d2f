"""A small causal video autoencoder: each group of four raw frames becomes one latent frame by itself.

Time is folded into channels before the first convolution and groups never see each other, so encoding is
causal, has no state and costs the same for a stream as for a file. A linear path (started at the data's
principal components) carries what a linear code can carry; the convolutions learn the rest.

Dimension letters: B groups, R raw frames of a group, F latent frames, T raw frames, C latent channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 16  # pixels per latent token and side: two halvings after the stem's patches of four
_STEM = 4


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Size of the autoencoder; images are ``image_height`` x ``image_width`` pixels, multiples of 16."""

    image_height: int = 64
    image_width: int = 96
    frames_per_latent: int = 4
    latent_channels: int = 32
    widths: tuple[int, int, int] = (64, 128, 160)
    encoder_depths: tuple[int, int, int] = (1, 1, 2)
    decoder_depths: tuple[int, int, int] = (2, 2, 2)

    def __post_init__(self) -> None:
        for name in ("image_height", "image_width"):
            value = getattr(self, name)
            if value <= 0 or value % PATCH:
                raise ValueError(f"{name} = {value}: expected a positive multiple of {PATCH}")
        if self.frames_per_latent < 1 or self.latent_channels < 1:
            raise ValueError("frames_per_latent and latent_channels must be at least 1")
        for name in ("widths", "encoder_depths", "decoder_depths"):
            values = tuple(getattr(self, name))
            if len(values) != 3 or min(values) < 1:
                raise ValueError(f"{name} = {values}: expected three positive whole numbers")
            object.__setattr__(self, name, values)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of one latent frame."""
        return self.latent_channels, self.image_height // PATCH, self.image_width // PATCH


class _Residual(nn.Module):
    """x + conv(silu(x)); it begins as the identity, which makes depth harmless on the first day."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(F.silu(x))


class _Up(nn.Module):
    """Twice the rows and columns, by a 1x1 convolution and a pixel shuffle."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, 4 * width_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x), 2).contiguous(memory_format=torch.channels_last)


class Autoencoder(nn.Module):
    """Raw RGB frames to normalised latents and back."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: AutoencoderConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AutoencoderConfig()
        pixels = 3 * config.frames_per_latent
        a, b, c = config.widths
        z = config.latent_channels

        def stage(width: int, depth: int) -> list[nn.Module]:
            return [_Residual(width) for _ in range(depth)]

        self.encoder = nn.Sequential(
            nn.Conv2d(pixels * _STEM**2, a, 1),
            *stage(a, config.encoder_depths[0]),
            nn.Conv2d(a, b, 2, stride=2),
            *stage(b, config.encoder_depths[1]),
            nn.Conv2d(b, c, 2, stride=2),
            *stage(c, config.encoder_depths[2]),
            nn.Conv2d(c, z, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(z, c, 1),
            *stage(c, config.decoder_depths[2]),
            _Up(c, b),
            *stage(b, config.decoder_depths[1]),
            _Up(b, a),
            *stage(a, config.decoder_depths[0]),
            nn.Conv2d(a, pixels * _STEM**2, 1),
        )
        patches = PATCH // _STEM  # the linear path sees a token's stem patches at once
        self.linear_down = nn.Conv2d(pixels * _STEM**2, z, patches, stride=patches)
        self.linear_up = nn.Conv2d(z, pixels * _STEM**2 * patches**2, 1)
        for last in (self.encoder[-1], self.decoder[-1]):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        self.register_buffer("latent_mean", torch.zeros(z))
        self.register_buffer("latent_std", torch.ones(z))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    # ---- groups: the form training uses ----------

    def encode_groups(self, groups_BRHWC: Tensor) -> Tensor:
        """uint8 groups (B, R, H, W, 3) to raw latents (B, C, h, w), differentiable in the weights."""
        x = self.patches(groups_BRHWC)
        return self.linear_down(x) + self.encoder(x)

    def decode_groups(self, latents_BCHW: Tensor) -> Tensor:
        """Raw latents (B, C, h, w) to pixels in about [-1, 1], shape (B, R, H, W, 3)."""
        z = latents_BCHW.contiguous(memory_format=torch.channels_last)
        linear = F.pixel_shuffle(self.linear_up(z), PATCH // _STEM)
        return self._unpatch(linear + self.decoder(z))

    def patches(self, groups_BRHWC: Tensor) -> Tensor:
        """uint8 groups to [-1, 1], time and 4x4 patches folded into channels: (B, R * 48, H / 4, W / 4)."""
        config = self.config
        expected = (config.frames_per_latent, config.image_height, config.image_width, 3)
        if groups_BRHWC.ndim != 5 or tuple(groups_BRHWC.shape[1:]) != expected:
            raise ValueError(f"frames of shape {tuple(groups_BRHWC.shape)}: expected (groups, {expected})")
        if groups_BRHWC.dtype != torch.uint8:
            raise TypeError(f"frames of type {groups_BRHWC.dtype}: expected uint8 RGB")
        split = groups_BRHWC.unflatten(3, (-1, _STEM)).unflatten(2, (-1, _STEM))  # (B, R, h, 4, w, 4, 3)
        folded = split.permute(0, 2, 4, 1, 3, 5, 6).flatten(3)  # as bytes: a quarter of the traffic
        return folded.to(self.latent_mean.dtype).mul_(1 / 127.5).sub_(1.0).permute(0, 3, 1, 2)

    def _unpatch(self, patches_BPHW: Tensor) -> Tensor:
        """The inverse of ``patches``, still in [-1, 1]: (B, R, H, W, 3)."""
        split = patches_BPHW.permute(0, 2, 3, 1).unflatten(
            3, (self.config.frames_per_latent, _STEM, _STEM, 3)
        )
        return split.permute(0, 3, 1, 4, 2, 5, 6).flatten(4, 5).flatten(2, 3)

    # ---- normalised latents: the form everybody else uses ----------

    def normalise(self, latents_BCHW: Tensor) -> Tensor:
        """Raw latents to zero mean and unit variance per channel."""
        return (latents_BCHW - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def unnormalise(self, latents_BCHW: Tensor) -> Tensor:
        """The inverse of ``normalise``."""
        return latents_BCHW * self.latent_std[:, None, None] + self.latent_mean[:, None, None]

    @torch.no_grad()
    def encode(self, frames_THWC: Tensor, *, first: bool) -> Tensor:
        """Encode a stretch of a stream: uint8 (T, H, W, 3) to normalised latents (F, C, h, w).

        With ``first`` the stretch begins with the single first frame of the stream (T = 1 + k * R, F = 1 +
        k); without, T = k * R and F = k. Raises ``ValueError`` when T is neither.
        """
        per_group = self.config.frames_per_latent
        if frames_THWC.ndim != 4 or (len(frames_THWC) - int(first)) % per_group or not len(frames_THWC):
            form = f"1 + k * {per_group}" if first else f"k * {per_group}"
            raise ValueError(
                f"frames of shape {tuple(frames_THWC.shape)}: expected (T, H, W, 3) with T = {form}"
            )
        groups = group_frames(frames_THWC, per_group, first=first)
        return self.normalise(self.encode_groups(groups)).contiguous()

    @torch.no_grad()
    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Normalised latents (F, C, h, w) to pictures, uint8 (F * R, H, W, 3)."""
        if latents_FCHW.ndim != 4 or tuple(latents_FCHW.shape[1:]) != self.config.latent_shape:
            raise ValueError(
                f"latents of shape {tuple(latents_FCHW.shape)}: expected (F, {self.config.latent_shape})"
            )
        pixels = self.decode_groups(self.unnormalise(latents_FCHW.to(self.latent_mean.dtype)))
        pictures = ((pixels + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
        return pictures.flatten(0, 1)

    # ---- set-up from data ----------

    @torch.no_grad()
    def start_from_principal_components(self, groups_BRHWC: Tensor, *, seed: int = 0) -> None:
        """Set the linear path to the best linear code of these groups: their patches' principal components."""
        x = self.patches(groups_BRHWC)
        patches = PATCH // _STEM
        rows_NP = F.unfold(x, patches, stride=patches).transpose(1, 2).flatten(0, 1)
        needed = self.config.latent_channels
        if len(rows_NP) < 2 * needed:
            raise ValueError(f"{len(rows_NP)} patches are too few for {needed} components; give more groups")
        mean_P = rows_NP.mean(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # pca_lowrank draws from the global generator and takes no other
            _, _, basis_PC = torch.pca_lowrank(rows_NP - mean_P, q=needed, center=False, niter=4)
        scale = rows_NP.shape[1] ** 0.5 / 4  # brings the first components near unit size
        self.linear_down.weight.copy_((basis_PC.T / scale).unflatten(1, (-1, patches, patches)))
        self.linear_down.bias.copy_(-(mean_P @ basis_PC) / scale)  # type: ignore[union-attr]
        # unfold and pixel shuffle order (channel, row, column) alike, so the same rows serve both ways
        self.linear_up.weight.copy_((basis_PC * scale)[:, :, None, None])
        self.linear_up.bias.copy_(mean_P)  # type: ignore[union-attr]
        self.measure_statistics(groups_BRHWC)

    @torch.no_grad()
    def measure_statistics(self, groups_BRHWC: Tensor) -> None:
        """Set the normaliser to the mean and standard deviation that these groups have in latent space."""
        latents = self.encode_groups(groups_BRHWC)
        self.latent_mean.copy_(latents.mean(dim=(0, 2, 3)))
        self.latent_std.copy_(latents.std(dim=(0, 2, 3)).clamp_min(1e-3))


def group_frames(frames_THWC: Tensor, per_group: int, *, first: bool) -> Tensor:
    """(T, H, W, 3) to (F, R, H, W, 3); with ``first`` the leading frame is repeated to a whole group."""
    if first:
        frames_THWC = torch.cat([frames_THWC[:1].expand(per_group - 1, -1, -1, -1), frames_THWC])
    return frames_THWC.unflatten(0, (-1, per_group))
