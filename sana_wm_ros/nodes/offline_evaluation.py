"""Evaluate one recording: imagine what was driven, plan what might be, measure both, write report and bag."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from sana_wm_ros.evaluation.bag_facts import BagFacts, facts_of
from sana_wm_ros.evaluation.bags import BadBag, Bag, open_bag
from sana_wm_ros.evaluation.drive import CameraGuess, RecordedDrive, drive_of
from sana_wm_ros.evaluation.eye_check import autoencoder_alone
from sana_wm_ros.evaluation.foretold_strip import foretold_strip, spread_leads
from sana_wm_ros.evaluation.goal_plan import GoalPlan
from sana_wm_ros.evaluation.imagination_check import ImaginationCheck, check_imagination, spread_starts
from sana_wm_ros.evaluation.imagination_measures import (
    autoencoder_measure,
    contact_on_the_drive,
    imagination_measures,
)
from sana_wm_ros.evaluation.lpips import Lpips, alexnet_lpips, shift_tolerant_lpips
from sana_wm_ros.evaluation.measure import Measure
from sana_wm_ros.evaluation.plan_measures import (
    ScoredCycle,
    comfort_measures,
    contact_measures,
    displacement_measures,
    ranking_measures,
    score_cycles,
    time_measures,
)
from sana_wm_ros.evaluation.recording import read_recording
from sana_wm_ros.evaluation.report import ReportInput, telling_starts, write_report
from sana_wm_ros.evaluation.result import BagResult
from sana_wm_ros.evaluation.run_bag import write_run
from sana_wm_ros.evaluation.run_record import RunRecord
from sana_wm_ros.evaluation.trajectory_errors import NOT_AVAILABLE, evo_is_there, trajectory_measures
from sana_wm_ros.nodes.model_loading import device, model_folder
from sana_wm_ros.nodes.offline import OfflineOptions, run_offline
from sana_wm_ros.nodes.planner_factory import shipped_weights
from sana_wm_ros.nodes.replay_setup import offline_settings
from sana_wm_ros.nodes.settings import Settings
from sana_wm_ros.world_model.protocol import WorldModel

Progress = Callable[[str, float], None]
"""Told a stage and the part of the whole that is done, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How recordings are evaluated; plain values, so that it travels to other processes and machines.

    frames_per_s: count the planner's time in latent frames at this speed, so that results do not depend on the
    machine; None measures it. miss_m: a plan that ends further than this from the drive is a miss.
    """

    model: str = "nano"
    device: str = "auto"
    threads: int = 0
    starts: int = 8
    horizon_s: float = 60.0
    goal: str = "ahead:10"
    topics: tuple[tuple[str, str], ...] = ()
    robot_speed_mps: float | None = None
    parameters: tuple[str, ...] = ()
    frames_per_s: float | None = None
    seconds: float = float("inf")
    miss_m: float = 1.0
    lpips_weights: str = ""
    command: str = ""


def evaluate_bag(
    bag_path: Path,
    name: str,
    out: Path,
    options: EvaluateOptions,
    progress: Progress = lambda stage, done: None,
) -> BagResult:
    """Evaluate a recording into a folder; what is missing in it is left out and named, not fatal.

    Raises ``BadBag`` where nothing can be evaluated, ``ValueError`` or ``FileNotFoundError`` for bad options.
    """
    begin_s = time.perf_counter()
    if options.threads:
        torch.set_num_threads(options.threads)
    progress("loading the model", 0.0)
    model = loaded_model(options.model, options.device)
    lpips = alexnet_lpips(Path(options.lpips_weights)) if options.lpips_weights else shift_tolerant_lpips()
    with open_bag(bag_path, tolerant=True) as bag:
        facts = facts_of(bag, dict(options.topics), complete=False)
        if not {"image", "odom"} & set(facts.topics):
            there = ", ".join(f"{t.name} ({t.msgtype})" for t in bag.topics) or "nothing"
            raise BadBag(f"{bag_path}: neither pictures nor odometry; there is {there}")
        settings, weights = offline_settings(
            facts,
            shipped_weights(),
            model=options.model,
            robot_speed_mps=options.robot_speed_mps,
            overrides=options.parameters,
        )
        skipped, notes = list(facts.missing), []
        progress("reading the recording", 0.02)
        recorded = _recorded(bag, facts, model, settings, skipped)
        check = _checked(
            recorded, model, options, skipped, lambda done: progress("imagining", 0.05 + 0.4 * done)
        )
        length_s = max(min(facts.duration_s, options.seconds), 1e-3)
        run = run_offline(
            model,
            bag,
            facts,
            OfflineOptions(
                settings=settings,
                weights=weights,
                goal=GoalPlan.parse(options.goal),
                frames_per_s=options.frames_per_s,
                seconds=options.seconds,
            ),
            lambda done_s: progress("planning", 0.45 + 0.45 * min(1.0, done_s / length_s)),
        )
        notes += [*bag.notes, *run.notes]
        notes += [f"{name}: {count} refused" for name, count in run.refused.items()]
        notes += [f"{name}: {count}" for name, count in run.counts.items()]
        progress("measuring", 0.9)
        scored = score_cycles(run, facts.path_T4)
        contact, pairs = contact_measures(run, settings.robot.radius_m)
        eye = None if check is not None else autoencoder_alone(model, bag, facts)
        measures = _measures(check, recorded, run, facts, scored, contact, options, lpips, eye, skipped)
        progress("writing the bag", 0.93)
        write_run(out / "bag", bag, facts, run, scored=scored, strips=_strips(check, recorded))
    progress("writing the report", 0.96)
    written = write_report(
        ReportInput(
            recording=read_recording(out / "bag"),
            command=options.command,
            model=options.model,
            recorded=recorded,
            check=check,
            skipped=skipped,
            robot_radius_m=settings.robot.radius_m,
            measures=measures,
            scored=scored,
            contact=pairs,
            notes=list(dict.fromkeys(notes)),
            title=name,
        ),
        out,
    )
    progress("done", 1.0)
    return BagResult(
        name=name,
        bag=str(bag_path),
        measures=measures,
        skipped=skipped,
        notes=list(dict.fromkeys(notes)),
        seconds=run.to_s - run.from_s,
        wall_s=time.perf_counter() - begin_s,
        page=str(written.page),
    )


@lru_cache(maxsize=1)
def loaded_model(name: str, where: str) -> WorldModel:
    """The model of that name; ``toy`` is a tiny random one that needs no files. Kept for the next recording."""
    if name == "toy":
        from sana_wm_ros.world_model.toy import tiny_navigation_model

        return tiny_navigation_model()
    from sana_wm_ros.world_model.checkpoint import load_model

    return load_model(model_folder(name), device=device(where))


def _recorded(
    bag: Bag, facts: BagFacts, model: WorldModel, settings: Settings, skipped: list[str]
) -> RecordedDrive | None:
    camera = settings.camera
    guess = CameraGuess(
        xyz_m=(camera.x, camera.y, camera.z),
        rpy_rad=(camera.roll, camera.pitch, camera.yaw),
        field_of_view_rad=math.radians(camera.horizontal_fov_deg),
        rectified=camera.rectified,
    )
    try:
        return drive_of(bag, facts, model.spec, guess)
    except BadBag as error:
        skipped.append(f"the imagination: {str(error).removeprefix(f'{bag.path}: ')}")
        return None


def _checked(
    recorded: RecordedDrive | None,
    model: WorldModel,
    options: EvaluateOptions,
    skipped: list[str],
    progress: Callable[[float], None],
) -> ImaginationCheck | None:
    if recorded is None:
        return None
    latents = (len(recorded.drive) - 1) // model.spec.frames_per_latent
    try:
        starts = spread_starts(latents, options.starts, period_s=model.spec.latent_period_s)
    except ValueError as error:
        skipped.append(f"the imagination: {error}")
        return None
    with torch.inference_mode():
        return check_imagination(
            model, recorded.drive, starts=starts, horizon_s=options.horizon_s, latents=True, progress=progress
        )


def _measures(
    check: ImaginationCheck | None,
    recorded: RecordedDrive | None,
    run: RunRecord,
    facts: BagFacts,
    scored: list[ScoredCycle],
    contact: list[Measure],
    options: EvaluateOptions,
    lpips: Lpips | None,
    eye: tuple[float, int] | None,
    skipped: list[str],
) -> list[Measure]:
    measures: list[Measure] = []
    if check is not None and recorded is not None:
        found, missing = imagination_measures(check, lpips)
        measures += found
        skipped += missing
        if recorded.contact_T2 is not None:
            first_s = float(recorded.drive.stamps_T[0])
            measures += contact_on_the_drive(check, recorded.contact_T2, first_s)
    elif eye is not None:
        measures.append(autoencoder_measure(*eye))
    if scored:
        measures += displacement_measures(scored, miss_m=options.miss_m)
        measures += ranking_measures(scored)
        if evo_is_there():
            measures += trajectory_measures(scored)
        else:
            skipped.append(NOT_AVAILABLE)
    else:
        skipped.append("plans against what was driven: there is no plan whose next second was recorded")
    if not contact:
        skipped.append("foretold contact against a scan: the bag has no scan that leads to the base")
    measures += contact
    measures += comfort_measures(run, facts.path_T4, facts.motion_T3)
    return measures + time_measures(run)


def _strips(check: ImaginationCheck | None, recorded: RecordedDrive | None) -> list[tuple[float, Any]]:
    if check is None or recorded is None:
        return []
    first_s = float(recorded.drive.stamps_T[0])
    shown = sorted(telling_starts(check).values(), key=lambda one: one.start_s)
    return [
        (first_s + one.start_s, foretold_strip(one, spread_leads(float(one.lead_F[-1])), tile_width=96))
        for one in shown
    ]
