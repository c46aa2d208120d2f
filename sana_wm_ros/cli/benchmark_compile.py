"""``sana_wm benchmark compile``: the chunk step as it runs against compiled ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sana_wm_ros.cli.benchmark import (
    DeviceOption,
    ForceOption,
    OutOption,
    keep,
    progress_bar,
    refuse_load,
    show,
)


def compiled_step(
    model: Annotated[str, typer.Option(help="Model folder, or nano or small: its size, random weights.")] = (
        "models/nano"
    ),
    candidates: Annotated[int, typer.Option(min=1, help="Futures side by side.")] = 16,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs after the warm-up.")] = 20,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the model.")] = 2,
    backend: Annotated[str, typer.Option(help="Backend of torch.compile.")] = "inductor",
    aot: Annotated[
        bool, typer.Option(help="Also compile with AOTInductor, which takes as long again.")
    ] = True,
    device: DeviceOption = "cpu",
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """The chunk step as it runs, by torch.compile, and as AOTInductor's program: time, compile time, difference."""
    import torch
    from rich.console import Console

    from sana_wm_ros.evaluation.compile_benchmark import CompileSettings, measure_compile
    from sana_wm_ros.evaluation.rollout_benchmark import named_model
    from sana_wm_ros.evaluation.timing import usable_device

    console = Console()
    load = refuse_load(force=force)
    torch.set_num_threads(threads)
    settings = CompileSettings(candidates=candidates, runs=runs, backend=backend, aot=aot)
    loaded = named_model(model, usable_device(device))
    with progress_bar(console) as progress:
        task = progress.add_task("compile", total=None)
        results = measure_compile(loaded, settings, lambda what: progress.update(task, description=what))
        progress.update(task, total=1.0, completed=1.0)
    spoken = {"model": model, "threads": threads, "device": device, **vars(settings)}
    name = f"compile_{Path(model).name}_{torch.device(device).type}"
    path = keep(name, results=results, settings=spoken, load=load, out=out)
    rows = {"compiled over imagination as it is": f"{results['gain']:.2f} x"}
    for way in ("imagination", "step", "compiled", "aot_inductor"):
        if way in results:
            entry = results[way]
            rows[way] = f"{1e3 * entry['frame_s']:.2f} ms per latent frame"
            if "compile_s" in entry:
                rows[way] += f", compiled in {entry['compile_s']:.0f} s, differs by {entry['difference']:.1e}"
    show(console, f"{candidates} candidates, {threads} threads, {device}", rows, path)
