"""package.xml, setup.py, the lock files and the folder agree with each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import sana_wm_ros
from sana_wm_ros.planning.critics import SHIPPED

LARGEST_FILE_MB = 40
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
ROS = {"ament_index_python", "launch", "launch_ros", "rclpy", "std_srvs", "tf2_ros"}
# Imported under guard where an installed ROS 2 has them.
NOT_ON_PYPI = {"composition_interfaces"}
# What some evaluations need, or a text encoder on one machine once: too much to pin for all.
UNLOCKED_EXTRAS = {"eval", "ray", "sana_wm"}
# Modules whose distribution on PyPI has another name.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "backports": "backports.zstd",
    "cv2": "opencv-python-headless",
    "yaml": "PyYAML",
}
NEWER_STDLIB = {"compression"}  # 3.14


@pytest.fixture(scope="module")
def manifest(checkout: Path):
    package = pytest.importorskip("catkin_pkg.package", reason="catkin_pkg (extra dev) reads package.xml")
    return package.parse_package(str(checkout / "package.xml"))


@pytest.fixture(scope="module")
def distribution(checkout: Path):
    pytest.importorskip("setuptools", reason="setuptools reads setup.py")
    import distutils.core as core  # setuptools brings it

    return core.run_setup(str(checkout / "setup.py"), stop_after="init")


def pins(checkout: Path, *names: str) -> list[Requirement]:
    lines = [line for name in names for line in (checkout / "requirements" / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def imports(checkout: Path, *folders: str) -> set[str]:
    """Top names of all modules that the code in these folders imports."""
    names = set()
    for path in (path for folder in folders for path in (checkout / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names


def is_ros(name: str) -> bool:
    return name in ROS or name.endswith(("_msgs", "_interfaces"))


def normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def test_package_xml_follows_format_3_and_names_a_reachable_maintainer(manifest) -> None:
    warnings: list[str] = []
    manifest.validate(warnings=warnings)
    assert not warnings
    assert manifest.package_format == 3
    assert [export.content for export in manifest.exports] == ["ament_python"]
    assert all("@" in person.email for person in manifest.maintainers)


def test_one_version_everywhere(manifest, distribution) -> None:
    assert manifest.version == distribution.metadata.version == sana_wm_ros.__version__


def test_the_installed_metadata_is_that_of_this_checkout() -> None:
    assert version("sana_wm_ros") == sana_wm_ros.__version__


def test_package_xml_names_every_ros_package_that_the_code_imports(checkout: Path, manifest) -> None:
    declared = {dependency.name for dependency in manifest.exec_depends}
    assert {name for name in imports(checkout, "sana_wm_ros", "launch") if is_ros(name)} <= declared


def test_setup_py_names_every_library_that_the_code_imports(checkout: Path, distribution) -> None:
    extras = distribution.extras_require
    asked = [*distribution.install_requires, *(line for lines in extras.values() for line in lines)]
    declared = {normal(Requirement(line).name) for line in asked}
    known = {
        *sys.stdlib_module_names,
        *NEWER_STDLIB,
        "sana_wm_ros",
        *(path.name for path in (checkout / "examples").iterdir()),
        *(path.stem for path in (checkout / "test").rglob("*.py")),
    }
    used = {
        name for name in imports(checkout, "sana_wm_ros", "test") if name not in known and not is_ros(name)
    }
    used -= NOT_ON_PYPI | {"triton"}  # triton comes with torch
    assert {normal(DISTRIBUTIONS.get(name, name)) for name in used} <= declared


def test_every_launch_config_and_model_file_is_installed(checkout: Path, distribution) -> None:
    installed = {name for _, names in distribution.data_files for name in names}
    there = {
        str(path.relative_to(checkout))
        for folder in ("launch", "config", "models", "demo", "resource")
        for path in (checkout / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there | {"package.xml"} == installed
    targets = dict(distribution.data_files)
    assert targets["share/ament_index/resource_index/packages"] == ["resource/sana_wm_ros"]


def test_every_package_folder_is_installed(checkout: Path, distribution) -> None:
    folders = {path.parent.relative_to(checkout) for path in (checkout / "sana_wm_ros").rglob("*.py")}
    assert {str(folder).replace("/", ".") for folder in folders} == set(distribution.packages)


@pytest.mark.parametrize("script", ["planner_node", "replay_node", "simulator_node", "dream_node", "sana_wm"])
def test_every_executable_leads_to_a_function(distribution, script: str) -> None:
    lines = dict(line.split(" = ") for line in distribution.entry_points["console_scripts"])
    assert callable(EntryPoint(name=script, value=lines[script], group="console_scripts").load())


def test_every_critic_is_found_by_its_entry_point(distribution) -> None:
    declared = set(distribution.entry_points["sana_wm_ros.critics"])
    assert declared == {f"{name} = {place}" for name, place in SHIPPED.items()}
    found = {entry.name: entry for entry in entry_points(group="sana_wm_ros.critics")}
    assert set(SHIPPED) <= set(found), "install the package again: pip install --editable ."
    assert all(callable(found[name].load().score) for name in SHIPPED)


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_files_pin_each_package_once_for_every_python(checkout: Path, python: str) -> None:
    machine = {"python_version": python, "python_full_version": f"{python}.1", "platform_machine": "x86_64"}
    names = [
        normal(pin.name)
        for pin in pins(checkout, "base.lock", "ros.lock")
        if pin.marker is None or pin.marker.evaluate(machine)
    ]
    assert len(names) == len(set(names))
    assert all(str(pin.specifier).startswith("==") for pin in pins(checkout, "base.lock", "ros.lock"))


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_files_fulfil_what_setup_py_asks_for(checkout: Path, distribution, python: str) -> None:
    machine = {"python_version": python, "python_full_version": f"{python}.1", "platform_machine": "x86_64"}
    locked = {
        normal(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins(checkout, "base.lock", "ros.lock")
        if pin.marker is None or pin.marker.evaluate(machine)
    }
    asked = [
        *distribution.install_requires,
        *(
            line
            for name, extra in distribution.extras_require.items()
            if name not in UNLOCKED_EXTRAS
            for line in extra
        ),
    ]
    for requirement in map(Requirement, asked):
        if requirement.marker is None or requirement.marker.evaluate(machine):
            assert requirement.specifier.contains(locked[normal(requirement.name)]), (
                f"make lock: {requirement}"
            )


def test_every_model_folder_has_weights_a_config_and_a_card(checkout: Path) -> None:
    for folder in sorted(path for path in (checkout / "models").glob("*") if path.is_dir()):
        names = {path.name for path in folder.iterdir()}
        assert {"MODEL_CARD.md", "config.yaml", "model.safetensors"} <= names, folder.name


def test_no_file_is_too_large_for_a_clone(checkout: Path) -> None:
    try:
        listing = subprocess.run(
            ["git", "ls-files", "-z"], cwd=checkout, capture_output=True, check=True, text=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: nothing says which files belong to it")
    sizes = {
        name: (checkout / name).stat().st_size / 1e6
        for name in listing.stdout.split("\0")
        if (checkout / name).is_file()
    }
    assert {name: size for name, size in sizes.items() if size > LARGEST_FILE_MB} == {}
