"""Trains transformer and heads on encoded drives: short clips first, then longer ones, up to a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sana_wm_ros.training.averaging import WeightAverage
from sana_wm_ros.training.clips import ClipSampler
from sana_wm_ros.training.guard import FiniteGuard
from sana_wm_ros.training.latents import LatentDrive
from sana_wm_ros.training.muon import Muon, split_parameters
from sana_wm_ros.training.objective import Foretelling, Objective, losses
from sana_wm_ros.training.processes import Processes
from sana_wm_ros.training.run_folder import BadRun, RunFolder
from sana_wm_ros.training.schedule import Schedule
from sana_wm_ros.world_model.autoencoder import Autoencoder
from sana_wm_ros.world_model.config import NANO, TransformerConfig
from sana_wm_ros.world_model.heads import Heads, HeadsConfig
from sana_wm_ros.world_model.precision import multiply_in_bf16
from sana_wm_ros.world_model.transformer import SanaTransformer


@dataclass(frozen=True, kw_only=True)
class WorldModelTraining:
    """Settings of a run.

    curriculum: (share of the training done, clip length in latent frames), in order; a quarter of the steps
    go back to an earlier length. frames_per_step: latent frames of a batch, whatever the length of its
    clips. anchor_m: half of the clips have their anchor up to so far from their first frame, as long drives do.
    precision: of the products over tokens, fp32 or bf16; weights and all else are fp32.
    """

    model: TransformerConfig = NANO
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    objective: Objective = field(default_factory=Objective)
    curriculum: tuple[tuple[float, int], ...] = ((0.0, 24), (0.45, 32), (0.65, 64), (0.85, 116))
    frames_per_step: int = 120
    anchor_m: float = 0.0
    precision: str = "fp32"
    matrix_rate: float = 5e-3
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    average_decay: float = 0.998
    seed: int = 0
    log_every_s: float = 60.0
    save_every_s: float = 180.0


class WorldModelTrainer:
    """One training run; making it again on the same folder goes on where the last one saved."""

    def __init__(
        self,
        training: WorldModelTraining,
        schedule: Schedule,
        autoencoder: Autoencoder,
        drives: list[LatentDrive],
        out: Path,
        *,
        start_from: dict[str, Tensor] | None = None,
        processes: Processes | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.training, self.schedule, self.clock = training, schedule, clock
        self.autoencoder = autoencoder
        self.processes = Processes() if processes is None else processes
        if not self.processes.first:
            self.processes.wait()  # for the folder, which the first one makes
        self.folder = RunFolder.open(out, {"stage": "world-model", **asdict(training)})
        if self.processes.first:
            self.processes.wait()
        torch.manual_seed(training.seed)
        self.transformer = SanaTransformer(training.model)
        self.heads = Heads(training.heads, training.model.width, training.model.tokens)
        self.modules = nn.ModuleDict({"transformer": self.transformer, "heads": self.heads})
        self.modules.to(self.processes.device)
        if start_from is not None:
            begin_with(self.modules, start_from)
        if training.precision == "bf16":
            multiply_in_bf16(self.transformer)
        self.clips = ClipSampler(
            drives, per_latent=training.model.raw_per_latent, seed=training.seed, anchor_m=training.anchor_m
        )
        self.channel_weight_C = channel_weights(autoencoder, drives).to(self.processes.device)
        matrices, others = split_parameters([self.transformer, self.heads])
        self.muon = Muon(matrices, lr=training.matrix_rate, weight_decay=training.weight_decay)
        self.adam = torch.optim.AdamW(others, lr=training.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
        self.guard = FiniteGuard()
        self.foretelling = self.processes.shared(Foretelling(self.transformer, self.heads))
        self.average = WeightAverage(self.modules, training.average_decay)
        self.step, self.elapsed_s, self.frames = 0, 0.0, 0
        state = self.folder.load()
        if state is not None:
            self._restore(state)

    @property
    def image(self) -> tuple[int, int]:
        """Picture size, (height, width)."""
        return self.autoencoder.config.image_height, self.autoencoder.config.image_width

    def clip_length(self) -> int:
        """Latent frames of this step's clips, by the curriculum."""
        done = self.schedule.progress(self.step, self.elapsed_s)
        reached = [length for share, length in self.training.curriculum if share <= done]
        generator = torch.Generator().manual_seed(self.training.seed * 7_919 + self.step)
        if len(reached) > 1 and float(torch.rand((), generator=generator)) < 0.25:
            return reached[int(torch.randint(len(reached) - 1, (), generator=generator))]
        return reached[-1]

    def run(self, on_step: Callable[[WorldModelTrainer, dict[str, float]], None] | None = None) -> None:
        """Train to the end of the schedule, saving now and then and at the end."""
        logged = saved = last = self.clock()
        seen: dict[str, list[float]] = {}
        frames = self.frames
        while self.schedule.progress(self.step, self.elapsed_s) < 1.0:
            values = self.train_step()
            now = self.clock()
            self.elapsed_s, last = self.processes.agreed(self.elapsed_s + now - last), now
            for name, value in values.items():
                seen.setdefault(name, []).append(value)
            if on_step is not None:
                on_step(self, values)
            if now - logged >= self.training.log_every_s:
                means = {name: sum(numbers) / len(numbers) for name, numbers in seen.items()}
                speed = (self.frames - frames) / max(now - logged, 1e-9)
                more = {"frames_per_s": speed, "minutes": self.elapsed_s / 60, "skipped": self.guard.total}
                if self.processes.first:
                    self.folder.log(self.step, means | more)
                logged, seen, frames = now, {}, self.frames
            if now - saved >= self.training.save_every_s:
                self.save()
                saved = now
        self.save()

    def train_step(self) -> dict[str, float]:
        """One optimiser step; the measurements it made."""
        training = self.training
        length = self.clip_length()
        size = max(self.processes.count, round(training.frames_per_step / length))
        factor = self.schedule.factor(self.step, self.elapsed_s)
        clips = self.clips.batch(self.step, size, length)
        generator = torch.Generator().manual_seed(training.seed * 1_000_003 + self.step)
        self.modules.zero_grad(set_to_none=True)
        share, parts = losses(
            self.foretelling,
            training.model,
            clips,
            training.objective,
            image=self.image,
            max_range_m=training.heads.max_range_m,
            channel_weight_C=self.channel_weight_C,
            generator=generator,
            processes=self.processes,
        )
        (share * self.processes.count).backward()  # gradients are averaged over processes, shares add up
        loss = self.processes.total(share)
        norm = torch.nn.utils.clip_grad_norm_(self.modules.parameters(), training.gradient_clip)
        if self.guard.accepts(loss, norm):
            for optimiser, rate in ((self.muon, training.matrix_rate), (self.adam, training.learning_rate)):
                for group in optimiser.param_groups:
                    group["lr"] = rate * factor
                optimiser.step()
            self.average.update(self.modules)
        self.step += 1
        self.frames += size * length
        return {
            "loss": float(loss),
            **parts,
            "norm": float(norm),
            "length": length,
            "lr_factor": factor,
        }

    def averaged(self) -> tuple[SanaTransformer, Heads]:
        """Copies of transformer and heads with the averaged weights."""
        transformer = SanaTransformer(self.training.model)
        heads = Heads(self.training.heads, self.training.model.width, self.training.model.tokens)
        nn.ModuleDict({"transformer": transformer, "heads": heads}).load_state_dict(self.average.values)
        return transformer.eval(), heads.eval()

    def save(self) -> None:
        """Write the whole state and the curves; the first process does."""
        if not self.processes.first:
            return
        state: dict[str, Any] = {
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "frames": self.frames,
            "skipped": self.guard.total,
            "model": self.modules.state_dict(),
            "muon": self.muon.state_dict(),
            "adam": self.adam.state_dict(),
            "average": self.average.state_dict(),
        }
        self.folder.save(state)
        if self.folder.rows():
            self.folder.draw_curves()

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.elapsed_s = int(state["step"]), float(state["elapsed_s"])
        self.frames, self.guard.total = int(state["frames"]), int(state["skipped"])
        self.modules.load_state_dict(state["model"])
        self.muon.load_state_dict(state["muon"])
        self.adam.load_state_dict(state["adam"])
        self.average.load_state_dict(state["average"])


def begin_with(modules: nn.ModuleDict, weights: dict[str, Tensor]) -> None:
    """Load weights of a smaller model: what they lack must begin at zero, where it changes nothing.

    Raises ``BadRun`` that names keys which do not fit.
    """
    missing = [name for name, value in modules.state_dict().items() if name not in weights and value.any()]
    foreign = sorted(set(weights) - set(modules.state_dict()))
    if missing or foreign:
        raise BadRun(
            f"--init does not fit this model: it lacks {missing[:5]}, and has {foreign[:5]} too many"
        )
    modules.load_state_dict(weights, strict=False)


@torch.no_grad()
def channel_weights(autoencoder: Autoencoder, drives: list[LatentDrive], *, frames: int = 64) -> Tensor:
    """How much each latent channel counts, mean 1: the square root of what a unit of it does to pixels.

    Principal components differ a hundredfold in what they change in a picture; without weights the model
    would spend itself on the last of them, with the full ratio it would only ever learn the mean colours.
    """
    random = torch.Generator().manual_seed(0)
    chosen = [drives[int(torch.randint(len(drives), (), generator=random))] for _ in range(frames)]
    rows = [
        torch.from_numpy(d.latents_FCHW[int(torch.randint(len(d), (), generator=random))]) for d in chosen
    ]
    latents = torch.stack(rows).float()
    base = autoencoder.decode_groups(autoencoder.unnormalise(latents))
    change = torch.empty(latents.shape[1])
    for channel in range(latents.shape[1]):
        moved = latents.clone()
        moved[:, channel] += 0.5
        change[channel] = (autoencoder.decode_groups(autoencoder.unnormalise(moved)) - base).square().mean()
    weight = change.clamp_min(1e-12).sqrt()
    return weight / weight.mean()
