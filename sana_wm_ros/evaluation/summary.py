"""A run in plain words and a handful of figures: what to believe, and whether the planner kept up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sana_wm_ros.evaluation.imagination_check import BASELINES, MODEL, STILL, ImaginationCheck, Octave
from sana_wm_ros.evaluation.measure import Measure
from sana_wm_ros.evaluation.plan_measures import BEST, PLAN
from sana_wm_ros.evaluation.planner_facts import PlannerFacts, percentiles

_HEARD_DB, _BLURRED_DB = 0.3, 3.0


@dataclass(frozen=True, kw_only=True)
class KeyFigure:
    """A number to see at a glance."""

    value: str
    unit: str
    name: str


def summary_sentences(facts: PlannerFacts, check: ImaginationCheck | None) -> list[str]:
    """What a reader should take away, the trust first."""
    return [*_trust_sentences(check), *_planner_sentences(facts)]


def plan_sentences(measures: Sequence[Measure], *, at_s: float = 4.0) -> list[str]:
    """How plans compare with what was driven and with guesses that need no model; nothing without measures."""
    ade = {m.who: m for m in measures if m.metric == "ADE" and m.at_s == at_s}
    plan = ade.pop(PLAN, None)
    ade.pop(BEST, None)  # hindsight is no guess
    if plan is None or not ade:
        return []
    guess = min(ade.values(), key=lambda one: one.value)
    verdict = "closer than" if plan.value < guess.value else "not closer than"
    return [
        f"Over {at_s:g} s its plans lay {plan.value:.2f} m from what was then driven (mean of {plan.count} plans), "
        f"{verdict} the best guess without a model ({guess.who}: {guess.value:.2f} m)."
    ]


def _trust_sentences(check: ImaginationCheck | None) -> list[str]:
    if check is None:
        return [
            "The imagination was not checked against the recording, so nothing here says how far to trust it."
        ]
    octaves = check.octaves()
    guesses = f"the best of {len(BASELINES)} simple guesses"
    if check.better is None:
        return [
            f"On this recording the imagined pictures do not beat {guesses} ({_against(octaves[0])}): "
            "do not trust this model here."
        ]
    first, last = check.better
    begin_s, end_s = octaves[first].from_s, octaves[last].to_s
    sentences = [
        f"From {begin_s:g} to {end_s:g} s ahead the imagined pictures were closer to what the camera then saw "
        f"than {guesses} ({_against(octaves[(first + last) // 2])})."
    ]
    if first > 0:
        sentences.append(f"Before that a guess is closer ({_against(octaves[first - 1])}).")
    if last + 1 < len(octaves):
        sentences.append(f"Beyond that, trust it no more than a guess ({_against(octaves[last + 1])}).")
    return [
        " ".join(sentences),
        f"{_motion_words(check)} {_detail_words(check, octaves[(first + last) // 2])}",
    ]


def _motion_words(check: ImaginationCheck) -> str:
    """Whether the imagination follows the commands, which is what planning needs most."""
    gains = {one.label: one.psnr[MODEL] - one.psnr[STILL] for one in check.octaves()[:-1] or check.octaves()}
    most = max(gains, key=lambda label: gains[label])
    heard = [one for one in check.octaves() if gains.get(one.label, 0.0) >= _HEARD_DB]
    if not heard:
        return f"It hardly listens to the motion (at most {gains[most]:.1f} dB closer than when told to stand still)."
    return (
        f"It listens to the motion from {heard[0].from_s:g} to {heard[-1].to_s:g} s ahead: told to stand still it is "
        f"up to {gains[most]:.1f} dB further off (at {most} s)."
    )


def _detail_words(check: ImaginationCheck, one: Octave) -> str:
    """Closer is not the same as sharp: a blur of the right colours beats a sharp picture of the wrong place."""
    if not one.psnr[MODEL] < check.ceiling_db - _BLURRED_DB:
        return ""
    return (
        f"Expect layout and colours, not detail: its autoencoder alone reaches {check.ceiling_db:.1f} dB, "
        f"the imagination {one.psnr[MODEL]:.1f} dB at {one.label} s."
    )


def _against(one: Octave) -> str:
    starts = "one start" if one.starts == 1 else f"{one.starts} starts"
    guess = one.best_guess
    return (
        f"{one.label} s: {one.psnr[MODEL]:.1f} dB against {one.psnr[guess]:.1f} dB for the {guess}, {starts}"
    )


def _planner_sentences(facts: PlannerFacts) -> list[str]:
    if facts.plans == 0:
        return [f"The planner published no plan in {facts.duration_s:.0f} s. {_stop_words(facts)}"]
    words = [f"It published {facts.plans} plans in {facts.duration_s:.0f} s"]
    if np.isfinite(facts.rate_hz):
        asked = facts.configured_rate_hz
        words.append(
            f"at {facts.rate_hz:.2g} Hz" + (f" (asked: {asked:.2g} Hz)" if np.isfinite(asked) else "")
        )
    late = f"{facts.late_plans} of them late" if facts.late_plans else "none of them late"
    return [f"{' '.join(words)}, {late}. {_stop_words(facts)}"]


def _stop_words(facts: PlannerFacts) -> str:
    stops = facts.stops
    if not stops:
        return "It never had to stop."
    by_kind: dict[str, float] = {}
    for span in stops:
        by_kind[span.kind] = by_kind.get(span.kind, 0.0) + span.duration_s
    longest = sorted(by_kind, key=lambda kind: -by_kind[kind])[:3]
    examples = {span.kind: span.message.partition(": ")[2] for span in reversed(stops)}
    reasons = [examples[kind].partition(";")[0] for kind in longest]
    more = f"; {len(by_kind) - 3} more below" if len(by_kind) > 3 else ""
    held = sum(by_kind.values())
    return f"It held the robot still for {held:.1f} s in all ({'; '.join(reasons)}{more})."


def key_figures(facts: PlannerFacts, check: ImaginationCheck | None) -> list[KeyFigure]:
    """The row of numbers under the title; a dash where there is no such figure."""
    latency = percentiles(facts.latencies_s)
    return [
        KeyFigure(value=_stretch(check), unit="s", name="ahead: closer than every simple guess"),
        KeyFigure(value=str(facts.plans), unit="", name="plans published"),
        KeyFigure(value=_number(facts.rate_hz), unit="Hz", name="planning rate attained"),
        KeyFigure(value=_number(latency.get("p95", np.nan), digits=2), unit="s", name="planning time, p95"),
        KeyFigure(value=str(facts.late_plans), unit="", name="late plans"),
    ]


def _stretch(check: ImaginationCheck | None) -> str:
    if check is None:
        return "–"
    return "none" if check.better_s is None else f"{check.better_s[0]:g}–{check.better_s[1]:g}"


def _number(value: float, digits: int = 1) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.{digits}f}".removesuffix(".0")
