"""Each room of the package knows only the rooms to its right, and only ``nodes`` knows ROS."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "sana_wm_ros"
# What a room of the package may import beside itself and the modules at the package's root.
BELOW = {
    "geometry": set(),
    "world_model": {"geometry"},
    "planning": {"geometry", "world_model"},
    "evaluation": {"geometry", "world_model", "planning"},
    "training": {"geometry", "world_model", "planning"},
    "simulation": {"geometry", "world_model", "planning", "training"},  # writes the episodes it reads
    "nodes": {"geometry", "world_model", "planning", "evaluation", "training", "simulation"},
}
# The episode format is a seam: the simulator writes what training reads.
SEAMS = {("simulation", "sana_wm_ros.training.episodes")}
ROS = {
    "rclpy",
    "cv_bridge",
    "tf2_ros",
    "std_srvs",
    "launch",
    "launch_ros",
    "ament_index_python",
    "builtin_interfaces",
}
HEAVY = {"torch", "numpy", "cv2", "matplotlib", "mujoco", "rosbags", "scipy"}


def imported(source: str, module: str, *, anywhere: bool = True) -> Iterator[str]:
    """Names of the modules that ``source``, the file of ``module``, imports: at once, or ``anywhere``."""
    tree = ast.parse(source)
    for node in ast.walk(tree) if anywhere else _runs_on_import(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*parts, node.module] if node.module else parts)
            yield base
            if base == PACKAGE:  # from sana_wm_ros import planning
                yield from (f"{PACKAGE}.{alias.name}" for alias in node.names)


def _runs_on_import(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            continue
        yield child
        yield from _runs_on_import(child)


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 and parts[1] in {*BELOW, "cli"} else None


def is_ros(module: str) -> bool:
    top = module.split(".")[0]
    return top in ROS or top.endswith(("_msgs", "_interfaces"))


def broken_rules(source: str, module: str) -> list[str]:
    """What ``source`` imports against the rules, one sentence each."""
    room = room_of(module)
    broken = []
    for name in imported(source, module):
        other = room_of(name)
        if room in BELOW and other not in {None, room, *BELOW[room]} and (room, name) not in SEAMS:
            broken.append(f"{module} imports {name}: {room} may know only {sorted(BELOW[room]) or 'itself'}")
        if room != "nodes" and is_ros(name):
            broken.append(f"{module} imports {name}: only nodes may know ROS")
        if name.split(".")[0] == "triton" and not module.startswith(f"{PACKAGE}.world_model.kernels"):
            broken.append(f"{module} imports {name}: Triton stays inside world_model.kernels")
    if room == "cli":
        for name in imported(source, module, anywhere=False):
            if name.split(".")[0] in HEAVY or room_of(name) in BELOW:
                broken.append(
                    f"{module} imports {name} at once: verbs import what they need inside their function"
                )
    return broken


def modules(checkout: Path) -> list[Path]:
    return sorted((checkout / PACKAGE).rglob("*.py"))


def test_every_room_imports_only_what_it_may(checkout: Path) -> None:
    broken = []
    for path in modules(checkout):
        parts = path.relative_to(checkout).with_suffix("").parts
        broken += broken_rules(path.read_text(encoding="utf-8"), ".".join(parts))
    assert not broken, "\n".join(broken)


def test_every_folder_with_code_is_a_room_of_the_design(checkout: Path) -> None:
    folders = {
        path.relative_to(checkout).parts[1]
        for path in modules(checkout)
        if len(path.relative_to(checkout).parts) > 2
    }
    assert folders == {*BELOW, "cli"}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sana_wm_ros.geometry.se2", "from sana_wm_ros.planning.types import Plan"),
        ("sana_wm_ros.geometry.se2", "from ..planning.types import Plan"),
        ("sana_wm_ros.geometry.se2", "from sana_wm_ros import planning"),
        ("sana_wm_ros.world_model.state", "def f():\n    import sana_wm_ros.nodes.planner_node"),
        ("sana_wm_ros.training.loop", "import sana_wm_ros.simulation.simulator"),
        ("sana_wm_ros.planning.follower", "from geometry_msgs.msg import Twist"),
        ("sana_wm_ros.cli.info", "def info():\n    import rclpy"),
        ("sana_wm_ros.cli.info", "import torch"),
        ("sana_wm_ros.cli.info", "from sana_wm_ros.planning.types import Plan"),
        ("sana_wm_ros.world_model.scan", "import triton.language as tl"),
    ],
)
def test_the_rules_catch_what_they_forbid(module: str, source: str) -> None:
    assert broken_rules(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sana_wm_ros.nodes.planner_node", "import rclpy\nfrom sana_wm_ros.planning.types import Plan"),
        ("sana_wm_ros.planning.types", "from sana_wm_ros.world_model.protocol import Rollout"),
        ("sana_wm_ros.planning.optimiser", "from .types import Plan"),
        (
            "sana_wm_ros.cli.train",
            "def train():\n    import torch\n    from sana_wm_ros.training import loop",
        ),
        ("sana_wm_ros.world_model.kernels.scan", "import triton"),
        ("sana_wm_ros.evaluation.report", "from sana_wm_ros.resources import share_path"),
    ],
)
def test_the_rules_allow_what_the_design_allows(module: str, source: str) -> None:
    assert not broken_rules(source, module)
