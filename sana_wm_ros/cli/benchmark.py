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
DeviceOption = Annotated[str, typer.Option(help="cpu or cuda.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Measure although the machine is busy.")]


class MachineBusy(ValueError):
    """Something else runs: a figure taken now would be worth nothing."""


@benchmark.command("rollouts")
def rollouts(
    model: Annotated[str, typer.Option(help="Model folder, or nano or small: its size, random weights.")] = (
        "models/nano"
    ),
    candidates: Annotated[int, typer.Option(min=1, help="Futures side by side.")] = 16,
    runs: Annotated[int, typer.Option(min=2, help="Timed runs after the warm-up.")] = 7,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the model.")] = 2,
    device: DeviceOption = "cpu",
    precision: Annotated[str, typer.Option(help="What its blocks multiply in: auto, bf16 or fp8.")] = "auto",
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """Time and memory of imagining 60 s for many candidates, and how both grow from 15 s."""
    import torch
    from rich.console import Console

    from sana_wm_ros.evaluation.rollout_benchmark import (
        RolloutSettings,
        denoiser_share,
        measure_rollouts,
        memory_growth,
        named_model,
    )
    from sana_wm_ros.evaluation.timing import usable_device

    console = Console()
    load = refuse_load(force=force)
    torch.set_num_threads(threads)
    settings = RolloutSettings(candidates=candidates, runs=runs, threads=threads, device=device)
    loaded = named_model(model, usable_device(device), precision)
    with progress_bar(console) as progress:
        task = progress.add_task(f"{candidates} candidates x 60 s, {runs} runs", total=1.0)
        results = measure_rollouts(
            loaded, settings, progress=lambda done: progress.update(task, completed=done)
        )
        results |= denoiser_share(loaded, candidates, results["imagine_60_s"]["p50"])
        task = progress.add_task("peak memory at 15 s and at 60 s", total=None)
        results["memory"] = memory_growth(model, settings)
        progress.update(task, total=1.0, completed=1.0)
    spoken = {"model": model, "precision": precision, **vars(settings)}
    name = f"rollouts_{Path(model).name}_{torch.device(device).type}"
    name += "" if precision == "auto" else f"_{precision}"
    path = keep(name, results=results, settings=spoken, load=load, out=out)
    long, short, memory = results["imagine_60_s"], results["imagine_15_s"], results["memory"]
    share = results["share_of_bf16_rate"]
    show(
        console,
        f"{candidates} candidates, {threads} threads, {device}",
        {
            "60 s of imagination": f"{long['p50']:.2f} s p50, {long['p95']:.2f} s p95",
            "15 s of imagination": f"{short['p50']:.2f} s p50, {short['p95']:.2f} s p95",
            "8 s of imagination": f"{results['replan_hz']:.1f} Hz",
            "cost of 60 s over 15 s": f"{results['cost_ratio']:.2f} x",
            "share of the GPU's bf16 rate": "unknown" if share is None else f"{100 * share:.1f} %",
            "peak memory, 60 s over 15 s": f"{memory['growth']:.3f} x",
            "peak memory at 60 s": f"{memory['60_s']['peak_mib']:.0f} MiB",
        },
        path,
    )


@benchmark.command("kernels")
def kernels(
    frames: Annotated[int, typer.Option(min=2, help="Latent frames; 121 are 60 s.")] = 121,
    tokens: Annotated[int, typer.Option(min=1, help="Tokens per latent frame.")] = 880,
    heads: Annotated[int, typer.Option(min=1, help="Heads of each of the two branches.")] = 20,
    width: Annotated[int, typer.Option(min=8, help="Head width.")] = 112,
    batch: Annotated[int, typer.Option(min=1, help="Rows side by side.")] = 1,
    chunk_frames: Annotated[int, typer.Option(min=1, help="Latent frames that see each other.")] = 3,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs after the warm-up.")] = 5,
    device: DeviceOption = "cuda",
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """Attention over a minute of tokens: the kernels, the chunk form and exact attention, with and without gradient."""
    from rich.console import Console

    from sana_wm_ros.evaluation.kernel_benchmark import KernelSettings, measure_kernels

    console = Console()
    load = refuse_load(force=force)
    settings = KernelSettings(
        frames=frames, tokens=tokens, heads=heads, width=width, batch=batch, chunk_frames=chunk_frames,
        runs=runs, device=device,
    )  # fmt: skip
    with progress_bar(console) as progress:
        task = progress.add_task("kernels", total=None)
        results = measure_kernels(settings, lambda form: progress.update(task, description=form))
        progress.update(task, total=1.0, completed=1.0)
    kind = device.partition(":")[0]
    path = keep(f"kernels_{kind}", results=results, settings=vars(settings), load=load, out=out)
    rows = {
        name: f"{1e3 * entry['forward']['p50']:.2f} ms, with backward {1e3 * entry['forward_backward']['p50']:.2f} ms"
        for name, entry in results.items()
        if isinstance(entry, dict) and isinstance(entry["forward"], dict)
    }
    show(console, f"{frames} x {tokens} tokens, chosen: {results['chosen']} ({results['why']})", rows, path)


@benchmark.command("fork")
def fork(
    model: Annotated[str, typer.Option(help="Model folder, or nano or small: its size, random weights.")] = (
        "models/nano"
    ),
    candidates: Annotated[int, typer.Option(min=1, help="Futures side by side.")] = 64,
    context_s: Annotated[float, typer.Option(min=1.0, help="Seconds of past.")] = 60.0,
    horizon_s: Annotated[float, typer.Option(min=0.5, help="Seconds that a plan imagines.")] = 8.0,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs after the warm-up.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the model.")] = 2,
    device: DeviceOption = "cpu",
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """Forking the state of a context against encoding the past anew for every candidate."""
    import torch
    from rich.console import Console

    from sana_wm_ros.evaluation.fork_benchmark import ForkSettings, measure_fork
    from sana_wm_ros.evaluation.rollout_benchmark import named_model
    from sana_wm_ros.evaluation.timing import usable_device

    console = Console()
    load = refuse_load(force=force)
    torch.set_num_threads(threads)
    settings = ForkSettings(candidates=candidates, context_s=context_s, horizon_s=horizon_s, runs=runs)
    loaded = named_model(model, usable_device(device))
    with progress_bar(console) as progress:
        task = progress.add_task("fork", total=None)
        results = measure_fork(loaded, settings, lambda what: progress.update(task, description=what))
        progress.update(task, total=1.0, completed=1.0)
    spoken = {"model": model, "threads": threads, "device": device, **vars(settings)}
    name = f"fork_{Path(model).name}_{torch.device(device).type}"
    path = keep(name, results=results, settings=spoken, load=load, out=out)
    show(
        console,
        f"{candidates} candidates after {context_s:g} s",
        {
            "fork, rows copied": f"{1e3 * results['fork']['p50']:.2f} ms",
            "encode the past for each": f"{results['encode_anew']['p50']:.2f} s",
            "until they can start": f"{results['ready_ratio']:.0f} x",
            f"a plan of {horizon_s:g} s": f"{results['plan_ratio']:.1f} x",
        },
        path,
    )


@benchmark.command("video")
def video(
    latent_frames: Annotated[int, typer.Option(min=4, help="Latent frames; 121 are 60 s.")] = 121,
    height: Annotated[int, typer.Option(min=64, help="Pixels, a multiple of 32.")] = 704,
    width: Annotated[int, typer.Option(min=64, help="Pixels, a multiple of 32.")] = 1280,
    depth: Annotated[int, typer.Option(min=1, help="Blocks; 20 are the published model.")] = 20,
    heads: Annotated[
        int, typer.Option(min=1, help="Heads of 112 channels; 20 are the published model.")
    ] = 20,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs.")] = 2,
    compare: Annotated[bool, typer.Option(help="Also time diffusers' class on the same tokens.")] = True,
    device: DeviceOption = "cuda",
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """A minute of video by a transformer of SANA-WM's size with random weights, four steps, streaming."""
    from rich.console import Console

    from sana_wm_ros.evaluation.video_benchmark import VideoSettings, measure_video

    console = Console()
    load = refuse_load(force=force)
    settings = VideoSettings(
        latent_frames=latent_frames, height=height, width=width, depth=depth, heads=heads, runs=runs,
        compare=compare, device=device,
    )  # fmt: skip
    with progress_bar(console) as progress:
        task = progress.add_task("video", total=None)
        results = measure_video(settings, lambda what: progress.update(task, description=what))
        progress.update(task, total=1.0, completed=1.0)
    kind = device.partition(":")[0]
    path = keep(f"video_sana_wm_{kind}", results=results, settings=vars(settings), load=load, out=out)
    rows = {}
    for name in ("streaming", "diffusers"):
        entry = results.get(name, {"skipped": "not asked for"})
        if "skipped" in entry:
            rows[name] = entry["skipped"]
            continue
        peak = "" if entry["peak_gib"] is None else f", {entry['peak_gib']:.1f} GiB"
        rows[name] = f"{entry['p50']:.1f} s, {entry['times_real_time']:.2f} x real time{peak}"
    show(console, f"{results['clip_s']:.1f} s at {height} x {width}", rows, path)


@benchmark.command("reanchoring")
def reanchoring(
    model: Annotated[Path, typer.Option(help="Model folder.")] = Path("models/nano"),
    bag: Annotated[Path, typer.Option(help="A recorded drive to see.")] = Path("demo/lab_60s"),
    context_s: Annotated[float, typer.Option(min=1.0, help="Seconds seen before the anchor moves.")] = 30.0,
    horizon_s: Annotated[float, typer.Option(min=0.5, help="Seconds imagined after that.")] = 20.0,
    road_m: Annotated[float, typer.Option(min=10.0, help="Metres of straight road.")] = 300.0,
    out: OutOption = Path("benchmarks/results"),
) -> None:
    """How imagination differs after its anchor moved, and how memories grow on a long road. Not about time."""
    import torch
    from rich.console import Console

    from sana_wm_ros.evaluation.drive import read_drive
    from sana_wm_ros.evaluation.reanchoring import ReanchoringSettings, encoded, measure_reanchoring
    from sana_wm_ros.world_model.checkpoint import load_model

    console = Console()
    loaded = load_model(model)
    settings = ReanchoringSettings(context_s=context_s, horizon_s=horizon_s, road_m=road_m)
    with progress_bar(console) as progress:
        task = progress.add_task("reading the drive", total=None)
        seen = read_drive(bag, loaded.spec).drive
        drive = encoded(
            loaded, torch.from_numpy(seen.frames_THWC), torch.from_numpy(seen.poses_T44), seen.intrinsics
        )
        results = measure_reanchoring(
            loaded, drive, settings, lambda what: progress.update(task, description=what)
        )
        progress.update(task, total=1.0, completed=1.0)
    spoken = {"model": str(model), "bag": str(bag), **vars(settings)}
    path = keep(
        f"reanchoring_{model.name}", results=results, settings=spoken, load=refuse_load(force=True), out=out
    )
    rows = {}
    for translation in ("homogeneous", "rotary"):
        entry = results[translation]
        for by, leads in entry["later"].items():
            rows[f"{translation}, moved by {by}"] = ", ".join(
                f"{100 * v:.2g} % at {k}" for k, v in leads.items()
            )
        for name, norms in entry["road"].items():
            first, *_, last = norms.values()
            rows[f"{translation}, {name}"] = f"{first:.3g} to {last:.3g}"
    show(console, "difference to imagining without the move; memory norm along the road", rows, path)


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


@benchmark.command("planner")
def planner(
    candidates: Annotated[int, typer.Option(min=2, help="Candidates of a plan.")] = 64,
    runs: Annotated[int, typer.Option(min=3, help="Timed plans after the warm-up.")] = 100,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    out: OutOption = Path("benchmarks/results"),
    force: ForceOption = False,
) -> None:
    """Time that planning itself takes, with a model that costs nothing: propose, score, halve, validate."""
    import torch
    from rich.console import Console

    from sana_wm_ros.nodes.planner_cost import measure_planner

    console = Console()
    load = refuse_load(force=force)
    torch.set_num_threads(threads)
    results = measure_planner(candidates=candidates, runs=runs)
    spoken = {"candidates": candidates, "runs": runs, "threads": threads}
    path = keep("planner_cost", results=results, settings=spoken, load=load, out=out)
    rows = {
        name: f"{1e3 * entry['p50']:.2f} ms p50, {1e3 * entry['p95']:.2f} ms p95"
        for name, entry in results.items()
    }
    show(console, f"a plan of {candidates} candidates to 60 s, without a model", rows, path)


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
from sana_wm_ros.cli.benchmark_compile import compiled_step  # noqa: E402
from sana_wm_ros.cli.benchmark_dream import dream  # noqa: E402
from sana_wm_ros.cli.benchmark_live import live  # noqa: E402
from sana_wm_ros.cli.benchmark_model import model_quality  # noqa: E402
from sana_wm_ros.cli.benchmark_navigation import navigation  # noqa: E402
from sana_wm_ros.cli.benchmark_training import training_memory  # noqa: E402

benchmark.command("compile")(compiled_step)
benchmark.command("dream")(dream)
benchmark.command("live")(live)
benchmark.command("model")(model_quality)
benchmark.command("navigation")(navigation)
benchmark.command("training")(training_memory)
