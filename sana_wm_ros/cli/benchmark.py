"""``sana_wm benchmark``: figures worth keeping, each written as JSON with all that it was measured on."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

benchmark = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure and write JSON.")

OutOption = Annotated[Path, typer.Option(help="Folder for the result file.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Measure although the machine is busy.")]


class MachineBusy(ValueError):
    """Something else runs: a figure taken now would be worth nothing."""


@benchmark.command("rollouts")
def rollouts(
    model: Annotated[Path, typer.Option(help="Model folder.")] = Path("models/nano"),
    candidates: Annotated[int, typer.Option(min=1, help="Futures side by side.")] = 16,
    runs: Annotated[int, typer.Option(min=2, help="Timed runs after the warm-up.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the model.")] = 2,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """Time and memory of imagining 60 s for many candidates, and how both grow from 15 s."""
    import torch
    from rich.console import Console

    from sana_wm_ros.evaluation.rollout_benchmark import RolloutSettings, measure_rollouts, memory_growth
    from sana_wm_ros.world_model.checkpoint import load_model

    console = Console()
    load = refuse_load(force=force)
    torch.set_num_threads(threads)
    settings = RolloutSettings(candidates=candidates, runs=runs, threads=threads, device=device)
    loaded = load_model(model, device=device)
    with progress_bar(console) as progress:
        task = progress.add_task(f"{candidates} candidates x 60 s, {runs} runs", total=1.0)
        results = measure_rollouts(
            loaded, settings, progress=lambda done: progress.update(task, completed=done)
        )
        task = progress.add_task("peak memory at 15 s and at 60 s", total=None)
        results["memory"] = memory_growth(model, settings)
        progress.update(task, total=1.0, completed=1.0)
    spoken = {"model": str(model), **vars(settings)}
    path = keep(f"rollouts_{model.name}_{device}", results=results, settings=spoken, load=load, out=out)
    long, short, memory = results["imagine_60_s"], results["imagine_15_s"], results["memory"]
    show(
        console,
        f"{candidates} candidates, {threads} threads, {device}",
        {
            "60 s of imagination": f"{long['p50']:.2f} s p50, {long['p95']:.2f} s p95",
            "15 s of imagination": f"{short['p50']:.2f} s p50, {short['p95']:.2f} s p95",
            "cost of 60 s over 15 s": f"{results['cost_ratio']:.2f} x",
            "peak memory, 60 s over 15 s": f"{memory['growth']:.3f} x",
            "peak memory at 60 s": f"{memory['60_s']['peak_mib']:.0f} MiB",
        },
        path,
    )


@benchmark.command("node")
def node(
    seconds: Annotated[float, typer.Option(min=2.0, help="How long pictures are sent.")] = 20.0,
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """Time that the node itself takes, without a model: picture in to planner, plan to command."""
    from rich.console import Console

    from sana_wm_ros.nodes.overhead import measure_overhead

    console = Console()
    load = refuse_load(force=force)
    with progress_bar(console) as progress:
        task = progress.add_task(f"pictures through the node for {seconds:.0f} s", total=None)
        results = measure_overhead(seconds=seconds)
        progress.update(task, total=1.0, completed=1.0)
    path = keep("node_overhead", results=results, settings={"seconds": seconds}, load=load, out=out)
    rows = {
        name: f"{1e3 * entry['p50']:.2f} ms p50, {1e3 * entry['p95']:.2f} ms p95"
        for name, entry in results.items()
        if isinstance(entry, dict) and "p95" in entry
    }
    show(console, "node overhead without a model", rows, path)


def refuse_load(*, force: bool) -> float:
    """The load average per usable core; raises ``MachineBusy`` where a measurement would be spoilt."""
    from sana_wm_ros.evaluation.hardware import usable_cores

    load = os.getloadavg()[0]
    if load > 0.4 * usable_cores() and not force:
        raise MachineBusy(
            f"the load average is {load:.1f} on {usable_cores()} cores: wait until nothing else runs, "
            "or measure anyway with --force (the result file tells the load)"
        )
    return load


def keep(
    name: str, *, results: Mapping[str, Any], settings: Mapping[str, Any], load: float, out: Path
) -> Path:
    """Write a result file and say where."""
    from sana_wm_ros.evaluation.results import make_result, write_result

    command = shlex.join(["sana_wm", *sys.argv[1:]])
    return write_result(
        make_result(name, command=command, settings=settings, results=results, load_average=load), out
    )


def show(console: Console, title: str, rows: Mapping[str, str], path: Path) -> None:
    """The figures as a table, and where they were written."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False, box=None, pad_edge=False)
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
    console.print(f"written to {path}", style="dim", highlight=False)


def progress_bar(console: Console) -> Any:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console
    )


# Verbs with files of their own; they use what stands above.
from sana_wm_ros.cli.benchmark_model import model_quality  # noqa: E402

benchmark.command("model")(model_quality)
