"""MODEL_CARD.md: what a model is, what it was trained on, how far to trust it, and how that was measured."""

from __future__ import annotations

import textwrap
from typing import Any

from sana_wm_ros.training.drive_check import BASELINES
from sana_wm_ros.training.quality import judged


def _rows(title: str, columns: list[str], rows: dict[str, list[str]]) -> list[str]:
    """A Markdown table with an empty line after it."""
    lines = [f"| {title} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    return [*lines, *(f"| {name} | " + " | ".join(values) + " |" for name, values in rows.items()), ""]


def _number(value: float | None, digits: int) -> str:
    """A number, or a dash where nothing was measured."""
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def goal_table(preset: str, results: dict[str, dict[str, Any]]) -> str:
    """The goals of a preset and what was reached, one column per result (title -> validation)."""
    columns = {title: judged(result, preset) for title, result in results.items()}
    rows: dict[str, list[str]] = {}
    for index, first in enumerate(next(iter(columns.values()))):
        measure = first["measure"] + (f", {first['unit']}" if first["unit"] else "")
        reached = [_number(column[index]["value"], 2) for column in columns.values()]
        rows[measure] = [f"{first['goal']:g}", *reached]
    return "\n".join(_rows("measure", ["goal", *columns], rows)).strip()


def detail_tables(result: dict[str, Any]) -> str:
    """Pictures, ranges and contact by horizon."""
    horizons = [f"{s:g} s" for s in result["horizons_s"]]
    pictures = {name: [_number(v, 1) for v in values] for name, values in result["psnr_db"].items()}
    pictures["sharpness, model / truth"] = [_number(v, 2) for v in result["sharpness"]]
    lines = _rows("PSNR in dB, seconds ahead", horizons, pictures)
    for name, title in (("seen_places", "places seen in the context"), ("new_places", "places never seen")):
        apart = result[name]
        rows = {
            n: [_number(v, 1) for v in apart["psnr_db"][n]] for n in ("model", "context mean", "nearest view")
        }
        rows["drives"] = [str(count) for count in apart["drives"]]
        lines += _rows(f"PSNR in dB, {title}", horizons, rows)
    looks = result.get("perceptual", {})
    if looks:
        named = {name: looks[name] for name in ("model", "autoencoder", *BASELINES)}
        rows = {name: [_number(v, 2) for v in values] for name, values in named.items()}
        rows["model, places seen before"] = [_number(v, 2) for v in looks["seen_places"]["model"]]
        lines += _rows(f"{looks['metric']} (0: looks equal)", [f"{s:g} s" for s in looks["horizons_s"]], rows)
    ranges = {name: [_number(v, 2) for v in values] for name, values in result["clearance_log_error"].items()}
    lines += _rows("mean absolute log error of ranges", horizons, ranges)
    contact = result.get("contact", {})
    if contact.get("starts"):
        rows = {name: [_number(v, 2) for v in values] for name, values in contact["auroc"].items()}
        counts = zip(contact["contacts"], contact["known"], strict=True)
        rows["contacts / starts"] = [f"{came} / {known}" for came, known in counts]
        within = [f"within {s:g} s" for s in contact["horizons_s"]]
        lines += _rows("AUROC of contact, open-loop drives", within, rows)
        lines.append(
            f"Contact probability per imagined frame: mean {contact['mean_probability']:.3f}, true share "
            f"{contact['frames_in_contact']:.3f}, "
            f"expected calibration error {contact['calibration_error']:.3f}."
        )
    back = result["permanence"]
    if "gain_db" in back:
        lines += [
            "",
            f"Places back after 30 s away ({back['frames']} frames of {back['drives']} drives): the whole memory "
            f"is {back['gain_db']:+.2f} dB (standard error {back['standard_error_db']:.2f}) over one of 5 s, and "
            f"{back['over_nearest_view_db']:+.2f} dB over the nearest view by true pose.",
        ]
    lines += [
        "",
        f"Expected and real latent error correlate by {result['uncertainty_correlation']:.2f}; distances between "
        "imagined place embeddings and those that driving distances ask for by "
        f"{result['place_correlation']:.2f}.",
    ]
    return "\n".join(lines).strip()


_CARD = """# {name}

A young navigation world model for a small indoor robot with one camera: a hybrid linear transformer of
{transformer:.1f} M parameters (SANA-WM's blocks: Gated DeltaNet and windowed softmax attention with the
UCPE camera branch, and a keyframe memory of {keyframes} seen views), heads of {heads:.2f} M and a causal
video autoencoder of {autoencoder:.1f} M. Pictures {height}x{width} at 8 Hz, latents
{channels} x {rows} x {columns} at 2 Hz. Licence: Apache-2.0, weights included.

## Training

{data}

Last stage of the world model: {steps} steps, {latent_frames} latent frames, {hours:.2f} h on one thread of
{hardware}, seed {seed}, {skipped_steps} steps skipped. Blind one-step regression for most clips (the future
in one pass from nothing but the context and the commands, exactly as the model imagines), diffusion forcing
for the rest.

```
{commands}
```

## How far it can be trusted

Measured on {drives} open-loop simulated drives through buildings never trained on (seeds {seeds}), after
{seen:g} s seen, along the true commands, with one denoising step. "Best trivial" is the best of the last
frame, the context's mean and the seen picture whose true pose is nearest. A place counts as seen when a view
of the context lies within 1 m (a radian aside counting as 1.5 m). A horizon is the mean of all frames within
10 % of it.

{goals}

{tables}

"Standing still" compares a held pose with the last view. Sharpness is the share of the truth's edges that an
imagined frame has, because blur flatters PSNR; ST-LPIPS does not fall for it. Contact is measured on drives
that never react to what happens, because a driver that backs off tells the model.
"Ranges at the start" knows the true ranges when imagination begins and checks the
commanded path against them.

![film strips](film_strip.png)

## Limits

{limits}
"""

LIMITS = """* One kind of simulated building with flat colours. It has never seen a real camera's picture: on real
  recordings expect its imagination to be wrong, fine-tune it on your own (`sana_wm finetune`), and plan with
  the validator and a range sensor in charge.
* What was never seen can't be foretold in detail; beyond a few seconds it imagines colours and layout, not
  objects.
* Trained on clips of up to 90 s. One seed, a few hours on a shared CPU core.
* Contact was weighed up in training and taken back at export, on data rich in contact: on calmer drives its
  probabilities are too high."""


def model_card(
    name: str,
    result: dict[str, Any],
    facts: dict[str, Any],
    *,
    data: str,
    commands: list[str],
    beside: dict[str, dict[str, Any]] | None = None,
    limits: str = LIMITS,
) -> str:
    """The card of a model from its validation; ``beside`` adds columns to the goals (title -> validation)."""
    millions = {part: count / 1e6 for part, count in facts["parameters"].items()}
    wanted = ("steps", "latent_frames", "hardware", "seed", "skipped_steps", "seeds", "keyframes")
    shape = ("height", "width", "channels", "rows", "columns")
    card = _CARD.format(
        name=name,
        data=data,
        hours=facts["minutes"] / 60,
        commands="\n".join(commands),
        drives=result["drives"],
        seen=result["seen_s"],
        goals=goal_table(name, {"lab": result} | (beside or {})),
        tables=detail_tables(result),
        limits=limits,
        **millions,
        **{key: facts[key] for key in (*wanted, *shape)},
    )
    return "\n\n".join(_filled(paragraph) for paragraph in card.split("\n\n"))


def _filled(paragraph: str) -> str:
    """Prose wrapped anew after its numbers came in; tables, lists, titles and commands as they are."""
    if paragraph.startswith(("|", "#", "`", "*", "!")):
        return paragraph
    return textwrap.fill(paragraph, 100, break_long_words=False, break_on_hyphens=False)
