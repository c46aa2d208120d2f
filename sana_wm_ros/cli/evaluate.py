"""``sana_wm evaluate``: measure a model and its planner on recordings, offline, and write reports."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from sana_wm_ros.evaluation.result import BagResult, Evaluation
    from sana_wm_ros.nodes.evaluation_jobs import Task


def evaluate(
    bags: Annotated[list[Path], typer.Argument(help="rosbag2 folders (mcap, sqlite3) or ROS 1 .bag files.")],
    model: Annotated[str, typer.Option(help="Model folder, or a shipped model's name.")] = "nano",
    out: Annotated[Path, typer.Option(help="Folder for reports, figures and bags.")] = Path("evaluation_out"),
    jobs: Annotated[int, typer.Option(min=1, help="Recordings that are evaluated at a time.")] = 1,
    ray: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster to evaluate on; 'local' starts one.")
    ] = None,
    goal: Annotated[
        str, typer.Option(help="ahead:SECONDS (where the recording is then), X,Y in odom, or none.")
    ] = "ahead:10",
    topic: Annotated[
        list[str] | None, typer.Option(help="INPUT:=TOPIC for image, camera_info, odom, scan; repeatable.")
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="Moments from which the imagination is checked.")] = 8,
    horizon: Annotated[float, typer.Option(min=1.0, max=60.0, help="How far ahead, s.")] = 60.0,
    seconds: Annotated[
        float | None, typer.Option(min=1.0, help="Plan on no more than this of each recording.")
    ] = None,
    frames_per_s: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            help="Count planning time in latent frames at this speed [default: measure this machine's].",
        ),
    ] = None,
    miss: Annotated[float, typer.Option(min=0.01, help="A plan that ends further off is a miss, m.")] = 1.0,
    robot_speed: Annotated[
        float | None, typer.Option(min=0.01, max=30.0, help="Robot's top speed, m/s [default: as recorded].")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="A parameter of the planner, NAME:=VALUE; repeatable.")
    ] = None,
    lpips_weights: Annotated[
        Path | None, typer.Option(help="AlexNet's weights (torchvision's file): LPIPS instead of ST-LPIPS.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads per recording; 0 shares the cores.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[bool, typer.Option(help="Replace what an earlier evaluation left there.")] = False,
) -> None:
    """Measure a model and its planner on recordings, offline: no ROS, as fast as the machine allows."""
    import shlex
    import shutil
    import sys
    from dataclasses import asdict

    from rich.console import Console

    from sana_wm_ros.cli.replay import name_value_pairs
    from sana_wm_ros.evaluation.goal_plan import GoalPlan
    from sana_wm_ros.evaluation.hardware import usable_cores
    from sana_wm_ros.evaluation.overview import write_overview
    from sana_wm_ros.evaluation.result import Evaluation, unique_names, write_evaluation
    from sana_wm_ros.nodes.evaluation_jobs import Task, share_threads
    from sana_wm_ros.nodes.offline_evaluation import EvaluateOptions, loaded_model

    console = Console()
    GoalPlan.parse(goal)
    name_value_pairs(param or [], "--param")
    if ray is None and jobs == 1:
        loaded_model(model, device)  # a missing model is told before anything else
    if (out / "evaluation.json").exists():
        if not overwrite:
            raise FileExistsError(
                f"{out} holds an evaluation already; choose another --out or give --overwrite"
            )
        shutil.rmtree(out)
    options = EvaluateOptions(
        model=model,
        device=device,
        threads=threads,
        starts=starts,
        horizon_s=horizon,
        goal=goal,
        topics=tuple(name_value_pairs(topic or [], "--topic").items()),
        robot_speed_mps=robot_speed,
        parameters=tuple(param or ()),
        frames_per_s=frames_per_s,
        seconds=float("inf") if seconds is None else seconds,
        miss_m=miss,
        lpips_weights="" if lpips_weights is None else str(lpips_weights),
        command=shlex.join(["sana_wm", *sys.argv[1:]]),
    )
    options = share_threads(options, jobs, usable_cores())
    names = unique_names(bags)
    alone = len(bags) == 1
    tasks = [
        Task(bag=bag, name=name, out=out if alone else out / name, options=options)
        for bag, name in zip(bags, names, strict=True)
    ]
    results = run_with_bars(console, tasks, jobs=jobs, ray=ray)
    evaluation = Evaluation(
        command=options.command, model=model, settings={**asdict(options), "jobs": jobs}, bags=results
    )
    write_evaluation(evaluation, out)
    page = out / "report.html"
    if not alone:
        page = write_overview(evaluation, out)
    print_results(console, evaluation)
    if all(result.failure for result in results):
        raise typer.Exit(1)
    console.print(f"open {page}", highlight=False)


def run_with_bars(console: Console, tasks: list[Task], *, jobs: int, ray: str | None) -> list[BagResult]:
    """Run all tasks with a bar for each that runs and one for all, with the time that is left."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from sana_wm_ros.nodes.evaluation_jobs import run_here, run_on_ray

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[stage]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        whole = bars.add_task("all recordings", total=len(tasks), stage="", visible=len(tasks) > 1)
        rows = {}
        parts = {task.name: 0.0 for task in tasks}

        def told(name: str, stage: str, done: float) -> None:
            if name not in rows:
                rows[name] = bars.add_task(name, total=1.0, stage=stage)
            bars.update(rows[name], completed=done, stage=stage, visible=done < 1.0)
            parts[name] = done
            bars.update(whole, completed=sum(parts.values()))

        if ray is not None:
            return run_on_ray(tasks, ray, told)
        return run_here(tasks, jobs, told)


def print_results(console: Console, evaluation: Evaluation) -> None:
    """The most telling figures per recording, what was missing, and what failed."""
    from functools import partial

    from rich.table import Table

    from sana_wm_ros.evaluation.overview import COLUMNS, headline

    say = partial(console.print, highlight=False, markup=False, soft_wrap=True)
    table = Table(box=None)
    table.add_column("recording")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for bag in evaluation.bags:
        table.add_row(bag.name, *(["failed"] if bag.failure else headline(bag.measures)))
    if len(evaluation.bags) > 1:
        table.add_row("mean", *headline(evaluation.measures), style="bold")
    console.print(table, highlight=False)
    for bag in evaluation.bags:
        if bag.failure:
            say(f"{bag.name} failed: {bag.failure}", style="red")
        for reason in bag.skipped:
            say(f"{bag.name}, left out: {reason}")
