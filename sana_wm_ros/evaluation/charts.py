"""The report's charts, drawn as SVG: sharp in print, small, no scripts."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sana_wm_ros.calibration import reliability
from sana_wm_ros.evaluation.clearance_check import CLEARANCE_GUESSES, ClearanceCheck
from sana_wm_ros.evaluation.imagination_check import BASELINES, MODEL, STILL, ImaginationCheck
from sana_wm_ros.evaluation.metrics import Floats
from sana_wm_ros.evaluation.planner_facts import PlannerFacts, Span, percentiles

INK, FAINT, GRID = "#20242c", "#6b7382", "#e7e9ee"
ACCENT, BLUE = "#d9660f", "#2f6fb3"
_LEVEL_COLOURS = {0: "#5aa469", 1: "#e0a526", 2: "#d23f3f", 3: "#8a92a0"}
# Okabe and Ito's palette: told apart by colour-blind readers too.
_SHARES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999999")
_BASELINE_STYLES = {"last frame": (0, (1, 1.5)), "nearest view": (0, (4, 2)), "mean view": (0, (7, 2, 1, 2))}


def psnr_chart(check: ImaginationCheck) -> str:
    """Mean PSNR over seconds ahead: the imagination, three guesses, and the autoencoder's ceiling."""
    figure, axis = _canvas(height=3.3)
    lead = check.lead_F
    if np.isfinite(check.ceiling_db):
        axis.axhline(check.ceiling_db, color=FAINT, linewidth=0.9)
        axis.text(
            lead[-1],
            check.ceiling_db,
            "best the autoencoder allows ",
            va="bottom",
            ha="right",
            fontsize=8.5,
            color=FAINT,
        )
    for name in BASELINES:
        axis.plot(
            lead, check.psnr[name], color=BLUE, linewidth=1.4, linestyle=_BASELINE_STYLES[name], label=name
        )
    axis.plot(lead, check.psnr[STILL], color=ACCENT, linewidth=1.1, alpha=0.75, label=f"imagined, {STILL}")
    axis.plot(lead, check.psnr[MODEL], color=ACCENT, linewidth=2.4, label="imagined")
    if check.better_s is not None:
        axis.axvspan(*check.better_s, color=ACCENT, alpha=0.08, linewidth=0)
    _lead_axis(axis, lead)
    axis.set_ylabel("PSNR, dB (higher is closer)", color=FAINT)
    axis.legend(frameon=False, fontsize=9, ncols=5, loc="lower left", bbox_to_anchor=(0, 1.0))
    return _svg(figure)


def clearance_chart(check: ClearanceCheck) -> str:
    """Mean error of the free distance over seconds ahead: the imagination's and two guesses'."""
    figure, axis = _canvas(height=2.7)
    styles = dict(zip(CLEARANCE_GUESSES[1:], ((0, (1, 1.5)), (0, (7, 2, 1, 2))), strict=True))
    for name, style in styles.items():
        axis.plot(check.lead_F, check.error[name], color=BLUE, linewidth=1.4, linestyle=style, label=name)
    axis.plot(check.lead_F, check.error["imagined"], color=ACCENT, linewidth=2.4, label="imagined")
    _lead_axis(axis, check.lead_F)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("mean error, m (lower is better)", color=FAINT)
    axis.legend(frameon=False, fontsize=9, ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0))
    return _svg(figure)


def _lead_axis(axis: Axes, lead_F: Floats) -> None:
    axis.set_xscale("symlog", base=2, linthresh=1)
    ticks = [t for t in (0.5, 1, 2, 4, 8, 16, 32, 60) if t <= lead_F[-1]]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.set_xticks([], minor=True)
    axis.set_xlim(lead_F[0], lead_F[-1])
    axis.set_xlabel("seconds ahead", color=FAINT)


def latency_chart(latencies_s: Floats, configured_rate_hz: float) -> str:
    """Histogram of planning time with its percentiles and the time there is."""
    figure, axis = _canvas(height=2.7)
    seconds = latencies_s[np.isfinite(latencies_s)]
    axis.hist(seconds, bins=min(40, max(8, len(seconds) // 2)), color=BLUE, alpha=0.85, rwidth=0.92)
    top = axis.get_ylim()[1]
    heights = {"p50": 1.0, "p95": 0.88, "p99": 0.76}
    for name, value in percentiles(seconds).items():
        if name in heights:
            axis.axvline(value, color=INK, linewidth=1.1)
            axis.text(value, top * heights[name], f" {name} {value:.2f} s", va="top", fontsize=9, color=INK)
    if np.isfinite(configured_rate_hz) and configured_rate_hz > 0:
        red = _LEVEL_COLOURS[2]
        axis.axvline(1.0 / configured_rate_hz, color=red, linewidth=1.3, linestyle=(0, (3, 2)))
        axis.text(1.0 / configured_rate_hz, top * 0.5, " period ", va="top", fontsize=9, color=red)
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlim(0, 1.18 * max(axis.get_xlim()[1], 1e-3))
    axis.set_xlabel("planning time, s", color=FAINT)
    axis.set_ylabel("plans", color=FAINT)
    return _svg(figure)


def timeline_chart(facts: PlannerFacts) -> str:
    """Each diagnostic status as a lane over time, coloured by level, and the commands below it."""
    lanes = list(dict.fromkeys(span.part for span in facts.spans))
    figure = Figure(figsize=(9.2, 0.9 + 0.34 * len(lanes) + 1.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[0.34 * len(lanes) + 0.1, 1.4])
    for axis in (upper, lower):
        _dress(axis)
    for span in facts.spans:
        _draw_span(upper, span, lanes.index(span.part))
    upper.set_yticks(range(len(lanes)), lanes)
    upper.set_ylim(len(lanes) - 0.4, -0.6)
    upper.grid(False)
    if len(facts.commands_T3):
        time, speed, turn = facts.commands_T3.T
        lower.plot(time, speed, color=ACCENT, linewidth=1.4, label="speed, m/s")
        lower.plot(time, turn, color=BLUE, linewidth=1.1, label="turn rate, rad/s")
        limit = max(0.1, 1.1 * float(np.abs(facts.commands_T3[:, 1:]).max()))
        lower.set_ylim(-limit, limit)
        lower.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.97))
    lower.set_ylabel("command", color=FAINT)
    lower.set_xlabel("seconds of the recording", color=FAINT)
    lower.set_xlim(0, max(facts.duration_s, 1e-3))
    return _svg(figure)


def shares_chart(facts: PlannerFacts) -> str:
    """What the chosen plans' costs were made of, plan by plan."""
    figure, axis = _canvas(height=2.8)
    order = np.argsort(-np.abs(facts.shares_TM).sum(axis=0), kind="stable")
    gains, costs = np.minimum(facts.shares_TM, 0.0), np.maximum(facts.shares_TM, 0.0)
    for part in (costs, gains):
        base = np.zeros(len(part))
        for rank, index in enumerate(order):
            colour = _SHARES[rank % len(_SHARES)]
            label = facts.critic_names[index] if part is costs else None
            axis.fill_between(
                facts.critic_times_T,
                base,
                base + part[:, index],
                color=colour,
                linewidth=0,
                label=label,
                step="post",
            )
            base = base + part[:, index]
    axis.axhline(0, color=INK, linewidth=0.8)
    axis.set_xlim(0, max(facts.duration_s, 1e-3))
    axis.set_xlabel("seconds of the recording", color=FAINT)
    axis.set_ylabel("weighted cost", color=FAINT)
    axis.legend(frameon=False, fontsize=9, ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0))
    return _svg(figure)


def reliability_chart(chance_N: Floats, label_N: Floats) -> str:
    """How often contact came where it was foretold with which probability; the diagonal is honesty."""
    figure, axis = _canvas(height=3.0)
    rows = reliability(chance_N, label_N)
    told, came, count = (np.array([row[k] for row in rows]) for k in (1, 2, 3))
    axis.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle=(0, (3, 2)))
    axis.plot(told[count >= 5], came[count >= 5], color=ACCENT, linewidth=1.6)  # fewer are chance
    axis.scatter(
        told, came, s=20 + 180 * count / count.max(), color=ACCENT, alpha=0.85, linewidth=0, zorder=3
    )
    for x, y, n in zip(told, came, count, strict=True):
        axis.annotate(f"{n}", (x, y), xytext=(7, -11), textcoords="offset points", fontsize=8.5, color=FAINT)
    axis.set_xlim(-0.03, 1.05)
    axis.set_ylim(-0.05, 1.05)
    axis.set_xlabel("foretold probability of contact", color=FAINT)
    axis.set_ylabel("how often it came", color=FAINT)
    return _svg(figure)


def _draw_span(axis: Axes, span: Span, lane: int) -> None:
    colour = _LEVEL_COLOURS.get(span.level, FAINT)
    width = max(span.end_s - span.start_s, 0.05)
    axis.barh(lane, width, left=span.start_s, height=0.62, color=colour, linewidth=0, antialiased=False)


def _canvas(*, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(9.2, height), layout="constrained")
    axis = figure.subplots()
    _dress(axis)
    return figure, axis


def _dress(axis: Axes) -> None:
    axis.set_axisbelow(True)
    axis.grid(color=GRID, linewidth=0.8)
    axis.tick_params(colors=FAINT, labelsize=9, length=0)
    for side in axis.spines.values():
        side.set_visible(False)


def _svg(figure: Figure) -> str:
    """The figure as SVG text; a fixed salt keeps the same data the same bytes."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "sana_wm_ros"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
