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
    with _progress(console) as progress:
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
    with _progress(console) as progress:
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


@benchmark.command("navigation")
def navigation(
    model: Annotated[Path, typer.Option(help="Model folder.")] = Path("models/nano"),
    trials: Annotated[int, typer.Option(min=1, help="Trials, each in a building of its own.")] = 40,
    first_seed: Annotated[
        int, typer.Option(help="Seed of the first building; from 1000000 on: test.")
    ] = 900_000,
    family: Annotated[str, typer.Option(help="Family of buildings.")] = "lab",
    only: Annotated[str, typer.Option(help="Groups, separated by ';'; all without ablations if empty.")] = "",
    ablations: Annotated[
        bool, typer.Option("--ablations", help="Also the planner without its parts.")
    ] = False,
    candidates: Annotated[int, typer.Option(min=2, help="Candidates of a plan.")] = 16,
    limit_s: Annotated[float, typer.Option(min=5.0, help="Simulated seconds to reach the goal.")] = 120.0,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for paths and the worst drive's film.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the result; navigation_MODEL if empty.")] = "",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the model.")] = 1,
    out: OutOption = Path("benchmarks/results"),
) -> None:
    """Drive to goals out of sight in unseen buildings, in simulated time: planner, rivals, oracle, ablations.

    Planning takes half a simulated second whatever the machine does, so a busy machine may run this.
    """
    import torch
    from rich.console import Console

    from sana_wm_ros.simulation.trial_benchmark import TrialBenchmark
    from sana_wm_ros.simulation.trial_groups import Budget, known_names
    from sana_wm_ros.simulation.trials import TrialConfig
    from sana_wm_ros.world_model.checkpoint import load_model

    console = Console()
    torch.set_num_threads(threads)
    everything = known_names(model.name)
    names = [entry.strip() for entry in only.split(";") if entry.strip()] or (
        everything if ablations else [entry for entry in everything if "," not in entry]
    )
    needs_model = any(entry.split(",")[0] in (model.name, "avoider") for entry in names)
    bench = TrialBenchmark(
        names,
        load_model(model) if needs_model else None,
        model.name,
        TrialConfig(family=family, limit_s=limit_s),
        Budget(candidates=candidates),
        pictures=pictures,
    )
    spoken = {
        "model": str(model), "trials": trials, "first_seed": first_seed, "family": family, "groups": names,
        "candidates": candidates, "limit_s": limit_s, "threads": threads,
    }  # fmt: skip
    path = out
    with _progress(console) as progress:
        task = progress.add_task("", total=trials * len(names))
        for done in bench.run(first_seed, trials):
            progress.update(task, completed=done.count, description=done.text)
            if done.trial_over:  # so that a run that is cut short leaves what it has
                path = keep(
                    name or f"navigation_{model.name}",
                    results=bench.results(),
                    settings=spoken,
                    load=os.getloadavg()[0],
                    out=out,
                )
    rows = {
        group: f"{found['success']:.2f} success [{found['success_low']:.2f}, {found['success_high']:.2f}], "
        f"SPL {found['spl']:.2f}, {found['contacts_per_100_m']:.1f} contacts per 100 m"
        for group, found in bench.results()["groups"].items()
    }
    show(console, f"{trials} trials from seed {first_seed}", rows, path)


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


def _progress(console: Console) -> Any:
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console
    )
