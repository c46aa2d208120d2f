"""``sana_wm info``: what a model, a file of weights or a bag holds, or what this machine has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

# Any of these makes a folder a model, whole or not.
MODEL_FILES = ("config.yaml", "model.safetensors", "model.safetensors.index.json")


def info(
    path: Annotated[
        Path | None, typer.Argument(help="A model, a file of weights or a bag; none: this machine.")
    ] = None,
) -> None:
    """Say what a model, a file of weights or a bag holds, or what this machine has."""
    from rich.console import Console

    from sana_wm_ros.world_model.published.places import is_published

    console = Console()
    if path is None:
        _machine(console)
    elif not path.exists():
        raise FileNotFoundError(2, "no such file or folder", str(path))
    elif is_published(path):
        from sana_wm_ros.world_model.published.weights import describe

        _facts(console, f"SANA-WM weights {path}", describe(path))
    elif any((path / name).is_file() for name in MODEL_FILES):
        _model(console, path)
    else:
        _bag(console, path)


def _machine(console: Console) -> None:
    import torch

    from sana_wm_ros.evaluation.hardware import hardware_facts, version_facts
    from sana_wm_ros.nodes.middleware import middleware_facts
    from sana_wm_ros.world_model.kernels import choose

    hardware = hardware_facts()
    hardware["gpus"] = ", ".join(hardware["gpus"]) or "none: the model runs on the CPU"
    hardware["torch threads"] = torch.get_num_threads()
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    choice = choose(device)
    hardware["kernels"] = f"{choice.name} ({choice.reason})"
    _facts(console, "Machine", hardware)
    _facts(console, "Versions", version_facts())
    _facts(console, "ROS 2", middleware_facts())


def _model(console: Console, folder: Path) -> None:
    import yaml

    try:
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (FileNotFoundError, yaml.YAMLError) as error:
        raise ValueError(f"{folder}: a model folder needs a readable config.yaml ({error})") from error
    if not isinstance(config, dict):
        raise ValueError(f"{folder}/config.yaml: expected settings by name, found {type(config).__name__}")
    _facts(console, f"Model {folder}", _weights(folder))
    _facts(console, "Settings", dict(_flat(config)))
    card = folder / "MODEL_CARD.md"
    if card.is_file():
        console.print(_summary(card.read_text(encoding="utf-8")), markup=False)
    else:
        console.print(f"no MODEL_CARD.md: nothing says how far {folder} can be trusted", markup=False)


def _weights(folder: Path) -> dict[str, str]:
    """Parameters by the first part of their name, without loading them."""
    from collections import Counter
    from math import prod

    from safetensors import SafetensorError, safe_open

    from sana_wm_ros.world_model.weight_files import weight_files

    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    notes: dict[str, str] = {}
    paths = weight_files(folder)
    for path in paths:
        try:
            with safe_open(path, framework="numpy") as file:
                for name in file.keys():  # noqa: SIM118  (not a mapping)
                    tensor = file.get_slice(name)
                    size = prod(tensor.get_shape())
                    counts[name.split(".")[0]] += size
                    kinds[str(tensor.get_dtype())] += size
                notes |= file.metadata() or {}
        except SafetensorError as error:
            raise ValueError(f"{path}: not a whole safetensors file ({error}); copy it again") from error
    sizes = [path.stat().st_size / 1e6 for path in paths]
    parts = f" in {len(paths)} files, the largest of {max(sizes):.1f} MB" if len(paths) > 1 else ""
    facts = {"weights": f"{sum(sizes):.1f} MB{parts}, {', '.join(kinds)}"}
    facts["parameters"] = f"{sum(counts.values()) / 1e6:.2f} M"
    facts.update({f"  in {part}": f"{count / 1e6:.2f} M" for part, count in counts.most_common(8)})
    return {**facts, **notes}


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _summary(card: str) -> str:
    """The first paragraph below the card's front matter and title."""
    text = card.split("\n---\n", 1)[1] if card.startswith("---\n") and "\n---\n" in card else card
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n")]
    return next((p for p in paragraphs if p and not p.startswith("#")), "")


def _bag(console: Console, path: Path) -> None:
    from rich.table import Table

    from sana_wm_ros.evaluation.bags import open_bag
    from sana_wm_ros.evaluation.drive import IMAGE_TYPES

    with open_bag(path) as bag:
        table = Table(title=f"Bag {path}: {bag.duration_s:.1f} s", title_justify="left")
        for heading, justify in (("topic", "left"), ("type", "left"), ("messages", "right"), ("Hz", "right")):
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for topic in bag.topics:
            rate = f"{topic.count / bag.duration_s:.1f}" if bag.duration_s > 0 else "-"
            table.add_row(topic.name, topic.msgtype, str(topic.count), rate)
        wanted = {
            "pictures": (IMAGE_TYPES, "none: the planner needs a camera"),
            "odometry": (("nav_msgs/msg/Odometry",), "none: the planner needs odometry"),
            "intrinsics": (("sensor_msgs/msg/CameraInfo",), "none: give the field of view by parameter"),
            "goal": (("geometry_msgs/msg/PoseStamped",), "none: the end of the recorded drive serves as one"),
            "scan": (("sensor_msgs/msg/LaserScan",), "none: imagined clearance alone decides"),
        }
        used = {}
        for what, (types, otherwise) in wanted.items():
            found = bag.find(types)
            used[what] = f"{found.name} ({found.count})" if found else otherwise
    console.print(table)
    _facts(console, "What the planner would use", used)


def _facts(console: Console, title: str, facts: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in facts.items():
        table.add_row(name, str(value))
    console.print(table)
