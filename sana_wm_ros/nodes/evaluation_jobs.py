"""Many recordings, evaluated side by side: in processes on this machine, or over a Ray cluster.

One broken recording is a result with a reason, never the end of the others.
"""

from __future__ import annotations

import multiprocessing
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sana_wm_ros.evaluation.result import BagResult
from sana_wm_ros.nodes.offline_evaluation import EvaluateOptions, evaluate_bag

Told = Callable[[str, str, float], None]
"""Told a recording's name, its stage and the part of it that is done."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One recording and the folder for its report."""

    bag: Path
    name: str
    out: Path
    options: EvaluateOptions


def run_task(task: Task, told: Told = lambda name, stage, done: None) -> BagResult:
    """Evaluate one recording; what goes wrong becomes its ``failure``."""
    try:
        return evaluate_bag(
            task.bag, task.name, task.out, task.options, lambda stage, done: told(task.name, stage, done)
        )
    except Exception as error:  # a broken bag may fail in any way, and the others shall be evaluated
        words = str(error).removeprefix(f"{task.bag}: ") or type(error).__name__
        told(task.name, "failed", 1.0)
        return BagResult(name=task.name, bag=str(task.bag), failure=words)


def run_here(tasks: Sequence[Task], jobs: int, told: Told) -> list[BagResult]:
    """All tasks on this machine, ``jobs`` at a time, each with its share of the cores; results in their order."""
    if jobs <= 1 or len(tasks) == 1:
        return [run_task(task, told) for task in tasks]
    # Not forked: torch's threads do not survive it.
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(jobs, mp_context=context) as pool:
        lines: Any = manager.Queue()
        running = [pool.submit(_in_process, task, lines) for task in tasks]
        for _ in _until_done(running):
            _pass_on(lines, told)
        return [_result_of(future, task) for future, task in zip(running, tasks, strict=True)]


def run_on_ray(tasks: Sequence[Task], address: str, told: Told) -> list[BagResult]:
    """All tasks on a Ray cluster ("local" starts one here); folders must be seen by all its machines alike."""
    try:
        import ray
    except ImportError as error:
        raise ImportError("--ray needs Ray: pip install 'sana_wm_ros[ray]'") from error
    ray.init(address=None if address == "local" else address, log_to_driver=False)
    try:
        remote = ray.remote(max_retries=1)(run_task)
        waiting = {remote.remote(task): task for task in tasks}
        done: dict[str, BagResult] = {}
        while waiting:
            (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
            task = waiting.pop(ready)
            try:
                done[task.name] = ray.get(ready)
            except ray.exceptions.RayError as error:  # the machine or its process was lost
                done[task.name] = BagResult(name=task.name, bag=str(task.bag), failure=str(error))
            told(task.name, "failed" if done[task.name].failure else "done", 1.0)
    finally:
        ray.shutdown()
    return [done[task.name] for task in tasks]


def share_threads(options: EvaluateOptions, jobs: int, cores: int) -> EvaluateOptions:
    """Side by side each process gets its share of the cores, unless threads were chosen."""
    return options if options.threads or jobs <= 1 else replace(options, threads=max(1, cores // jobs))


def _in_process(task: Task, lines: Any) -> BagResult:
    last = -1.0

    def told(name: str, stage: str, done: float) -> None:
        nonlocal last
        if done >= 1.0 or done - last >= 0.01:  # the queue is for people
            last = done
            lines.put((name, stage, done))

    return run_task(task, told)


def _until_done(running: list[Future[BagResult]]) -> Iterator[None]:
    left = set(running)
    while left:
        _, left = wait(left, timeout=0.2, return_when=FIRST_COMPLETED)
        yield


def _pass_on(lines: Any, told: Told) -> None:
    while True:
        try:
            told(*lines.get_nowait())
        except queue.Empty:
            return


def _result_of(future: Future[BagResult], task: Task) -> BagResult:
    error = future.exception()
    if error is None:
        return future.result()
    # The process itself died: out of memory, most likely.
    return BagResult(name=task.name, bag=str(task.bag), failure=f"its process ended: {error!r}")
