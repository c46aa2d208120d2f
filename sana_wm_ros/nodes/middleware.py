"""Which ROS 2 this process would talk through, in words for people."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec


def middleware_facts() -> dict[str, str]:
    """Where rclpy comes from, the middleware under it, and which optional ROS packages are there.

    Never raises: what cannot be imported is reported with the reason.
    """
    facts = {"rclpy": _rclpy()}
    try:
        identifier = import_module("rclpy.utilities").get_rmw_implementation_identifier()
    except Exception as error:  # a broken installation fails in many ways, and all belong into the answer
        identifier = f"not usable: {error}"
    facts["middleware"] = str(identifier)
    facts["domain"] = os.environ.get("ROS_DOMAIN_ID") or "0"
    for name, missing in {
        "cv_bridge": "missing: images cannot be converted",
        "tf2_ros": "missing: camera extrinsics come from parameters",
        "launch_ros": "missing: launch files need an installed ROS 2",
    }.items():
        facts[name] = "there" if find_spec(name) else missing
    return facts


def _rclpy() -> str:
    if find_spec("rclpy") is None:
        return "missing: source a ROS 2 (Jazzy or later), or pip install 'sana_wm_ros[ros]'"
    try:
        return f"{version('ros-rclpy')} from wheels"
    except PackageNotFoundError:
        distribution = os.environ.get("ROS_DISTRO") or "an unknown distribution"
        return f"of the sourced ROS 2 ({distribution})"
