"""Runs navigation trials for several groups and keeps what came of them; one trial at a time for all groups."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sana_wm_ros.simulation.trial_figures import row, summary
from sana_wm_ros.simulation.trial_groups import Budget, groups
from sana_wm_ros.simulation.trials import Ending, Trial, TrialConfig, draw_trials, run_trial
from sana_wm_ros.world_model.protocol import WorldModel


@dataclass(frozen=True, kw_only=True)
class Done:
    """Progress: drives so far, what is said about the last one, and whether its trial is over."""

    count: int
    text: str
    trial_over: bool


class TrialBenchmark:
    """``run``, then ``results``; also in between. pictures: a folder for paths and films, or None."""

    def __init__(
        self,
        names: list[str],
        model: WorldModel | None,
        model_name: str,
        config: TrialConfig,
        budget: Budget,
        *,
        pictures: Path | None = None,
    ) -> None:
        self._groups = groups(names, model, model_name, budget)
        self._config, self._pictures = config, pictures
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        self._worst: dict[str, tuple[float, Trial, Ending]] = {}

    def run(self, first_seed: int, trials: int) -> Iterator[Done]:
        """Drive all groups through ``trials`` trials."""
        count = 0
        for trial in draw_trials(first_seed, trials, self._config):
            endings: dict[str, Ending] = {}
            for group in self._groups:
                ending = run_trial(trial, group.enter, pictures=group.pictures)
                endings[group.name] = ending
                self._rows[group.name].append(row(trial, ending))
                self._remember_worst(group.name, trial, ending)
                count += 1
                text = f"{trial.seed} {group.name}: {ending.reason}, {ending.time_s:.0f} s"
                over = len(endings) == len(self._groups)
                if over and self._pictures is not None:
                    self._draw(trial, endings)
                yield Done(count=count, text=text, trial_over=over)
        if self._pictures is not None:
            self._film()

    def results(self) -> dict[str, Any]:
        """Figures of each group, and every single trial."""
        return {
            "groups": {name: summary(rows) for name, rows in self._rows.items() if rows},
            "trials": self._rows,
        }

    def _remember_worst(self, name: str, trial: Trial, ending: Ending) -> None:
        badness = ending.end_distance_m + (100.0 if ending.hard_contact else 0.0)
        if name not in self._worst or badness > self._worst[name][0]:
            self._worst[name] = (badness, trial, ending)

    def _draw(self, trial: Trial, endings: dict[str, Ending]) -> None:
        from sana_wm_ros.simulation.trial_pictures import draw_paths

        assert self._pictures is not None
        self._pictures.mkdir(parents=True, exist_ok=True)
        draw_paths(trial, endings, self._pictures / f"trial_{trial.seed}.png")

    def _film(self) -> None:
        from sana_wm_ros.simulation.trial_pictures import film

        assert self._pictures is not None
        for name, (_, trial, ending) in self._worst.items():
            if name in (self._groups[0].name, self._groups[min(1, len(self._groups) - 1)].name):
                film(trial, ending, self._pictures / f"worst_{name.replace(', ', '_')}.mp4")
