"""One dream from its beginning to its end, alone or as a robot on topics, and what is kept of it."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rclpy.parameter import Parameter as RosParameter

from sana_wm_ros.nodes.dream_bag import DreamBag
from sana_wm_ros.nodes.dream_film import DreamFilm, check_film_name
from sana_wm_ros.nodes.dream_node import NAME, PARAMETERS, DreamNode, make_dream
from sana_wm_ros.nodes.robot_process import serve
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.dream import Dream, DreamStep
from sana_wm_ros.simulation.dream_driver import driver_for


@dataclass(frozen=True, kw_only=True)
class DreamOptions:
    """parameters: of ``dream_node``, by name. seconds: how long (infinity: until told to end).

    live: hear cmd_vel and speak on topics, in real time; otherwise the robot drives itself as fast as it goes.
    video, strip, record: film, film strip and bag to write, or None.
    """

    parameters: dict[str, Any] = field(default_factory=dict)
    seconds: float = 60.0
    live: bool = False
    video: Path | None = None
    strip: Path | None = None
    record: Path | None = None


@dataclass(kw_only=True)
class DreamSummary:
    """What came of it: seconds dreamed and taken, metres driven, contacts, what was written."""

    name: str = ""
    dreamed_s: float = 0.0
    took_s: float = 0.0
    driven_m: float = 0.0
    contacts: int = 0
    written: list[Path] = field(default_factory=list)


class DreamFailed(ChildProcessError):
    """The live node could not begin; its log says why."""


def dream_drive(
    options: DreamOptions, progress: Callable[[float], None] = lambda done_s: None
) -> DreamSummary:
    """Dream; ``progress`` hears the seconds that were dreamed. KeyboardInterrupt ends it early, in good order.

    Raises ``ValueError`` or ``OSError`` naming the parameter, the model, the picture, the bag or the output at fault.
    """
    check_outputs(options)
    values = checked(options.parameters)
    with contextlib.ExitStack() as stack:
        keep = _Keeper(options, stack, progress)
        if options.live:
            overrides = [RosParameter(name, value=value) for name, value in values.items()]

            def make() -> DreamNode:
                node = DreamNode(on_step=keep.take, seconds=options.seconds, parameter_overrides=overrides)
                keep.begin(node.dream)
                return node

            if serve(make, NAME, None) != 0:
                raise DreamFailed("the dream could not begin; the log above says why")
        else:
            dream = make_dream(values)
            keep.begin(dream)
            _alone(dream, values, options.seconds, keep)
    return keep.finish()


def checked(parameters: dict[str, Any]) -> dict[str, Any]:
    """All parameters of the node, those given in place of the defaults; ``ValueError`` names a bad one."""
    known = {parameter.name: parameter for parameter in PARAMETERS}
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise ValueError(f"{unknown[0]} is no parameter of dream_node; known: {', '.join(sorted(known))}")
    values = {name: parameter.default for name, parameter in known.items()}
    return values | {name: known[name].check(value) for name, value in parameters.items()}


def check_outputs(options: DreamOptions) -> None:
    """Refuse outputs that cannot be written, before a minute was dreamed."""
    if options.video is not None:
        check_film_name(options.video)
    if options.strip is not None and options.strip.suffix != ".png":
        raise ValueError(f"{options.strip}: film strips are written as .png")
    if options.record is not None and options.record.exists():
        raise FileExistsError(f"{options.record} exists already; choose another folder or remove it")


def _alone(dream: Dream, values: dict[str, Any], seconds: float, keep: _Keeper) -> None:
    driver, newest = driver_for(dream, Robot(drive=values["drive"])), None
    with contextlib.suppress(KeyboardInterrupt):
        while dream.time_s < seconds:
            newest = dream.step(driver.command(dream.pose_3, newest))
            keep.take(newest)


class _Keeper:
    """Takes every step of a dream to the film and the bag."""

    def __init__(
        self, options: DreamOptions, stack: contextlib.ExitStack, progress: Callable[[float], None]
    ) -> None:
        self._options, self._stack, self._progress = options, stack, progress
        self._film: DreamFilm | None = None
        self._bag: DreamBag | None = None
        self._begin_s = time.monotonic()
        self._last_2 = np.full(2, math.nan)
        self.summary = DreamSummary()

    def begin(self, dream: Dream) -> None:
        options = self._options
        self.summary.name, self._last_2 = dream.start.name, dream.pose_3[:2]
        if options.video is not None or options.strip is not None:
            self._film = DreamFilm(dream)
        if options.record is not None:
            self._bag = self._stack.enter_context(DreamBag(options.record, dream))
        self._begin_s = time.monotonic()

    def take(self, step: DreamStep) -> None:
        summary = self.summary
        summary.dreamed_s = float(step.times_M[-1])
        summary.driven_m += float(np.hypot(*(step.poses_M3[-1, :2] - self._last_2)))
        summary.contacts += step.contact
        self._last_2 = step.poses_M3[-1, :2]
        if self._film is not None:
            self._film.take(step)
        if self._bag is not None:
            self._bag.take(step)
        self._progress(summary.dreamed_s)

    def finish(self) -> DreamSummary:
        options, summary = self._options, self.summary
        summary.took_s = time.monotonic() - self._begin_s
        film = self._film if self._film is not None and self._film.frames else None
        if film is not None and options.video is not None:
            summary.written.append(film.save(options.video))
        if film is not None and options.strip is not None:
            options.strip.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(film.strip()).save(options.strip)
            summary.written.append(options.strip)
        if options.record is not None:
            summary.written.append(options.record)
        return summary
