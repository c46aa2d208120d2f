"""The planner's parameters and topics for a recording; knows no ROS, so that offline runs use the same."""

from __future__ import annotations

from collections.abc import Sequence

import yaml

from sana_wm_ros.evaluation.bag_facts import COMPRESSED, BagFacts
from sana_wm_ros.nodes.settings import Settings, parameters, settings_from
from sana_wm_ros.planning.types import Robot


def planner_setup(
    facts: BagFacts, *, model: str, robot_speed_mps: float | None = None
) -> tuple[dict[str, bool | int | float | str], dict[str, str]]:
    """The planner's parameters and topic remaps for a recording."""
    parameters: dict[str, bool | int | float | str] = {
        "use_sim_time": True,
        "autostart": True,
        "model.path": model,
        "frames.base": facts.base_frame,
        # The recorded robot goes its own way: being far from the plan is no fault here.
        "command.lost_m": 1000.0,
        "visual.scale": 2,
        "visual.film_frames": 10,
    }
    speed = robot_speed_mps
    if speed is None and facts.speed_mps > Robot.max_speed_mps:
        speed = round(1.1 * facts.speed_mps, 3)
    if speed is not None:
        parameters["robot.max_speed_mps"] = speed
        parameters["robot.max_acceleration_mps2"] = max(Robot.max_acceleration_mps2, speed)
    if facts.yaw_rate_radps > Robot.max_yaw_rate_radps:
        parameters["robot.max_yaw_rate_radps"] = round(1.1 * facts.yaw_rate_radps, 3)
    if facts.camera_xyz_rpy is not None:
        parameters["camera.from_tf"] = False
        names = ("x", "y", "z", "roll", "pitch", "yaw")
        parameters |= {f"camera.{n}": round(v, 6) for n, v in zip(names, facts.camera_xyz_rpy, strict=True)}
    remaps = {"cmd_vel": "/replay/cmd_vel"}
    for role, topic in facts.topics.items():
        name = "image/compressed" if role == "image" and topic.msgtype == COMPRESSED else role
        remaps[name] = topic.name
    return parameters, remaps


def offline_settings(
    facts: BagFacts,
    critic_weights: dict[str, float],
    *,
    model: str,
    robot_speed_mps: float | None = None,
    overrides: Sequence[str] = (),
) -> tuple[Settings, dict[str, float]]:
    """The settings with which the node would replay a recording, and the critics' weights.

    overrides: more parameters as ``name:=value``. ``ValueError`` names one that is unknown or out of range.
    """
    known = parameters(critic_weights)
    values = {name: parameter.default for name, parameter in known.items()}
    chosen, _ = planner_setup(facts, model=model, robot_speed_mps=robot_speed_mps)
    chosen.pop("use_sim_time")
    for word in overrides:
        name, _, text = word.partition(":=")
        chosen[name] = yaml.safe_load(text)
    for name, value in chosen.items():
        if name not in known:
            raise ValueError(f"the planner has no parameter {name!r}; config/planner.yaml lists them")
        values[name] = known[name].check(value)
    weights = {critic: float(values[f"critics.{critic}.weight"]) for critic in critic_weights}
    return settings_from(values), weights
