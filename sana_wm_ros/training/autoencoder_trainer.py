"""Trains the autoencoder: pixels, their gradients at two scales and how they look, with a little noise on latents."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sana_wm_ros.training.averaging import WeightAverage
from sana_wm_ros.training.episodes import BadEpisode
from sana_wm_ros.training.frames import GroupPool
from sana_wm_ros.training.guard import FiniteGuard
from sana_wm_ros.training.run_folder import RunFolder
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.world_model.autoencoder import Autoencoder, AutoencoderConfig
from sana_wm_ros.world_model.precision import why_no_bf16


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining:
    """Settings of a run.

    latent_noise: in standard deviations of each latent channel. perceptual_weight: of how different a group's last
    picture looks, which takes somebody who can tell. keep_scale: the latents' normalisation stays as it is, which a
    world model that was trained on them needs. precision: fp32, or bf16 by autocast; weights are fp32.
    """

    model: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    latent_noise: float = 0.05
    gradient_weight: float = 0.5
    perceptual_weight: float = 0.0
    precision: str = "fp32"
    average_decay: float = 0.998
    keep_scale: bool = False
    seed: int = 0
    slots: int = 96
    per_drive: int = 24
    steps_per_draw: int = 4
    log_every_s: float = 60.0
    save_every_s: float = 120.0


def reconstruction_loss(pictures_BRHWC: Tensor, target_BRHWC: Tensor, gradient_weight: float) -> Tensor:
    """Squared and absolute error of pixels, plus that of their gradients at full and half size.

    The gradients' share keeps edges (door frames, furniture legs) that a mean over pixels would give up
    first.
    """
    error = (pictures_BRHWC - target_BRHWC).flatten(0, 1).permute(0, 3, 1, 2)
    loss = 2.0 * error.square().mean() + 0.2 * error.abs().mean()
    for scale in (1, 2):
        if scale > 1:
            error = F.avg_pool2d(error, scale)
        slopes = (error[..., 1:, :] - error[..., :-1, :], error[..., 1:] - error[..., :-1])
        loss = loss + gradient_weight * sum(s.square().mean() + 0.1 * s.abs().mean() for s in slopes)
    return loss


class AutoencoderTrainer:
    """One training run; making it again on the same folder goes on where the last one saved.

    ``on_bad`` is told which drives are left out (``GroupPool``). ``perceptual``: how different pictures (T, 3, H, W)
    in [-1, 1] look from others, (T,), with gradients.
    """

    def __init__(
        self,
        training: AutoencoderTraining,
        schedule: Schedule,
        data: list[Path],
        out: Path,
        *,
        start_from: Autoencoder | None = None,
        device: torch.device | None = None,
        perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
        on_bad: Callable[[BadEpisode], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.training, self.schedule, self.clock = training, schedule, clock
        self.folder = RunFolder.open(out, {"stage": "autoencoder", **asdict(training)})
        torch.manual_seed(training.seed)
        self.device = torch.device("cpu") if device is None else device
        self.mixed = training.precision == "bf16"
        if self.mixed and (reason := why_no_bf16(self.device)):
            raise ValueError(f"precision bf16 is not possible: {reason}; use fp32")
        if training.perceptual_weight and perceptual is None:
            raise ValueError("perceptual_weight is above 0 and nobody can tell how pictures look")
        self.perceptual = perceptual
        self.model = Autoencoder(training.model).to(self.device)
        self.pool = GroupPool(
            data,
            per_group=training.model.frames_per_latent,
            slots=training.slots,
            per_drive=training.per_drive,
            steps_per_draw=training.steps_per_draw,
            seed=training.seed,
            on_bad=on_bad,
        )
        linear = list(self.model.linear_down.parameters())
        others = [p for name, p in self.model.named_parameters() if not name.startswith("linear_down")]
        self.optimiser = torch.optim.AdamW(
            # the linear code's weights are about a fortieth of the others', and so must its steps be
            [{"params": others, "factor": 1.0}, {"params": linear, "factor": 1 / 40}],
            lr=training.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=training.weight_decay,
        )
        self.guard = FiniteGuard()
        self.step, self.elapsed_s = 0, 0.0
        state = self.folder.load()
        if state is None and start_from is not None:
            self.model.load_state_dict(start_from.state_dict())
            self.average = WeightAverage(self.model, training.average_decay)
        elif state is None:
            self.model.start_from_principal_components(
                self.pool.batch(0, 512).to(self.device), seed=training.seed
            )
            self.average = WeightAverage(self.model, training.average_decay)
        else:
            self.average = WeightAverage(self.model, training.average_decay)
            assert state is not None
            self._restore(state)

    def run(self, on_step: Callable[[AutoencoderTrainer, dict[str, float]], None] | None = None) -> None:
        """Train to the end of the schedule, saving now and then and at the end."""
        logged = saved = last = self.clock()
        sums: dict[str, float] = {}
        count = 0
        while self.schedule.progress(self.step, self.elapsed_s) < 1.0:
            values = self.train_step()
            now = self.clock()
            self.elapsed_s, last = self.elapsed_s + now - last, now
            count += 1
            sums = {name: sums.get(name, 0.0) + value for name, value in values.items()}
            if on_step is not None:
                on_step(self, values)
            if now - logged >= self.training.log_every_s:
                means = {name: value / count for name, value in sums.items()}
                self.folder.log(self.step, means | {"minutes": self.elapsed_s / 60})
                logged, sums, count = now, {}, 0
            if now - saved >= self.training.save_every_s:
                self.save()
                saved = now
        self.save()

    def train_step(self) -> dict[str, float]:
        """One optimiser step; the measurements it made."""
        training = self.training
        factor = self.schedule.factor(self.step, self.elapsed_s)
        groups = self.pool.batch(self.step, training.batch).to(self.device)
        target = groups.float().mul_(1 / 127.5).sub_(1.0)
        with self._autocast():
            latents = self.model.encode_groups(groups).float()
        if not training.keep_scale:
            with torch.no_grad():  # it drifts as the encoder learns; the noise must keep its proportion
                spread = latents.std(dim=(0, 2, 3))
                self.model.latent_std.lerp_(spread.clamp_min(1e-3), 0.02)
                self.model.latent_mean.lerp_(latents.mean(dim=(0, 2, 3)), 0.02)
        generator = torch.Generator().manual_seed(training.seed * 1_000_003 + self.step)
        noise = (
            torch.randn(latents.shape, generator=generator).to(self.device)
            * self.model.latent_std[:, None, None]
        )
        with self._autocast():
            pictures = self.model.decode_groups(latents + training.latent_noise * noise).float()
        loss = reconstruction_loss(pictures, target, training.gradient_weight)
        if training.perceptual_weight:
            assert self.perceptual is not None
            last, seen = (group[:, -1].permute(0, 3, 1, 2) for group in (pictures, target))
            loss = loss + training.perceptual_weight * self.perceptual(seen, last).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), training.gradient_clip)
        if self.guard.accepts(loss.detach(), norm):
            for group in self.optimiser.param_groups:
                group["lr"] = training.learning_rate * factor * group["factor"]
            self.optimiser.step()
            self.average.update(self.model)
        self.step += 1
        with torch.no_grad():
            error = (pictures.clamp(-1, 1) - target).square().mean()
        return {
            "loss": float(loss.detach()),
            "psnr_db": float(-10 * torch.log10(error / 4)),
            "lr_factor": factor,
        }

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)

    def averaged(self) -> Autoencoder:
        """A copy of the model with the averaged weights, ready to use."""
        model = Autoencoder(self.training.model)
        model.load_state_dict(self.average.values)
        return model.eval()

    def save(self) -> None:
        """Write the whole state and the curves."""
        state: dict[str, Any] = {
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "skipped": self.guard.total,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict(),
        }
        self.folder.save(state)
        if self.folder.rows():
            self.folder.draw_curves()

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])
        self.guard.total = int(state["skipped"])
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])


@torch.no_grad()
def reconstruction_psnr(model: Autoencoder, groups_BRHWC: Tensor, batch: int = 64) -> tuple[float, Tensor]:
    """Mean PSNR in dB over pictures of uint8 groups, and that of each group (B,)."""
    parts = []
    for groups in groups_BRHWC.split(batch):
        pictures = (model.decode_groups(model.encode_groups(groups)) + 1) * 127.5
        error = (pictures.round().clamp(0, 255) - groups.float()).square().mean(dim=(2, 3, 4))
        parts.append((10 * torch.log10(255.0**2 / error.clamp_min(1e-2))).mean(dim=1))
    psnr_B = torch.cat(parts)
    return float(psnr_B.mean()), psnr_B
