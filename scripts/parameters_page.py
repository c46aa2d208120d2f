"""Write docs/parameters.md from the node's own table of parameters: no row in it is typed by hand."""

from __future__ import annotations

import inspect
import sys
from itertools import groupby
from pathlib import Path

from sana_wm_ros.nodes.settings import Parameter, parameters
from sana_wm_ros.planning.critic_manager import available
from sana_wm_ros.planning.types import Critic

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "parameters.md"
TITLES = {
    "autostart": "The node",
    "model": "World model",
    "camera": "Camera",
    "frames": "Frames",
    "context": "Memory",
    "robot": "Robot",
    "planner": "Planner",
    "proposals": "Proposals",
    "goal": "Goals",
    "safety": "Safety",
    "command": "Commands",
    "visual": "What is shown",
    "explain": "Explaining a candidate",
}

HEAD = """# Parameters of the planner node

Made by `make figures` from the node's own table, as is `ros2 param describe`. Defaults stand in
[config/planner.yaml](../config/planner.yaml). A value out of range is refused with the range; *live* ones may change
while the node is active, all others when it is unconfigured. Copy the file, change what differs on your robot, and
give it as `params_file:=my_robot.yaml`.

Start with `camera.*` (unless TF has the camera's place), `robot.*`, `planner.rate_hz` and `model.path`; the rest can
wait.
"""


def page() -> str:
    """The whole page."""
    critics: list[Critic] = [entry.load()() for _, entry in sorted(available().items())]
    table = parameters({critic.name: critic.weight for critic in critics})
    parts = [HEAD]
    for group, found in groupby(table.values(), key=lambda one: one.name.split(".")[0]):
        if group != "critics":
            rows = [f"| `{one.name}` | {_value(one.default)} | {_range(one)} | {one.text} |" for one in found]
            parts.append(_table(TITLES[group], "| parameter | default | accepted | what it does |", rows))
    rows = [
        f"| `critics.{critic.name}.weight` | {critic.weight:g} | {_sentence(critic)} | {_unit(critic)} |"
        for critic in critics
    ]
    words = (
        "Weight of each cost in the sum that picks the plan, live, at least 0; 0 switches one off. Critics of your own "
        "package join by themselves ([writing a critic](write-a-critic.md))."
    )
    parts.append(_table("Critics", "| parameter | default | what it costs | unit |", rows, words))
    return "\n".join(parts)


def _table(title: str, header: str, rows: list[str], words: str = "") -> str:
    line = "|" + "---|" * (header.count("|") - 1)
    return "\n".join([f"## {title}\n", *([words + "\n"] if words else []), header, line, *rows, ""])


def _value(value: object) -> str:
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(parameter: Parameter) -> str:
    text = parameter.expectation
    return f"{text}, live" if parameter.live else text


def _sentence(critic: Critic) -> str:
    return _paragraphs(critic)[0].replace("\n", " ").rstrip(".")


def _unit(critic: Critic) -> str:
    words = " ".join(_paragraphs(critic)[1:]).replace("\n", " ")
    _, _, after = words.partition("Unit: ")
    return after.partition(".")[0].partition(";")[0]


def _paragraphs(critic: Critic) -> list[str]:
    return (inspect.getdoc(type(critic)) or "").split("\n\n")


if __name__ == "__main__":
    if "--check" in sys.argv:
        if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page():
            sys.exit(f"{PAGE.relative_to(ROOT)} is not what the parameters say: run make figures")
    else:
        PAGE.write_text(page(), encoding="utf-8")
        sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")
