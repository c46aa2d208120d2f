"""``sana_wm benchmark navigation``: does the robot arrive, and what does each part of the planner do for that."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated

import typer

from sana_wm_ros.cli.benchmark import OutOption, keep, progress_bar, show


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
    candidates: Annotated[int, typer.Option(min=2, help="Candidates of a plan.")] = 12,
    horizons: Annotated[
        str, typer.Option(help="Seconds to which candidates are imagined, round by round.")
    ] = "4,8,16,32,60",
    limit_s: Annotated[float, typer.Option(min=5.0, help="Simulated seconds to reach the goal.")] = 120.0,
    store: Annotated[
        Path, typer.Option(help="Folder of finished drives: a run that was cut short goes on.")
    ] = Path("navigation_trials"),
    workers: Annotated[int, typer.Option(min=1, help="Processes that share the trials.")] = 1,
    minutes: Annotated[float, typer.Option(min=0.0, help="No drive begins after so long; 0: no limit.")] = 0,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for paths and the worst drive's film.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the result; navigation_MODEL if empty.")] = "",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the model, per process.")] = 1,
    out: OutOption = Path("benchmarks/results"),
) -> None:
    """Drive to goals out of sight in unseen buildings, in simulated time: planner, rivals, oracle, ablations.

    Planning takes half a simulated second whatever the machine does, so a busy machine may run this. The result
    tells of all drives in the store; a second run with other groups adds to them.
    """
    from rich.console import Console

    from sana_wm_ros.simulation.trial_benchmark import BenchmarkConfig, TrialBenchmark
    from sana_wm_ros.simulation.trial_groups import Budget, known_names
    from sana_wm_ros.simulation.trials import TrialConfig

    console = Console()
    everything = known_names(model.name)
    names = [entry.strip() for entry in only.split(";") if entry.strip()] or (
        everything if ablations else [entry for entry in everything if "," not in entry]
    )
    budget = Budget(candidates=candidates, rounds_s=tuple(float(word) for word in horizons.split(",")))
    config = BenchmarkConfig(
        names=tuple(names),
        model=model,
        trial=TrialConfig(family=family, limit_s=limit_s),
        budget=budget,
        threads=threads,
    )
    bench = TrialBenchmark(config, store, pictures=pictures)
    spoken = {**config.settings, "first_seed": first_seed, "workers": workers, "threads": threads}
    label = name or f"navigation_{model.name}"
    with progress_bar(console) as progress:
        task = progress.add_task("", total=trials * len(names))
        for done in bench.run(first_seed, trials, workers=workers, minutes=minutes or math.inf):
            progress.update(task, completed=done.count, description=done.text)
            if done.trial_over:  # so that a run that is cut short leaves what it has
                keep(label, results=bench.results(), settings=spoken, load=os.getloadavg()[0], out=out)
    path = keep(label, results=bench.results(), settings=spoken, load=os.getloadavg()[0], out=out)
    rows = {
        group: f"{found['success']:.2f} success [{found['success_low']:.2f}, {found['success_high']:.2f}] of "
        f"{found['trials']}, SPL {found['spl']:.2f}, {found['contacts_per_100_m']:.1f} contacts per 100 m"
        for group, found in bench.results()["groups"].items()
    }
    show(console, f"trials in {store}", rows, path)
