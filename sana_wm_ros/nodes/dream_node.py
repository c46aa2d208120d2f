"""The dreamed robot as a node: cmd_vel in; camera, odometry, scan, contact, TF and /clock out, imagined in real time.

A latent frame (half a second) is imagined for the command that is held when imagining must begin so that its first
picture is there in time; meanwhile the pictures of the one before are shown. So a command is seen at work within
half a second and what imagining takes, and nothing waits for the model while it keeps up.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from sana_wm_ros.nodes import command_ear, diagnostics, dream_start, model_loading, robot_topics, settings
from sana_wm_ros.nodes.command_ear import CommandEar
from sana_wm_ros.nodes.robot_process import declared, serve
from sana_wm_ros.nodes.robot_topics import RobotTopics
from sana_wm_ros.nodes.settings import Parameter
from sana_wm_ros.planning.types import Robot
from sana_wm_ros.simulation.dream import MOMENTS_PER_PICTURE, Dream, DreamStart, DreamStep
from sana_wm_ros.world_model.protocol import WorldModel

NAME = "sana_wm_dream"
PARAMETERS = (
    Parameter(name="picture", default="", text="A picture file that the dream begins with."),
    Parameter(name="bag", default="", text="A recording whose first seconds the dream goes on from."),
    Parameter(
        name="context_s",
        default=30.0,
        text="How much of the recording is seen first, s.",
        low=0.0,
        high=600.0,
    ),
    Parameter(name="seed", default=0, text="Seed of what is imagined.", low=0, high=2**31 - 1),
    Parameter(
        name="drive", default="differential", text="What moves it.", choices=("differential", "ackermann")
    ),
    Parameter(
        name="steps", default=0, text="Denoising steps; 0 takes the model's own number.", low=0, high=64
    ),
    Parameter(
        name="contact_probability",
        default=0.5,
        text="The robot touches something where the model is so sure of it.",
        low=0.01,
        high=1.0,
    ),
    Parameter(name="rate", default=1.0, text="Times real time that is aimed at.", low=0.05, high=20.0),
    *(p for p in settings.parameters({}).values() if p.name.startswith(("model.", "camera."))),
    *robot_topics.PARAMETERS,
    *command_ear.PARAMETERS,
)
_SLOW = 0.9
_RECENT = 20


class DreamNode(Node):
    """One robot in one dream. ``run`` dreams, in the thread that calls it and one more, until it is told to end.

    on_step: takes each latent frame once it is told. seconds: after how long it ends by itself.
    Raises ``ValueError`` or ``OSError`` naming the parameter, the model, the picture or the bag at fault.
    """

    def __init__(
        self,
        *,
        on_step: Callable[[DreamStep], None] = lambda step: None,
        seconds: float = math.inf,
        **node_options: Any,
    ) -> None:
        super().__init__(NAME, **node_options)
        self._values = values = declared(self, PARAMETERS)
        self._on_step, self._seconds = on_step, seconds
        self.dream = make_dream(values)
        self._topics, self._ear = RobotTopics(self, values), CommandEar(self, values)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._recent: deque[tuple[float, DreamStep]] = deque(maxlen=_RECENT)

    def run(self, ended: threading.Event) -> None:
        """Dream in real time (times ``rate``), later where the machine is too slow."""
        dream, rate = self.dream, self._values["rate"]
        seen_s = (len(dream.start.frames_THWC) - 1) / dream.model.spec.frame_rate_hz
        self.get_logger().info(f"dreams on from {dream.start.name}, {seen_s:.1f} s of which were seen")
        self._topics.introduce(dream.start.T_base_camera_44)
        stamp = self._topics.stamp(0.0)
        self._topics.tell_motion(stamp, dream.pose_3, (0.0, 0.0))
        self._topics.tell_picture(stamp, dream.picture_HWC, dream.camera)
        with ThreadPoolExecutor(1, "dream") as imagining:
            coming = imagining.submit(dream.step, self._ear.present)
            due_s = time.monotonic()
            while not ended.is_set() and dream.time_s < self._seconds + dream.period_s:
                step = coming.result()
                due_s = max(due_s, time.monotonic())  # too slow: dreamed time gives way
                coming = self._show(step, due_s, ended, imagining)
                due_s += dream.period_s / rate
                self._recent.append((time.monotonic(), step))
                self._on_step(step)
                self._report()

    def _show(
        self, step: DreamStep, begin_s: float, ended: threading.Event, imagining: ThreadPoolExecutor
    ) -> Future[DreamStep]:
        """Say what the step holds, each moment when it is due, and begin the next one in good time."""
        rate, coming = self._values["rate"], None
        for moment, time_s in enumerate(step.times_M):
            due_s = begin_s + (time_s - step.time_s) / rate
            ended.wait(max(0.0, due_s - time.monotonic()))
            left_s = (step.times_M[-1] - time_s) / rate
            if coming is None and left_s <= self._ahead_s:
                coming = imagining.submit(self.dream.step, self._ear.present)
            self._tell(step, moment)
        return coming or imagining.submit(self.dream.step, self._ear.present)

    def _tell(self, step: DreamStep, moment: int) -> None:
        topics = self._topics
        stamp = topics.stamp(float(step.times_M[moment]))
        speed, turn = (float(value) for value in step.twists_M2[moment])
        topics.tell_motion(stamp, step.poses_M3[moment], (speed, turn))
        picture, rest = divmod(moment + 1, MOMENTS_PER_PICTURE)
        if rest == 0:
            topics.tell_picture(stamp, step.pictures_THWC[picture - 1], self.dream.camera)
            topics.tell_contact(step.contact)
            topics.tell_scan(stamp, lambda: step.clearance_at(moment), self.dream.model.spec.max_range_m)

    @property
    def _ahead_s(self) -> float:
        """How long before a step it is begun to be imagined: what the slowest of late ones took, and a little."""
        took = [step.took_s for _, step in self._recent]
        return 1.2 * max(took) + 0.01 if took else self.dream.period_s

    def facts(self) -> dict[str, float]:
        """How well it keeps up, over the last ten seconds: what ``/diagnostics`` tell."""
        if len(self._recent) < 2:
            return {}
        (first_s, _), (last_s, newest) = self._recent[0], self._recent[-1]
        dreamed_s = newest.time_s - self._recent[0][1].time_s
        took = [step.took_s for _, step in self._recent]
        period_s = self.dream.period_s
        return {
            "real-time factor": dreamed_s / (last_s - first_s),
            "pictures (1/s)": dreamed_s / (last_s - first_s) * self.dream.model.spec.frame_rate_hz,
            "imagining half a second (s)": float(np.median(took)),
            # A command waits for the next step to be begun, then until that step's first picture.
            "command to first picture, mean (s)": 0.5 * period_s
            + self._ahead_s
            + period_s / len(newest.pictures_THWC),
            "dreamed (s)": newest.time_s + period_s,
            "contacts": float(self.dream.contacts),
            "contact probability": newest.probability,
            "uncertainty": newest.uncertainty,
        }

    def _report(self) -> None:
        facts = self.facts()
        if not facts or not self.context.ok():
            return
        factor = facts["real-time factor"]
        late = factor < _SLOW * self._values["rate"]
        words = f"{factor:.2f} x real time" + (": this machine is too slow for this model" if late else "")
        level = diagnostics.WARN if late else diagnostics.OK
        values: dict[str, object] = {**facts, "commands that were not finite": self._ear.refused}
        status = diagnostics.status(f"{self.get_name()}: dream", level, words, values)
        self._diagnostics.publish(diagnostics.array(self.get_clock().now().to_msg(), [status]))


def make_dream(values: dict[str, Any]) -> Dream:
    """The dream that the node's parameters describe; raises as ``DreamNode`` does."""
    defaults = {parameter.name: parameter.default for parameter in settings.parameters({}).values()}
    grouped = settings.settings_from(defaults | values)
    model = model_loading.load(grouped.model)
    return Dream(
        model,
        begin(values["picture"], values["bag"], model, grouped.camera, values["context_s"]),
        robot=Robot(drive=values["drive"]),
        seed=values["seed"],
        contact_probability=values["contact_probability"],
        denoising=values["steps"] or None,
    )


def begin(
    picture: str, bag: str, model: WorldModel, camera: settings.CameraSettings, context_s: float
) -> DreamStart:
    """The start that a picture or a bag gives; ``ValueError`` where neither or both are named."""
    if bool(picture) == bool(bag):
        both = f"both are given (picture {picture}, bag {bag})" if picture else "neither is given"
        raise ValueError(f"a dream begins with a picture or with a bag: {both}; give one")
    if picture:
        return dream_start.from_picture(Path(picture), model.spec, camera)
    return dream_start.from_bag(Path(bag), model.spec, camera, context_s)


def main(args: list[str] | None = None) -> int:
    """Dream until told to end; 0, or 1 when it cannot begin (the log says why)."""
    return serve(DreamNode, NAME, args)


if __name__ == "__main__":
    sys.exit(main())
