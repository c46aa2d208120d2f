"""Write docs/performance.md from the JSON files in benchmarks/results: no figure in it is typed by hand."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "performance.md"

HEAD = """# Performance

Made by `make figures` from [benchmarks](../benchmarks/README.md). Each result file holds the command, the machine,
the versions, the settings and every single run.
"""


def rows(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(what, measured, goal) of one result file."""
    results = record["results"]
    if record["name"].startswith("rollouts"):
        candidates = record["settings"]["candidates"]
        for seconds, goal in ((60, "<= 3 s"), (15, "")):
            taken = results[f"imagine_{seconds}_s"]
            measured = f"{taken['p50']:.2f} s (p95 {taken['p95']:.2f} s)"
            yield f"imagine {candidates} candidates x {seconds} s", measured, goal
        yield "cost of 60 s over 15 s", f"{results['cost_ratio']:.2f} x", "<= 4.4 x"
        memory = results["memory"]
        yield "peak memory of 60 s over 15 s", f"{memory['growth']:.3f} x", "<= 1.05 x"
        yield "peak memory at 60 s", f"{memory['60_s']['peak_mib']:.0f} MiB", ""
        return
    if record["name"].startswith("reanchoring"):
        for translation in ("homogeneous", "rotary"):
            entry = results[translation]
            for by, leads in entry["later"].items():
                shares = ", ".join(f"{100 * share:.2g} % at {lead}" for lead, share in leads.items())
                yield f"{translation}: imagined differently after the anchor moved {by}", shares, ""
            for name, norms in entry["road"].items():
                (first, near), *_, (last, far) = norms.items()
                yield (
                    f"{translation}: loudest memory on a straight road, {name}",
                    (f"{near:.3g} at {first}, {far:.3g} at {last}"),
                    "",
                )
        return
    if record["name"].startswith("quality"):
        for entry in results["goals"]:
            if entry["value"] is not None:
                yield entry["measure"], f"{entry['value']:.2f} {entry['unit']}".strip(), f"{entry['goal']:g}"
        return
    if record["name"].startswith("training_memory"):
        for length in ("15 s", "60 s"):
            yield f"kept for the gradient of a clip of {length}", f"{results[length]['kept_mib']:.0f} MiB", ""
        yield "60 s over 15 s", f"{results['growth']:.2f} x", "<= 4.4 x"
        return
    goal = "<= 5 ms p95" if record["name"] == "node_overhead" else ""
    for name, entry in results.items():
        if isinstance(entry, dict) and {"p50", "p95"} <= set(entry):
            words = name.replace("_", " ")
            yield words, f"{1e3 * entry['p50']:.2f} ms (p95 {1e3 * entry['p95']:.2f} ms)", goal


def section(record: dict[str, Any]) -> str:
    """One result file as a heading, what it ran on, and a table."""
    machine, versions = record["hardware"], record["versions"]
    accelerator = ", ".join(machine["gpus"]) or "no GPU"
    lines = [
        f"\n## {record['name']}\n",
        f"`{record['command']}`, {record['date'][:10]}, commit {record['commit']}; {machine['cpu']}, "
        f"{machine['cores']} cores, {machine['memory_gib']:g} GiB, {accelerator}; Python {versions['python']}, "
        f"torch {versions['torch']}; load average before it {record['load_average']:g}.\n",
        "| what | measured | goal |",
        "|---|---|---|",
    ]
    return "\n".join(
        [*lines, *(f"| {what} | {measured} | {goal} |" for what, measured, goal in rows(record))]
    )


ABLATIONS = {
    "steps": "{} steps",
    "memory_s": "{:g} s seen",
    "keyframes": "no keyframes",
    "window": "window of {} frames",
}


def ablation(record: dict[str, Any]) -> str:
    """What was taken from the model of a quality record, in words; empty where nothing was."""
    settings = record["settings"]
    taken = [
        words.format(settings[name])
        for name, words in ABLATIONS.items()
        if settings.get(name) not in (None, True)
    ]
    return ", ".join(taken)


def ablations(whole: dict[str, Any], less: list[dict[str, Any]]) -> str:
    """One table: the measures of a model, and of it without something."""
    columns = [whole, *less]
    titles = ["whole", *map(ablation, less)]
    lines = [
        f"\n## {whole['name']}: what its parts are worth\n",
        f"`{whole['command']}` and the same with one thing taken away; {whole['results']['drives']} drives.\n",
        f"| what | {' | '.join(titles)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    values = [
        {entry["measure"]: entry for entry in record["results"]["goals"] if entry["value"] is not None}
        for record in columns
    ]
    for measure, entry in values[0].items():
        if all(measure in column for column in values):
            unit = f", {entry['unit']}" if entry["unit"] else ""
            cells = " | ".join(f"{column[measure]['value']:.2f}" for column in values)
            lines.append(f"| {measure}{unit} | {cells} |")
    return "\n".join(lines)


def page(folder: Path) -> str:
    """The whole page from all result files of a folder."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    quality = [record for record in records if record["name"].startswith("quality")]
    less = [record for record in quality if ablation(record)]
    sections = []
    for record in records:
        if record in less:
            continue
        mine = [other for other in less if other["name"].startswith(record["name"])]
        sections.append(ablations(record, mine) if mine else section(record))
    return "\n".join([HEAD.rstrip(), *sections]) + "\n"


if __name__ == "__main__":
    text = page(RESULTS)
    if "--check" in sys.argv[1:]:
        stale = not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text
        sys.exit(f"{PAGE} is not what {RESULTS} gives: make figures" if stale else 0)
    PAGE.write_text(text, encoding="utf-8")
    print(f"written: {PAGE}")
