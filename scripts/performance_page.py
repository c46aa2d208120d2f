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


# What is measured only where there is a GPU: name of the result, the command, and what it will say against which goal.
ON_A_GPU = {
    "kernels_cuda": (
        "sana_wm benchmark kernels",
        {
            "chunk form over the kernels, forward": ">= 3 x",
            "chunk form over the kernels, forward and backward": ">= 3 x",
            "exact attention over the kernels, forward": ">= 10 x",
            "exact attention over the kernels, forward and backward": ">= 10 x",
        },
    ),
    "rollouts_small_cuda": (
        "sana_wm benchmark rollouts --model small --candidates 64 --device cuda",
        {
            "imagine 64 candidates x 60 s": "<= 1 s p95",
            "share of the GPU's bf16 rate": ">= 30 %",
            "imagine 64 candidates x 8 s": ">= 10 Hz",
        },
    ),
    "rollouts_small_cuda_fp8": (
        "sana_wm benchmark rollouts --model small --candidates 64 --device cuda --precision fp8",
        {"imagine 64 candidates x 60 s": "<= 1 s p95", "imagine 64 candidates x 8 s": ">= 10 Hz"},
    ),
    "compile_small_cuda": (
        "sana_wm benchmark compile --model small --candidates 64 --device cuda",
        {"torch.compile over imagination as it is": ">= 1.2 x"},
    ),
    "fork_small_cuda": (
        "sana_wm benchmark fork --model small --device cuda",
        {"encoding the past anew over forking, 64 futures after 60 s": ">= 20 x"},
    ),
    "video_sana_wm_cuda": (
        "sana_wm benchmark video",
        {
            "60 s at 704 x 1280, 4 steps, streaming: seconds, x real time": ">= 2 x real time",
            "the same, peak memory": "",
            "the same by diffusers' class: seconds, x real time, peak memory": "",
        },
    ),
}


def rows(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(what, measured, goal) of one result file."""
    results, name = record["results"], record["name"]
    kinds = {
        "rollouts": _rollouts,
        "kernels": _kernels,
        "fork": _fork,
        "compile": _compile,
        "video": _video,
        "reanchoring": _reanchoring,
        "quality": _quality,
        "training_memory": _training_memory,
        "navigation": _navigation,
        "dream": _dream,
        "live": _live,
    }
    for prefix, of in kinds.items():
        if name.startswith(prefix):
            yield from of(record)
            return
    goal = "<= 5 ms p95" if name == "node_overhead" else ""
    for part, entry in results.items():
        if isinstance(entry, dict) and {"p50", "p95"} <= set(entry):
            words = part.replace("_", " ")
            yield words, f"{1e3 * entry['p50']:.2f} ms (p95 {1e3 * entry['p95']:.2f} ms)", goal


def _rollouts(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    results, candidates = record["results"], record["settings"]["candidates"]
    on_gpu = record["settings"]["device"].startswith("cuda")
    for seconds in (60, 15, 8):
        if f"imagine_{seconds}_s" not in results:
            continue  # measured before there was that horizon
        taken = results[f"imagine_{seconds}_s"]
        measured = f"{taken['p50']:.2f} s (p95 {taken['p95']:.2f} s)"
        goal = {60: "<= 1 s p95" if on_gpu else "<= 3 s"}.get(seconds, "")
        if seconds == 8:
            measured += f", {results['replan_hz']:.1f} Hz"
            goal = ">= 10 Hz" if on_gpu else ""
        yield f"imagine {candidates} candidates x {seconds} s", measured, goal
    yield "cost of 60 s over 15 s", f"{results['cost_ratio']:.2f} x", "<= 4.4 x"
    if results.get("share_of_bf16_rate") is not None:
        yield "share of the GPU's bf16 rate", f"{100 * results['share_of_bf16_rate']:.1f} %", ">= 30 %"
    memory = results["memory"]
    yield "peak memory of 60 s over 15 s", f"{memory['growth']:.3f} x", "<= 1.05 x"
    yield "peak memory at 60 s", f"{memory['60_s']['peak_mib']:.0f} MiB", ""


def _quality(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for entry in record["results"]["goals"]:
        if entry["value"] is not None:
            yield entry["measure"], f"{entry['value']:.2f} {entry['unit']}".strip(), f"{entry['goal']:g}"
    for what, value in looks(record).items():
        yield what, value, ""


def looks(record: dict[str, Any]) -> dict[str, str]:
    """How different imagined pictures look from what came, beside the best trivial guess; empty if not measured."""
    found = record["results"].get("perceptual")
    if found is None:
        return {}
    guesses = [found[name] for name in ("last frame", "context mean", "nearest view")]
    return {
        f"{found['metric']} at {seconds:g} s (of the best trivial guess)": f"{own:.2f} ({min(others):.2f})"
        for seconds, own, *others in zip(found["horizons_s"], found["model"], *guesses, strict=True)
    }


def _training_memory(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    results = record["results"]
    for length in ("15 s", "60 s"):
        yield f"kept for the gradient of a clip of {length}", f"{results[length]['kept_mib']:.0f} MiB", ""
    yield "60 s over 15 s", f"{results['growth']:.2f} x", "<= 4.4 x"


def _kernels(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    results = record["results"]
    chosen, ways = results["chosen"], {"forward": "forward", "forward_backward": "forward and backward"}
    for way, words in ways.items():
        yield f"{chosen}, {words}", f"{1e3 * results[chosen][way]['p50']:.2f} ms", ""
        for other, called, goal in (
            ("chunk", "chunk form", ">= 3 x"),
            ("sdpa", "exact attention", ">= 10 x"),
        ):
            if other != chosen:
                ratio = results[f"{other}_over_{chosen}"][way]
                yield (
                    f"{called} over the kernels, {words}",
                    f"{ratio:.1f} x",
                    goal if chosen == "triton" else "",
                )
    yield "largest difference from the chunk form, of its largest value", f"{results['difference']:.1e}", ""


def _fork(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    results, settings = record["results"], record["settings"]
    futures = f"{settings['candidates']} futures after {settings['context_s']:g} s"
    yield f"fork, {futures}", f"{1e3 * results['fork']['p50']:.2f} ms", ""
    yield f"encode the past anew, {futures}", f"{results['encode_anew']['p50']:.2f} s", ""
    yield "encoding the past anew over forking", f"{results['ready_ratio']:.0f} x", ">= 20 x"
    yield f"the same with {settings['horizon_s']:g} s imagined", f"{results['plan_ratio']:.1f} x", ""


def _compile(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    results = record["results"]
    ways = {
        "imagination": "imagination as it is, passes of several chunks",
        "step": "the chunk step as it is",
        "compiled": "the chunk step by torch.compile",
        "aot_inductor": "the chunk step by AOTInductor",
    }
    for way, words in ways.items():
        if way in results:
            entry = results[way]
            measured = f"{1e3 * entry['frame_s']:.2f} ms per latent frame"
            if "compile_s" in entry:
                measured += f", compiled in {entry['compile_s']:.0f} s, differs by {entry['difference']:.0e}"
            yield words, measured, ""
    yield "torch.compile over imagination as it is", f"{results['gain']:.2f} x", ">= 1.2 x"


def _video(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    results, settings = record["results"], record["settings"]
    clip = (
        f"{results['clip_s']:.0f} s at {settings['height']} x {settings['width']}, {results['steps']} steps"
    )
    for name, goal in (("streaming", ">= 2 x real time"), ("diffusers", "")):
        entry = results.get(name, {"skipped": "not asked for"})
        if "skipped" in entry:
            yield f"{clip}, {name}", entry["skipped"], goal
            continue
        measured = f"{entry['p50']:.1f} s, {entry['times_real_time']:.2f} x real time"
        peak = entry["peak_gib"]
        yield f"{clip}, {name}", measured + (f", {peak:.1f} GiB" if peak is not None else ""), goal


def _reanchoring(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for translation in ("homogeneous", "rotary"):
        entry = record["results"][translation]
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


def _navigation(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    found, model = record["results"]["groups"], Path(record["settings"]["model"]).name
    rival, oracle = found.get("straight"), found.get("oracle")
    # A slow machine drives a short horizon through more trials: the group with the most stands for the model.
    model = max((model, f"{model}, horizon 8 s"), key=lambda name: found.get(name, {"trials": -1})["trials"])
    ours = found.get(model)
    if oracle:
        yield "oracle: success", f"{oracle['success']:.2f} of {oracle['trials']}", ">= 0.95"
    if ours and oracle:
        share = f"{ours['success'] / oracle['success']:.2f} ({ours['trials']} trials)"
        yield f"success of {model} over the oracle's", share, ">= 0.85"
    if ours and rival:
        times = (
            f"{ours['success'] / rival['success']:.1f} x" if rival["success"] else "straight never arrives"
        )
        yield f"success of {model} over going straight", times, ">= 1.7 x"
        contacts = [one["contacts_per_100_m"] for one in (ours, rival)]
        measured = f"{contacts[0]:.1f} against {contacts[1]:.1f}"
        yield f"contacts per 100 m of {model} against going straight", measured, "<= half"


def _live(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    results = record["results"]
    for name, found in {"from goal to goal": results.get("loop"), **results.get("groups", {})}.items():
        if not found or not found["plans"]:
            continue
        if "success" in found:
            low, high = found["success_low"], found["success_high"]
            measured = f"{found['success']:.2f} [{low:.2f}, {high:.2f}] of {found['trials']}"
            yield f"{name}: success", measured, ""
        else:
            yield f"{name}: seconds driven", f"{found['seconds']:.0f}", ""
            yield (
                f"{name}: goals reached, given up",
                f"{found['goals_reached']}, {found['goals_given_up']}",
                "",
            )
        share = f"{100 * found['deadline_attainment']:.1f} % of {found['plans']}"
        yield f"{name}: plans that met their deadline", share, ">= 99 %"
        cycle_s = found["cycle_s"]
        measured = ", ".join(f"{cycle_s[q]:.2f} s {q}" for q in ("p50", "p95", "p99"))
        yield f"{name}: a planning cycle", measured, ""


def _dream(record: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    alone, node = record["results"]["imagined"], record["results"]["node"]
    yield "pictures imagined as fast as it goes", f"{alone['pictures_per_s']:.1f} per s", ">= 8 per s"
    measured = ", ".join(f"{1e3 * alone['took_s'][q]:.0f} ms {q}" for q in ("p50", "p95", "p99"))
    yield "half a second imagined and decoded", measured, "<= 500 ms"
    yield "the node in real time", f"{node['real-time factor']:.2f} x", "1 x"
    late_s = node["command to first picture, mean (s)"]
    yield "a command until the first picture that shows it, mean", f"{late_s:.2f} s", ""


def groups_table(record: dict[str, Any]) -> str:
    """Who drove how, one line per group; ablations beside the whole planner on the same trials."""
    lines = [
        "\n| who | trials | success [95 %] | SPL | contacts per 100 m | hard contact | least clearance | "
        "time of success |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, one in record["results"]["groups"].items():
        success = f"{one['success']:.2f} [{one['success_low']:.2f}, {one['success_high']:.2f}]"
        if whole := one.get("whole planner"):
            success += f"; whole planner {whole['success']:.2f} of {whole['trials']}"
        taken = "" if one["time_s"] is None else f"{one['time_s']:.0f} s"
        lines.append(
            f"| {name} | {one['trials']} | {success} | {one['spl']:.2f} | {one['contacts_per_100_m']:.1f} | "
            f"{one['hard_contact']:.2f} | {one['least_clearance_m']:.2f} m | {taken} |"
        )
    return "\n".join(lines)


def unmeasured(name: str) -> str:
    """A GPU benchmark that nobody ran yet: its command and its goals."""
    command, goals = ON_A_GPU[name]
    lines = [f"\n## {name}\n", f"`{command}` on a machine with an NVIDIA GPU, or all of them: "
             "`scripts/gpu_session.sh`.\n", "| what | measured | goal |", "|---|---|---|"]  # fmt: skip
    return "\n".join([*lines, *(f"| {what} | unmeasured | {goal} |" for what, goal in goals.items())])


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
    lines += [f"| {what} | {measured} | {goal} |" for what, measured, goal in rows(record)]
    if record["name"].startswith("navigation"):
        lines.append(groups_table(record))
    return "\n".join(lines)


ABLATIONS = {
    "steps": "{} steps",
    "memory_s": "{:g} s seen",
    "keyframes": "no keyframes",
    "window": "window of {} frames",
    "self_forced_minutes": "after {:g} min of self-forcing",
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
    lines = [
        f"\n## {whole['name']}: what its parts are worth\n",
        f"`{whole['command']}` and the same with one thing taken away; {whole['results']['drives']} drives.\n",
        *side_by_side([whole, *less], ["whole", *map(ablation, less)]),
    ]
    lines += [f"| {what} | {value}{' |' * len(less)} |" for what, value in looks(whole).items()]
    trained = {record["settings"]["trained_by"] for record in less if "trained_by" in record["settings"]}
    lines += [f"\nSelf-forcing, from the shipped weights: `{command}`." for command in sorted(trained)]
    return "\n".join(lines)


def side_by_side(columns: list[dict[str, Any]], titles: list[str]) -> list[str]:
    """Lines of a table: the measures that all quality records have, a column each."""
    lines = [f"| what | {' | '.join(titles)} |", "|---" * (len(columns) + 1) + "|"]
    values = [
        {entry["measure"]: entry for entry in record["results"]["goals"] if entry["value"] is not None}
        for record in columns
    ]
    for measure, entry in values[0].items():
        if all(measure in column for column in values):
            unit = f", {entry['unit']}" if entry["unit"] else ""
            cells = " | ".join(f"{column[measure]['value']:.2f}" for column in values)
            lines.append(f"| {measure}{unit} | {cells} |")
    return lines


def trained_alike(runs: list[dict[str, Any]]) -> str:
    """One table: models whose architecture differs, trained from scratch by the same command on the same drives."""
    titles = [Path(record["settings"]["model"]).name.replace("-", " ") for record in runs]
    lines = [
        f"\n## quality of {', '.join(titles)}: trained alike\n",
        f"`{runs[0]['command']}` and so on; {runs[0]['results']['drives']} drives.\n",
        *side_by_side(runs, titles),
    ]
    trainings = [record["settings"]["training"] for record in runs]
    for key, words in (("steps", "training steps"), ("latent_frames", "latent frames trained on")):
        lines.append(f"| {words} | {' | '.join(f'{training[key]:g}' for training in trainings)} |")
    told = [record["settings"]["trained_by"] for record in runs if "trained_by" in record["settings"]]
    lines += [f"\nTrained by `{command}`." for command in told]
    return "\n".join(lines)


def page(folder: Path) -> str:
    """The whole page from all result files of a folder."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    less = [record for record in records if record["name"].startswith("quality") and ablation(record)]
    runs = [record for record in records if "training" in record["settings"]]
    sections = {"quality_runs": trained_alike(runs)} if runs else {}
    for record in records:
        if record not in less and record not in runs:
            mine = [other for other in less if other["name"].startswith(record["name"])]
            sections[record["name"]] = ablations(record, mine) if mine else section(record)
    sections |= {name: unmeasured(name) for name in ON_A_GPU if name not in sections}
    return "\n".join([HEAD.rstrip(), *(sections[name] for name in sorted(sections))]) + "\n"


if __name__ == "__main__":
    text = page(RESULTS)
    if "--check" in sys.argv[1:]:
        stale = not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != text
        sys.exit(f"{PAGE} is not what {RESULTS} gives: make figures" if stale else 0)
    PAGE.write_text(text, encoding="utf-8")
    print(f"written: {PAGE}")
