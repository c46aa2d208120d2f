"""Install the package for colcon and for pip: the code, and what belongs into its share folder."""

import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "sana_wm_ros"
ROOT = Path(__file__).resolve().parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8"))[1]
SHARED_FOLDERS = ("launch", "config", "models", "demo")
# The real rclpy and Fast DDS (Kilted) for machines without a ROS 2; the wheels are for x86-64.
ROS_WHEELS = (
    "ros-rclpy==9.1.2",
    "ros-rmw-fastrtps-cpp",
    "ros-builtin-interfaces",
    "ros-diagnostic-msgs",
    "ros-geometry-msgs",
    "ros-lifecycle-msgs",
    "ros-nav-msgs",
    "ros-rcl-interfaces",
    "ros-rosgraph-msgs",
    "ros-sensor-msgs",
    "ros-std-msgs",
    "ros-std-srvs",
    "ros-visualization-msgs",
    "cv-bridge==1.13.0.post0",
)
# The first release with SANA-WM's transformer, against which ours is tested.
DIFFUSERS = 'diffusers==0.42.1; python_version >= "3.11"'

ONNX = ("onnx", "onnxruntime", "onnxscript")

# ATE and RPE; the weights of Ghildyal and Liu's shift-tolerant LPIPS. `sana_wm evaluate` does without and says so.
EVALUATION = ('evo; python_version >= "3.11"', "stlpips-pytorch")
RAY = 'ray; python_version < "3.14"'
TRANSFORMERS = "transformers>=4.51"


def data_files() -> list[tuple[str, list[str]]]:
    """The ament index marker, package.xml and every file under the shared folders, by target folder."""
    found = {
        "share/ament_index/resource_index/packages": [f"resource/{PACKAGE}"],
        f"share/{PACKAGE}": ["package.xml"],
    }
    for folder in SHARED_FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                relative = path.relative_to(ROOT)
                found.setdefault(f"share/{PACKAGE}/{relative.parent}", []).append(str(relative))
    return list(found.items())


setup(
    name=PACKAGE,
    version=VERSION,
    description="Plan with a world model: camera and odometry in, imagined futures, the best plan out.",
    maintainer="sana_wm_ros maintainers",
    maintainer_email="maintainers@sana-wm-ros.example.org",
    license="Apache-2.0",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={f"{PACKAGE}.evaluation": ["*.j2"]},
    data_files=data_files(),
    zip_safe=False,
    python_requires=">=3.10,<3.15",
    install_requires=[
        "setuptools",
        "torch==2.13.0",
        # PyPI's cv-bridge calls ndarray.tostring, gone from numpy 2.3, the first with wheels for 3.14.
        'numpy>=1.26,<2.3; python_version < "3.14"',
        'numpy>=2.3; python_version >= "3.14"',
        # OpenCV 5 changed the channel bits that PyPI's cv-bridge decodes.
        "opencv-python-headless>=4.6,<5",
        'backports.zstd; python_version < "3.14"',
        "jinja2",
        "lz4",
        "matplotlib",
        "pillow",
        "PyYAML",
        "rich",
        "rosbags",
        "safetensors",
        "scipy",
        "transforms3d",
        "typer",
    ],
    extras_require={
        "ros": [f"{wheel}; platform_machine == 'x86_64'" for wheel in ROS_WHEELS],
        "sim": ["mujoco"],
        "eval": [*EVALUATION, "torchmetrics", "torchvision"],
        "ray": [RAY],
        # The published SANA-WM weights: their video autoencoder and, where no embedding file is given, Gemma.
        "sana_wm": [DIFFUSERS, TRANSFORMERS],
        # Models as ONNX programs, and a runtime that they are checked with.
        "export": list(ONNX),
        "dev": [
            "catkin_pkg",
            "codespell",
            DIFFUSERS,
            *EVALUATION,
            "hypothesis",
            "mypy",
            *ONNX,
            "packaging",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            RAY,
            "ruff",
            TRANSFORMERS,
            "types-PyYAML",
            "wheel",
        ],
    },
    entry_points={
        "console_scripts": [
            "planner_node = sana_wm_ros.nodes.planner_node:main",
            "replay_node = sana_wm_ros.nodes.replay_node:main",
            "dream_node = sana_wm_ros.nodes.dream_node:main",
            "simulator_node = sana_wm_ros.nodes.simulator_node:main",
            "sana_wm = sana_wm_ros.cli.main:main",
        ],
        "sana_wm_ros.critics": [
            "goal_pose = sana_wm_ros.planning.critics.goal_pose:GoalPose",
            "progress = sana_wm_ros.planning.critics.progress:Progress",
            "collision = sana_wm_ros.planning.critics.collision:Collision",
            "clearance = sana_wm_ros.planning.critics.clearance:Clearance",
            "smoothness = sana_wm_ros.planning.critics.smoothness:Smoothness",
            "control_effort = sana_wm_ros.planning.critics.control_effort:ControlEffort",
            "uncertainty = sana_wm_ros.planning.critics.uncertainty:Uncertainty",
            "goal_image = sana_wm_ros.planning.critics.goal_image:GoalImage",
            "path_following = sana_wm_ros.planning.critics.path_following:PathFollowing",
            "novelty = sana_wm_ros.planning.critics.novelty:Novelty",
        ],
    },
)
