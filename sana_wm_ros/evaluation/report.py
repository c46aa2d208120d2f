"""The report of a replay: one self-contained page, and the same figures as JSON."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from PIL import Image

from sana_wm_ros.evaluation import charts
from sana_wm_ros.evaluation.clearance_check import ClearanceCheck, check_clearance
from sana_wm_ros.evaluation.drive import RecordedDrive
from sana_wm_ros.evaluation.film_strip import Picture
from sana_wm_ros.evaluation.foretelling import MODEL, Foretelling
from sana_wm_ros.evaluation.foretold_strip import foretold_strip, spread_leads
from sana_wm_ros.evaluation.hardware import hardware_facts, hardware_line, version_facts
from sana_wm_ros.evaluation.imagination_check import ImaginationCheck
from sana_wm_ros.evaluation.measure import Measure
from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.plan_measures import ScoredCycle
from sana_wm_ros.evaluation.plan_picture import plan_picture
from sana_wm_ros.evaluation.planner_facts import LEVELS, PlannerFacts, Span, percentiles, planner_facts
from sana_wm_ros.evaluation.recording import Recording
from sana_wm_ros.evaluation.report_tables import facts_table, tables
from sana_wm_ros.evaluation.results import json_ready
from sana_wm_ros.evaluation.scenes import planning_moments
from sana_wm_ros.evaluation.summary import key_figures, plan_sentences, summary_sentences

_MOST_STATUSES = 20
# Title to group and metrics of the tables over seconds ahead.
TABLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "Imagination": (
        "imagination",
        ("PSNR", "SSIM", "LPIPS", "ST-LPIPS", "latent error", "controllability", "own motion wins"),
    ),
    "Plans": ("plan", ("ADE", "FDE", "miss rate", "heading error")),
}


@dataclass(frozen=True, kw_only=True)
class ReportInput:
    """All that a report is made from.

    recorded and check are None when no input bag or no model was given; ``skipped`` says what that cost.
    measures: what an evaluation measured beside. scored: its cycles, of which best, median and worst are shown.
    contact: foretold probabilities and what the scan said.
    """

    recording: Recording
    command: str
    model: str
    recorded: RecordedDrive | None = None
    check: ImaginationCheck | None = None
    skipped: list[str] = field(default_factory=list)
    robot_radius_m: float = 0.2
    measures: Sequence[Measure] = ()
    scored: Sequence[ScoredCycle] = ()
    contact: tuple[Floats, Floats] | None = None
    notes: Sequence[str] = ()
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class WrittenReport:
    """Where the parts of a report are."""

    page: Path
    metrics: Path
    film_strip: Path | None


def write_report(
    given: ReportInput, folder: Path, *, progress: Callable[[str], None] = lambda step: None
) -> WrittenReport:
    """Write ``report.html``, ``metrics.json`` and, where there is one, ``film_strip.png`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = planner_facts(given.recording)
    skipped = list(given.skipped)
    progress("drawing what was considered")
    moments = planning_moments(
        given.recording,
        given.recorded,
        robot_radius_m=given.robot_radius_m,
        at_s=telling_cycles(given.scored),
    )
    progress("drawing what was imagined")
    strips = [
        (title, foretold_strip(one, spread_leads(float(one.lead_F[-1])))) for title, one in _told(given)
    ]
    progress("drawing timing and diagnostics")
    clearance = _clearance(given, skipped)
    drawn = _charts(given, clearance, facts, skipped)
    if not moments:
        skipped.append("pictures of candidates: the output bag holds no candidates (~/rollouts)")
    values: dict[str, Any] = {
        "title": _title(given),
        "written": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "facts": facts,
        "given": given,
        "hardware": hardware_line(hardware_facts()),
        "versions": version_facts(),
        "summary": [*summary_sentences(facts, given.check), *plan_sentences(given.measures)],
        "figures": key_figures(facts, given.check),
        "scenes": _png_uri(plan_picture(moments)) if moments else None,
        "strips": [{"title": title, "uri": _picture_uri(strip)} for title, strip in strips],
        "charts": {name: _svg_uri(svg) for name, svg in drawn.items()},
        "latency": percentiles(facts.latencies_s),
        "levels": LEVELS,
        "statuses": _statuses(facts),
        "skipped": skipped,
        "octaves": given.check.octaves() if given.check and not given.measures else [],
        "imagination_tables": tables(given.measures, *TABLES["Imagination"]),
        "plan_tables": tables(given.measures, *TABLES["Plans"]),
        "ranking": facts_table(given.measures, ["plan", "ranking"]),
        "contact": facts_table(given.measures, ["contact"]),
        "other": facts_table(given.measures, ["uncertainty", "trust horizon", "comfort", "time", "inputs"]),
    }
    page = folder / "report.html"
    page.write_text(template("report.html.j2").render(values), encoding="utf-8")
    metrics = folder / "metrics.json"
    metrics.write_text(
        json.dumps(json_ready(metrics_of(given, facts, clearance, skipped)), indent=2) + "\n",
        encoding="utf-8",
    )
    strip_path = None
    if strips:
        strip_path = folder / "film_strip.png"
        Image.fromarray(strips[0][1]).save(strip_path)
    return WrittenReport(page=page, metrics=metrics, film_strip=strip_path)


def metrics_of(
    given: ReportInput, facts: PlannerFacts, clearance: ClearanceCheck | None, skipped: list[str]
) -> dict[str, Any]:
    """The report's numbers; NaN means that there is no such figure."""
    check = given.check
    imagination = None
    if check is not None:
        imagination = {
            "starts": len(check.foretellings),
            "seconds_ahead": check.lead_F,
            "starts_reaching": check.starts_F,
            "psnr_db": check.psnr,
            "autoencoder_psnr_db": check.ceiling_db,
            "octaves": [vars(one) for one in check.octaves()],
            "better_than_guesses_s": check.better_s,
        }
    return {
        "command": given.command,
        "model": given.model,
        "hardware": hardware_facts(),
        "versions": version_facts(),
        "plans": facts.plans,
        "duration_s": facts.duration_s,
        "rate_hz": facts.rate_hz,
        "configured_rate_hz": facts.configured_rate_hz,
        "latency_s": percentiles(facts.latencies_s),
        "late_plans": facts.late_plans,
        "skipped_turns": facts.skipped_turns,
        "horizon_s": percentiles(facts.horizons_s),
        "peak_memory_mib": float(facts.peak_memory_mib.max(initial=0.0)),
        "stops": [vars(span) for span in facts.stops],
        "critics": {
            name: float(np.mean(facts.shares_TM[:, index])) for index, name in enumerate(facts.critic_names)
        },
        "topics": {topic.name: topic.count for topic in given.recording.topics},
        "imagination": imagination,
        "clearance": None if clearance is None else vars(clearance),
        "notes": list(given.notes),
        "measures": [vars(measure) for measure in given.measures],
        "skipped": skipped,
    }


def _title(given: ReportInput) -> str:
    if given.title:
        return given.title
    source = given.recorded.path if given.recorded else given.recording.path
    return source.parent.name if source.name in ("bag", "output_bag") else source.name


def telling_cycles(scored: Sequence[ScoredCycle]) -> dict[str, float]:
    """When the plan lay nearest to what was driven, in the middle and furthest: title to time."""
    if len(scored) < 3:
        return {}
    ordered = sorted(scored, key=lambda one: one.ade_m)
    picks = {"best": ordered[0], "median": ordered[len(ordered) // 2], "worst": ordered[-1]}
    return {f"{name}: {one.ade_m:.2f} m off": one.cycle.ready_s for name, one in picks.items()}


def telling_starts(check: ImaginationCheck) -> dict[str, Foretelling]:
    """The starts whose imagination was closest, in the middle and furthest, by mean PSNR to 8 s ahead."""
    if len(check.foretellings) < 3:  # of two nobody is the middle
        return {"only": check.foretellings[0]}

    def closeness(one: Foretelling) -> float:
        near = one.lead_F <= 8.0
        return float(np.minimum(one.psnr[MODEL][near], 100.0).mean())

    ordered = sorted(check.foretellings, key=closeness, reverse=True)
    return {"best": ordered[0], "median": ordered[len(ordered) // 2], "worst": ordered[-1]}


def _told(given: ReportInput) -> list[tuple[str, Foretelling]]:
    """What becomes a film strip: best, median, worst of an evaluation; else the furthest and one more."""
    if given.check is None:
        return []
    if given.measures:
        return list(telling_starts(given.check).items())
    first, *rest = given.check.foretellings
    return [("", one) for one in ([first, rest[len(rest) // 2]] if rest else [first])]


def _clearance(given: ReportInput, skipped: list[str]) -> ClearanceCheck | None:
    if given.check is None or given.recorded is None:
        return None
    measured = given.recorded.measured
    if measured is None:
        skipped.append("imagined free space against a scanner: the input has no scan about the robot's base")
        return None
    first_stamp_s = float(given.recorded.drive.stamps_T[0])
    return check_clearance(given.check.foretellings, measured, first_stamp_s=first_stamp_s)


def _charts(
    given: ReportInput, clearance: ClearanceCheck | None, facts: PlannerFacts, skipped: list[str]
) -> dict[str, str]:
    drawn: dict[str, str] = {}
    check = given.check
    if clearance is not None:
        drawn["clearance"] = charts.clearance_chart(clearance)
    if check is not None:
        drawn["psnr"] = charts.psnr_chart(check)
    if len(facts.latencies_s):
        drawn["latency"] = charts.latency_chart(facts.latencies_s, facts.configured_rate_hz)
    else:
        skipped.append("planning time: diagnostics in the output bag do not tell it")
    if facts.spans:
        drawn["timeline"] = charts.timeline_chart(facts)
    else:
        skipped.append("diagnostics: none in the output bag")
    if given.contact is not None:
        drawn["reliability"] = charts.reliability_chart(*given.contact)
    if len(facts.critic_times_T) and facts.critic_names:
        drawn["shares"] = charts.shares_chart(facts)
    else:
        skipped.append("critics' shares: the output bag holds no ~/critics")
    return drawn


def _statuses(facts: PlannerFacts) -> list[dict[str, Any]]:
    """What was said, how often it began, how long it held in all; the worst and longest first.

    Sentences that differ only in their figures are one row, with the first one as the example.
    """
    found: dict[tuple[str, int, str], list[Span]] = {}
    for span in facts.spans:
        found.setdefault((span.part, span.level, span.kind), []).append(span)
    rows = [
        {
            "name": name,
            "level": level,
            "message": spans[0].message,
            "times": len(spans),
            "seconds": sum(span.duration_s for span in spans),
            "first_s": spans[0].start_s,
        }
        for (name, level, _), spans in found.items()
    ]
    return sorted(rows, key=lambda row: (-row["level"], -row["seconds"]))[:_MOST_STATUSES]


def template(name: str) -> Any:
    """A page's template; what a page is not given is an error."""
    environment = Environment(
        loader=PackageLoader("sana_wm_ros.evaluation", package_path=""),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def _png_uri(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _svg_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode("utf-8")).decode("ascii")


def _picture_uri(picture_HWC: Picture) -> str:
    """Photographs as JPEG: a sixth of PNG's size, and no difference to the eye."""
    buffer = io.BytesIO()
    Image.fromarray(picture_HWC).save(buffer, format="JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
