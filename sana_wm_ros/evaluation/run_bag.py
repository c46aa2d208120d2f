"""A run as a bag with the node's own topics, beside the recording's: the report, RViz and Foxglove read it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sana_wm_ros.evaluation import bag_writer as ros
from sana_wm_ros.evaluation.bag_facts import BagFacts
from sana_wm_ros.evaluation.bags import Bag
from sana_wm_ros.evaluation.colours import CONTACT_RGB, FAINT_ALPHA, cost_colours
from sana_wm_ros.evaluation.metrics import Floats, Pictures
from sana_wm_ros.evaluation.plan_measures import ScoredCycle
from sana_wm_ros.evaluation.run_record import CandidateSet, CommandRecord, CycleRecord, RunRecord

PLANNER = "/sana_wm_planner"
_CONTACT_PROBABILITY = 0.5
_OK, _WARN, _ERROR = 0, 1, 2


def write_run(
    target: Path,
    bag: Bag,
    facts: BagFacts,
    run: RunRecord,
    *,
    scored: Sequence[ScoredCycle] = (),
    strips: Sequence[tuple[float, Pictures]] = (),
) -> None:
    """Write the recording's inputs, all that the planner made of them, and what the evaluation found.

    strips: film strips by time. Everything is filed under the recording's time by stamps. Raises
    ``FileExistsError`` where ``target`` exists.
    """
    ahead_ns = round(facts.stamp_ahead_s * 1e9)
    types = {topic.name: topic.msgtype for topic in bag.topics}
    frame, base = facts.odometry_frame, facts.base_frame
    with ros.BagWriter(target) as out:
        for name, time_ns, data in bag.serialized(facts.names):
            out.write_raw(name, types[name], time_ns + ahead_ns, data)
        for time_s, x, y in run.goals:
            out.write("/goal_pose", time_s, ros.pose_stamped(time_s, frame, (x, y, 0.0)))
        for command in run.commands:
            out.write(
                "/replay/cmd_vel", command.time_s, ros.twist_stamped(command.time_s, base, command.twist_3)
            )
        for number, cycle in enumerate(run.cycles, start=1):
            _write_cycle(out, run, cycle, number, frame, base)
        for command in _told(run):
            out.write("/diagnostics", command.time_s, ros.diagnostics(command.time_s, [_motion(command)]))
        for one in scored:
            _write_score(out, one, frame)
        for time_s, strip in strips:
            topic = f"{PLANNER}/imagined/film_strip"
            out.write(topic, time_s, ros.image(time_s, base, strip))


def _write_cycle(
    out: ros.BagWriter, run: RunRecord, cycle: CycleRecord, number: int, frame: str, base: str
) -> None:
    now_s = cycle.ready_s
    if cycle.plan is not None:
        plan = cycle.plan
        times = np.concatenate([[0.0], plan.times_F])
        poses = np.concatenate([plan.start.pose_3[None], plan.poses_F3])
        message = ros.path(now_s, frame, times + plan.start.time_s - now_s, poses)
        out.write("/plan", now_s, message)
    if cycle.considered is not None:
        considered = cycle.considered
        out.write(f"{PLANNER}/rollouts", now_s, ros.markers(_lines(considered, now_s, frame)))
        scan = ros.scan(now_s, base, considered.clearance_K, run.max_range_m)
        out.write(f"{PLANNER}/imagined/scan", now_s, scan)
        statuses = _critics(considered, run.weights)
        if statuses:
            out.write(f"{PLANNER}/critics", now_s, ros.diagnostics(now_s, statuses))
    out.write("/diagnostics", now_s, ros.diagnostics(now_s, [_planning(run, cycle, number)]))


def _lines(considered: CandidateSet, time_s: float, frame: str) -> list[object]:
    """Candidates as the node draws them: by cost, red where contact is expected, faint beyond imagination."""
    colours = cost_colours(considered.costs_N).astype(np.float64) / 255.0
    red = np.array([*CONTACT_RGB, 229.5]) / 255.0
    lines = []
    for row, colour in enumerate(colours):
        best = row == considered.best
        hit_F = considered.contact[row]
        shades = np.tile(np.array([*colour, 1.0 if best else 0.6]), (len(considered.times_F), 1))
        shades[len(hit_F) :, 3] = FAINT_ALPHA
        shades[: len(hit_F)][hit_F > _CONTACT_PROBABILITY] = red
        cost = float(considered.costs_N[row])
        text = {"cost": cost if np.isfinite(cost) else None, "origin": considered.origins[row]}
        height = np.full((len(shades), 1), 0.04 if best else 0.02)
        line = ros.line(
            time_s,
            frame,
            number=row,
            points_F3=np.concatenate([considered.poses_NF3[row, :, :2], height], axis=1),
            colours_F4=shades,
            width_m=0.05 if best else 0.015,
            text=json.dumps(text),
        )
        if len(shades) > 1:
            lines.append((not best, line))
    return [line for _, line in sorted(lines, key=lambda entry: entry[0])]


def _critics(considered: CandidateSet, weights: dict[str, float]) -> list[object]:
    statuses = []
    for critic, share_N in considered.shares.items():
        known = share_N[np.isfinite(share_N)]
        if len(known) == 0:
            continue
        values: dict[str, object] = {"weight": weights.get(critic, float("nan"))}
        if considered.best is not None:
            values["share of the best"] = float(share_N[considered.best])
        values |= {"least": float(known.min()), "mean": float(known.mean()), "most": float(known.max())}
        said = values.get("share of the best", "no plan")
        text = f"{said:.3g}" if isinstance(said, float) else str(said)
        statuses.append(ros.status(f"sana_wm_planner: critic {critic}", _OK, text, values))
    return statuses


def _planning(run: RunRecord, cycle: CycleRecord, number: int) -> object:
    told = run.cycles[:number]
    values: dict[str, object] = {
        "plans": number,
        "late": sum(one.late for one in told),
        "skipped turns": run.skipped if number == len(run.cycles) else 0,
        "period (s)": run.period_s,
        "cycle (s)": float(cycle.cycle_s),
        "horizon (s)": float(cycle.horizon_s),
        "reason": cycle.reason,
        "peak memory (MiB)": run.peak_memory_mib,
        **{f"{stage} (s)": float(value) for stage, value in cycle.timings_s.items()},
    }
    if cycle.stop:
        return ros.status("sana_wm_planner: planning", _ERROR, cycle.reason, values)
    if cycle.late:
        message = f"late: the plan took {cycle.cycle_s:.2f} s, the period is {run.period_s:.2f} s"
        return ros.status("sana_wm_planner: planning", _WARN, message, values)
    return ros.status("sana_wm_planner: planning", _OK, "plans in time", values)


def _told(run: RunRecord) -> list[CommandRecord]:
    """A command a second, and every one with which the reason to stand changes."""
    found: list[CommandRecord] = []
    for one in run.commands:
        if not found or one.stop != found[-1].stop or one.time_s >= found[-1].time_s + 1.0:
            found.append(one)
    if run.commands and found[-1] is not run.commands[-1]:
        found.append(run.commands[-1])
    return found


def _motion(command: CommandRecord) -> object:
    if not command.stop:
        return ros.status("sana_wm_planner: motion", _OK, "following the plan", {})
    level = _ERROR if command.fault and command.stop != "no plan yet" else _WARN if command.fault else _OK
    return ros.status(
        "sana_wm_planner: motion", level, f"stopped: {command.sentence}", {"stop": command.stop}
    )


def _write_score(out: ros.BagWriter, one: ScoredCycle, frame: str) -> None:
    plan = one.cycle.plan
    assert plan is not None
    now_s = one.cycle.ready_s
    frames = int(np.searchsorted(plan.times_F, one.reach_s + 1e-6))
    driven: Floats = one.driven_F3[:frames]
    out.write(
        "/evaluation/driven",
        now_s,
        ros.path(now_s, frame, plan.times_F[:frames] + plan.start.time_s - now_s, driven),
    )
    out.write("/evaluation/ade", now_s, ros.number(one.ade_m))
    out.write("/evaluation/planning_time", now_s, ros.number(one.cycle.cycle_s))
