"""The page over several recordings: each one's most telling figures, the means of all, and what was missing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from sana_wm_ros.evaluation.foretelling import BASELINES, MODEL
from sana_wm_ros.evaluation.hardware import hardware_facts, hardware_line, version_facts
from sana_wm_ros.evaluation.measure import Measure
from sana_wm_ros.evaluation.plan_measures import PLAN
from sana_wm_ros.evaluation.report import TABLES, template
from sana_wm_ros.evaluation.report_tables import facts_table, number, tables
from sana_wm_ros.evaluation.result import Evaluation

COLUMNS = (
    "PSNR 4 s",
    "best guess",
    "SSIM 4 s",
    "own motion wins",
    "ADE 4 s",
    "rank corr.",
    "time p95",
    "in time",
)


def headline(measures: Sequence[Measure]) -> list[str]:
    """The figures of ``COLUMNS`` as text, a dash where one was not measured."""
    by_key = {measure.key: measure for measure in measures}

    def text(group: str, metric: str, who: str, at_s: float | None = None) -> str:
        found = by_key.get((group, metric, who, at_s))
        return "–" if found is None else number(found)

    guesses = [by_key.get(("imagination", "PSNR", name, 4.0)) for name in BASELINES]
    best = max((one for one in guesses if one is not None), key=lambda one: one.value, default=None)
    return [
        text("imagination", "PSNR", MODEL, 4.0),
        "–" if best is None else number(best),
        text("imagination", "SSIM", MODEL, 4.0),
        text("imagination", "own motion wins", MODEL, 4.0),
        text("plan", "ADE", PLAN, 4.0),
        text("ranking", "rank correlation", "critics"),
        text("time", "planning time p95", PLAN),
        text("time", "deadlines attained", PLAN),
    ]


def write_overview(evaluation: Evaluation, folder: Path) -> Path:
    """Write ``report.html`` over all recordings, with links to theirs."""
    measures = evaluation.measures
    rows = [
        {
            "name": bag.name,
            "bag": bag.bag,
            "seconds": bag.seconds,
            "figures": headline(bag.measures),
            "failure": bag.failure,
            "skipped": bag.skipped,
            "link": f"{bag.name}/report.html" if not bag.failure else "",
        }
        for bag in evaluation.bags
    ]
    page = folder / "report.html"
    text = template("overview.html.j2").render(
        evaluation=evaluation,
        rows=rows,
        columns=COLUMNS,
        mean=headline(measures),
        groups={title: tables(measures, group, metrics) for title, (group, metrics) in TABLES.items()},
        other=facts_table(
            measures, ["ranking", "contact", "uncertainty", "trust horizon", "comfort", "time", "inputs"]
        ),
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        hardware=hardware_line(hardware_facts()),
        versions=version_facts(),
    )
    page.write_text(text, encoding="utf-8")
    return page
