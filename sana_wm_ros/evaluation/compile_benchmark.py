"""Does a compiled chunk step pay? The step as it runs, by ``torch.compile``, and as AOTInductor's program.

All take one chunk of latent frames from the same full window; beside them stands imagination as it is, whose passes
hold several chunks. Figures are per latent frame and all candidates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch._inductor.utils import fresh_cache

from sana_wm_ros.evaluation.rollout_benchmark import driven_context, imagine
from sana_wm_ros.evaluation.timing import timed
from sana_wm_ros.world_model.exporting import ChunkStep, example_inputs, export_model, traced
from sana_wm_ros.world_model.model import IMAGINE_FRAMES, NavigationModel

Program = Callable[..., Any]


@dataclass(frozen=True, kw_only=True)
class CompileSettings:
    """candidates side by side; backend: of ``torch.compile``; aot: also AOTInductor, which takes as long again."""

    candidates: int = 16
    runs: int = 20
    backend: str = "inductor"
    aot: bool = True


@torch.no_grad()
def measure_compile(
    model: NavigationModel, settings: CompileSettings, progress: Callable[[str], None] = lambda what: None
) -> dict[str, Any]:
    """Seconds per latent frame of each way, how long compiling took, and the largest difference of any output.

    ``gain`` is imagination as it is over the compiled step: above 1 the compiled one is faster.
    """
    step = ChunkStep(model).eval()
    inputs = example_inputs(step, settings.candidates)
    truth = step(*inputs)

    def measured(program: Program) -> dict[str, Any]:
        taken = timed(lambda: program(*inputs), model.device, settings.runs)
        return {"frame_s": taken["p50"] / step.chunk, **taken}

    progress("imagination as it is")
    period_s, latents = model.spec.latent_period_s, step.seen
    context = driven_context(model, period_s * latents)

    def imagined() -> None:
        imagine(model, context, settings.candidates, IMAGINE_FRAMES * period_s)

    taken = timed(imagined, model.device, settings.runs)
    results: dict[str, Any] = {
        "imagination": {"frame_s": taken["p50"] / IMAGINE_FRAMES, **taken},
        "step": measured(step),
    }
    progress("tracing")
    program = traced(step, inputs)
    progress(f"torch.compile ({settings.backend})")
    begin = time.perf_counter()
    compiled = torch.compile(program.module(), backend=settings.backend, dynamic=False)
    with fresh_cache():  # else a second run would tell how long it takes to find what the first one compiled
        found = compiled(*inputs)
    results["compiled"] = {
        "compile_s": time.perf_counter() - begin,
        "difference": difference(found, truth),
        **measured(compiled),
    }
    if settings.aot:
        progress("AOTInductor")
        with TemporaryDirectory() as folder:
            begin = time.perf_counter()
            programs = ("chunk_step",)
            with fresh_cache():
                export_model(model, Path(folder), "aoti", candidates=settings.candidates, programs=programs)
            took = time.perf_counter() - begin
            loaded = torch._inductor.aoti_load_package(str(Path(folder) / "chunk_step.pt2"))
            results["aot_inductor"] = {
                "compile_s": took,
                "difference": difference(loaded(*inputs), truth),
                **measured(loaded),
            }
    results["gain"] = results["imagination"]["frame_s"] / results["compiled"]["frame_s"]
    return results


def difference(found: tuple[Tensor, ...], truth: tuple[Tensor, ...]) -> float:
    """The largest difference of any output, as a share of that output's largest value."""
    shares = [
        float((mine.float() - other.float()).abs().max() / other.float().abs().max().clamp(min=1e-6))
        for mine, other in zip(found, truth, strict=True)
        if other.numel()
    ]
    return max(shares)
