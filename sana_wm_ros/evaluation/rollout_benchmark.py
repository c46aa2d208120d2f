"""How long, and with how much memory, a model imagines a minute for many candidates at once."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sana_wm_ros.evaluation.flops import bf16_rate, denoiser_flops
from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.planner_facts import percentiles
from sana_wm_ros.geometry import se2
from sana_wm_ros.geometry.camera import base_to_optical, camera_poses
from sana_wm_ros.world_model.checkpoint import load_model
from sana_wm_ros.world_model.model import NavigationModel
from sana_wm_ros.world_model.presets import NAVIGATION, untrained
from sana_wm_ros.world_model.protocol import Context, Intrinsics, WorldModel

LONG_S, SHORT_S, REPLAN_S = 60.0, 15.0, 8.0
_CAMERA = base_to_optical((0.1, 0.0, 0.35), (0.0, 0.12, 0.0))


@dataclass(frozen=True, kw_only=True)
class RolloutSettings:
    """What is imagined: candidates side by side, after a context of so many seconds, so many times."""

    candidates: int = 16
    context_s: float = 8.0
    runs: int = 7
    threads: int = 2
    device: str = "cpu"


def measure_rollouts(
    model: WorldModel,
    settings: RolloutSettings,
    *,
    clock: Callable[[], float] = time.perf_counter,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, Any]:
    """Seconds for 60 s, for 15 s and for 8 s of imagination, taken in turns after one warm-up of each.

    In turns, so that a machine that slows down slows all alike. ``cost_ratio`` is median over median of the
    first two; ``replan_hz`` is how often 8 s can be imagined per second.
    """
    context = driven_context(model, settings.context_s)
    durations: dict[float, list[float]] = {LONG_S: [], SHORT_S: [], REPLAN_S: []}
    for run in range(settings.runs + 1):
        for seconds, taken in durations.items():
            begin = clock()
            imagine(model, context, settings.candidates, seconds)
            taken.append(clock() - begin)
        progress((run + 1) / (settings.runs + 1))
    long_s, short_s, replan_s = (np.array(taken[1:]) for taken in durations.values())
    return {
        "imagine_60_s": percentiles(long_s),
        "imagine_15_s": percentiles(short_s),
        "imagine_8_s": percentiles(replan_s),
        "all_60_s": long_s.tolist(),
        "all_15_s": short_s.tolist(),
        "all_8_s": replan_s.tolist(),
        "cost_ratio": float(np.median(long_s) / np.median(short_s)),
        "replan_hz": float(1.0 / np.median(replan_s)),
        "candidate_seconds_per_second": float(settings.candidates * LONG_S / np.median(long_s)),
    }


@torch.inference_mode()
def driven_context(model: WorldModel, seconds: float) -> Context:
    """A context after a straight drive through noise, which costs a model as much as any picture."""
    spec = model.spec
    latents = max(1, round(seconds / spec.latent_period_s))
    frames = 1 + latents * spec.frames_per_latent
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (frames, spec.image_height, spec.image_width, 3), dtype=np.uint8)
    base_T3 = np.stack(
        [0.4 * np.arange(frames) / spec.frame_rate_hz, np.zeros(frames), np.zeros(frames)], axis=1
    )
    focal = spec.image_width / 2.0
    intrinsics = Intrinsics(fx=focal, fy=focal, cx=(spec.image_width - 1) / 2, cy=(spec.image_height - 1) / 2)
    return model.start(intrinsics).extend(torch.from_numpy(pictures), _poses(base_T3))


@torch.inference_mode()
def imagine(model: WorldModel, context: Context, candidates: int, seconds: float) -> None:
    """Imagine arcs of every curvature for so long, and wait until it is done."""
    spec = model.spec
    frames = round(seconds / spec.latent_period_s)
    twists = np.zeros((candidates, frames, 3))
    twists[:, :, 0] = 0.4
    twists[:, :, 2] = np.linspace(-0.5, 0.5, candidates)[:, None]
    start_3 = np.array([0.4 * (context.latent_frames - 1) * spec.latent_period_s, 0.0, 0.0])
    base_NF3 = se2.integrate(start_3, twists, spec.latent_period_s)
    _, rollout = context.fork(candidates).imagine(
        _poses(base_NF3), generator=torch.Generator().manual_seed(0)
    )
    if not bool(torch.isfinite(rollout.collision_NF).all()):  # reading it also waits for a GPU
        raise ValueError("the model imagined values that are not finite: its time means nothing")


def named_model(name: str, device: torch.device, precision: str = "auto") -> NavigationModel:
    """A model folder, or a preset's size with random weights, which cost as much; on the device, in its type."""
    if Path(name).exists() or name not in NAVIGATION:
        return load_model(Path(name), device=device, precision=precision)
    return untrained(name).ready_on(device, precision)


def denoiser_share(model: NavigationModel, candidates: int, seconds_60: float) -> dict[str, float | None]:
    """Arithmetic of 60 s for all candidates, and its share of what the GPU's data sheet promises in bf16."""
    frames = round(LONG_S / model.spec.latent_period_s)
    flops = denoiser_flops(model.transformer.config) * candidates * frames
    rate = bf16_rate(model.device)
    return {"denoiser_flops_60_s": flops, "share_of_bf16_rate": rate and flops / seconds_60 / rate}


def memory_growth(model_path: str, settings: RolloutSettings) -> dict[str, Any]:
    """Peak memory while imagining 15 s and 60 s, each in a process of its own, and their ratio.

    ``growth`` is peak over peak of the whole process; the parts above the loaded model are given too.
    """
    short, long = (_measure_apart(model_path, settings, seconds) for seconds in (SHORT_S, LONG_S))
    return {"15_s": short, "60_s": long, "growth": long["peak_mib"] / short["peak_mib"]}


def _measure_apart(model_path: str, settings: RolloutSettings, seconds: float) -> dict[str, float]:
    words = [model_path, str(seconds), str(settings.candidates), str(settings.context_s)]
    words += [str(settings.threads), settings.device]
    command = [sys.executable, "-m", "sana_wm_ros.evaluation.rollout_memory", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"measuring memory failed: {done.stderr.strip().splitlines()[-1:] or done.returncode}"
        )
    measured: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return measured


def _poses(base_3: Floats) -> torch.Tensor:
    return torch.from_numpy(camera_poses(base_3, _CAMERA)).float()
