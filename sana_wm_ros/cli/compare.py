"""``sana_wm compare``: what changed between two evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def compare(
    before: Annotated[Path, typer.Argument(help="Folder that sana_wm evaluate wrote: the old one.")],
    after: Annotated[Path, typer.Argument(help="The new one.")],
    everything: Annotated[bool, typer.Option("--all", help="Also baselines, and what is the same.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write all changes to this file.")] = None,
) -> None:
    """Say what changed between two evaluations, and whether it is more than chance.

    ** means that the mean difference is more than twice its standard error over the recordings; with fewer than
    three recordings nothing can be said about chance.
    """
    from rich.console import Console
    from rich.table import Table

    from sana_wm_ros.evaluation.comparison import compare as changes_between
    from sana_wm_ros.evaluation.comparison import write_changes
    from sana_wm_ros.evaluation.result import read_evaluation

    first, second = read_evaluation(before), read_evaluation(after)
    changes, notes = changes_between(first, second)
    console = Console()
    table = Table(
        title=f"{first.model} ({before}) and {second.model} ({after})", title_justify="left", box=None
    )
    for heading in ("figure", "of", "s ahead", "before", "after", "change", "recordings"):
        table.add_column(heading, justify="left" if heading in ("figure", "of") else "right")
    own = ("imagined", "plan", "critics", "imagined, as driven", "process")
    colours = {"better": "green", "worse": "red"}
    shown = [one for one in changes if everything or (one.who in own and one.verdict != "same")]
    for one in shown:
        sign = "**" if one.certain else "" if one.certain is False else "?"
        table.add_row(
            f"{one.group}: {one.metric}",
            one.who,
            "" if one.at_s is None else f"{one.at_s:g}",
            f"{one.before:.3g}",
            f"{one.after:.3g} {one.unit}".strip(),
            f"{one.after - one.before:+.2g} {one.verdict}{sign}",
            str(one.recordings),
            style=colours.get(one.verdict),
        )
    console.print(table, highlight=False)
    counts = {word: sum(one.verdict == word for one in shown) for word in ("better", "worse")}
    console.print(
        f"{counts['better']} better, {counts['worse']} worse, of {len(shown)} shown", highlight=False
    )
    for note in notes:
        console.print(note, highlight=False, markup=False, soft_wrap=True)
    if csv is not None:
        write_changes(csv, changes)
        console.print(f"wrote {csv}", highlight=False)
