"""Runs navigation trials for several groups, in one process or more, and collects what came of them."""

from __future__ import annotations

import functools
import itertools
import math
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sana_wm_ros.simulation.trial_figures import beside, summary
from sana_wm_ros.simulation.trial_groups import Budget, groups, needs_model
from sana_wm_ros.simulation.trial_store import Run, TrialStore
from sana_wm_ros.simulation.trials import TrialConfig, draw_trial, run_trial


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """What is driven. model: a folder; its name is that of its group. threads: of the model, per process."""

    names: tuple[str, ...]
    model: Path
    trial: TrialConfig
    budget: Budget
    threads: int = 1

    @property
    def settings(self) -> dict[str, Any]:
        """What must not differ between drives that are compared."""
        return {
            "model": str(self.model),
            "family": self.trial.family,
            "limit_s": self.trial.limit_s,
            "candidates": self.budget.candidates,
            "rounds_s": list(self.budget.rounds_s),
            "refined": self.budget.refined,
        }


@dataclass(frozen=True, kw_only=True)
class Done:
    """Progress: drives so far, what is said about the last one, and whether its trial is over."""

    count: int
    text: str
    trial_over: bool


class TrialBenchmark:
    """``run``, then ``results``; also in between. Drives that ``store`` holds already are not made again.

    pictures: a folder for paths and films, or None.
    """

    def __init__(self, config: BenchmarkConfig, store: Path, *, pictures: Path | None = None) -> None:
        self._config, self._folder, self._pictures = config, store, pictures
        self._store = TrialStore(store, config.settings)

    def run(
        self, first_seed: int, trials: int, *, workers: int = 1, minutes: float = math.inf
    ) -> Iterator[Done]:
        """Drive all groups through ``trials`` trials; no drive begins after ``minutes``.

        Seeds count from ``first_seed`` on; those whose building has no fitting goal are passed over.
        """
        end_s = time.time() + 60 * minutes
        if workers > 1:
            yield from self._shared(first_seed, trials, workers, end_s)
        else:
            driver, count, driven = _Driver(self._config, self._store), 0, 0
            for seed in itertools.count(first_seed):
                if driven == trials or time.time() > end_s:
                    break
                said = ""
                for said in driver.drive(seed, end_s):
                    count += 1
                    yield Done(count=count, text=said, trial_over=False)
                driven += not self._store.has_no_goal(seed)
                yield Done(count=count, text=said, trial_over=True)
        if self._pictures is not None:
            self.draw(self._pictures)

    def _shared(self, first_seed: int, trials: int, workers: int, end_s: float) -> Iterator[Done]:
        """Each process takes the next seed; one more is given out for each without a goal."""
        context = multiprocessing.get_context("spawn")
        coming, count = itertools.count(first_seed), 0
        with ProcessPoolExecutor(workers, context) as pool:

            def submit() -> Future[tuple[bool, list[str]]]:
                return pool.submit(_drive, self._config, self._folder, next(coming), end_s)

            waiting = [submit() for _ in range(trials)]
            while waiting:
                fits, said = waiting.pop(0).result()
                if not fits:
                    waiting.append(submit())
                count += len(said)
                yield Done(count=count, text=said[-1] if said else "", trial_over=True)

    def results(self) -> dict[str, Any]:
        """Figures of each group, and every single trial."""
        rows = {name: [run.row for run in runs.values()] for name, runs in self._ordered().items()}
        figures = {name: summary(found) for name, found in rows.items()}
        for name, found in rows.items():
            base, _, ablation = name.partition(", ")
            if ablation and base in rows:
                figures[name]["whole planner"] = beside(found, rows[base])
        return {"groups": figures, "trials": rows}

    def draw(self, pictures: Path) -> None:
        """Paths of the plain groups for every trial, and a film of the worst drive of the first two."""
        from sana_wm_ros.simulation.trial_pictures import draw_paths, film

        pictures.mkdir(parents=True, exist_ok=True)
        plain = {name: runs for name, runs in self._ordered().items() if "," not in name}
        for seed in sorted({seed for runs in plain.values() for seed in runs}):
            trial = draw_trial(seed, self._config.trial)
            assert trial is not None
            driven = {name: runs[seed] for name, runs in plain.items() if seed in runs}
            draw_paths(trial, driven, pictures / f"trial_{seed}.png")
        for name in list(plain)[:2]:
            worst = max(plain[name].values(), key=lambda run: run.badness)
            trial = draw_trial(worst.row["seed"], self._config.trial)
            assert trial is not None
            film(trial, name, worst, pictures / f"worst_{name}.mp4")

    def _ordered(self) -> dict[str, dict[int, Run]]:
        """The store's drives, groups in the order in which they are usually read."""
        order = {"oracle": 0, self._config.model.name: 1}
        runs = self._store.runs()
        names = sorted(runs, key=lambda name: ("," in name, order.get(name.split(",")[0], 2), name))
        return {name: runs[name] for name in names}


class _Driver:
    """Makes the drives of one seed after the other in this process."""

    def __init__(self, config: BenchmarkConfig, store: TrialStore) -> None:
        self._config, self._store = config, store
        model = None
        if needs_model(config.names):
            import torch

            from sana_wm_ros.world_model.checkpoint import load_model

            torch.set_num_threads(config.threads)
            model = load_model(config.model)
        self._groups = groups(list(config.names), model, config.model.name, config.budget)

    def drive(self, seed: int, end_s: float) -> Iterator[str]:
        """The drives that are missing, begun before ``end_s`` (time.time()); what came of each, in words."""
        missing = [group for group in self._groups if not self._store.has(seed, group.name)]
        if not missing or self._store.has_no_goal(seed):
            return
        trial = draw_trial(seed, self._config.trial)
        if trial is None:
            self._store.note_no_goal(seed)
            return
        for group in missing:
            if time.time() > end_s:
                return
            ending = run_trial(trial, group.enter, pictures=group.pictures)
            self._store.put(seed, group.name, Run.of(trial, ending))
            yield f"{seed} {group.name}: {ending.reason}, {ending.time_s:.0f} s"


@functools.cache
def _driver(config: BenchmarkConfig, folder: Path) -> tuple[_Driver, TrialStore]:
    """Of this process: loading the model takes longer than some drives."""
    store = TrialStore(folder, config.settings)
    return _Driver(config, store), store


def _drive(config: BenchmarkConfig, folder: Path, seed: int, end_s: float) -> tuple[bool, list[str]]:
    driver, store = _driver(config, folder)
    said = list(driver.drive(seed, end_s))
    return not store.has_no_goal(seed), said
