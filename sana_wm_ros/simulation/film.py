"""A film of a simulated drive from its bags: what the camera saw, the building from above, what was imagined.

Everything is read back from what was recorded, so the film shows what happened and nothing else.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.highlevel import AnyReader

from sana_wm_ros.geometry import se2
from sana_wm_ros.geometry.se3 import yaw_from_quaternion
from sana_wm_ros.simulation.floor_plan import FloorPlan

FloatArray = NDArray[np.float64]
Picture = NDArray[np.uint8]

_WIDTH, _VIEW_HEIGHT, _STRIP_HEIGHT, _TITLE = 960, 384, 110, 34
_MAP = 384
_INK, _PAPER = (40, 40, 40), (250, 249, 246)
_PLAN_RGB, _TRAIL_RGB, _ROBOT_RGB, _GOAL_RGB = (0, 110, 200), (120, 120, 120), (20, 20, 20), (200, 30, 60)
_SUPERSAMPLED = 2


@dataclass(kw_only=True)
class Track:
    """What was said on one topic: stamps in seconds, in order, and the values."""

    times: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def at(self, time_s: float) -> Any:
        """The newest value then, or None."""
        index = bisect_right(self.times, time_s + 1e-6) - 1
        return self.values[index] if index >= 0 else None

    def add(self, time_s: float, value: Any) -> None:
        self.times.append(time_s)
        self.values.append(value)


def write_film(
    path: Path,
    bags: list[Path],
    plan: FloorPlan,
    *,
    radius_m: float,
    fps: float = 10.0,
    on_frame: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Write the film, one frame per picture of the camera; ``.gif`` at ``path``'s place where mp4 can't be made.

    Raises ``ValueError`` when the bags hold no pictures or no true poses.
    """
    tracks = _read(bags)
    pictures = tracks["image"]
    if not pictures.values or not tracks["true_pose"].values:
        raise ValueError(f"{', '.join(map(str, bags))}: no pictures or no true poses; nothing can be shown")
    chart = _Chart(plan, radius_m)
    total = len(pictures.times)

    def frames() -> Any:
        for index, time_s in enumerate(pictures.times):
            yield _compose(chart, tracks, time_s, time_s - pictures.times[0])
            on_frame(index + 1, total)

    return _write(path, frames(), fps)


def write_mp4(path: Path, frames: Iterable[NDArray[np.uint8]], fps: float, size: tuple[int, int]) -> bool:
    """RGB frames of a size (width, height) as a film; false, with no frame taken, where this OpenCV writes none."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
    if not writer.isOpened():
        return False
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return True


def _write(path: Path, frames: Any, fps: float) -> Path:
    if write_mp4(path, frames, fps, (_WIDTH, _TITLE + _VIEW_HEIGHT + _STRIP_HEIGHT)):
        return path
    from PIL import Image

    gif = path.with_suffix(".gif")
    images = [Image.fromarray(frame) for frame in list(frames)[::2]]
    images[0].save(gif, save_all=True, append_images=images[1:], duration=round(2000 / fps), loop=0)
    return gif


def _read(bags: list[Path]) -> dict[str, Track]:
    tracks = {name: Track() for name in _READ}
    seen: set[str] = set()
    for bag in bags:
        with AnyReader([bag]) as reader:
            chosen = []
            for connection in reader.connections:
                name = connection.topic.rpartition("/")[2]
                if name in tracks and connection.topic not in seen:
                    chosen.append(connection)
            seen |= {connection.topic for connection in chosen}
            for connection, recorded_ns, raw in reader.messages(connections=chosen):
                name = connection.topic.rpartition("/")[2]
                message = reader.deserialize(raw, connection.msgtype)
                value = _READ[name](message)
                if value is not None:
                    tracks[name].add(recorded_ns * 1e-9, value)
    return tracks


def _pose_3(pose: Any) -> FloatArray:
    q = pose.orientation
    return np.array([pose.position.x, pose.position.y, yaw_from_quaternion((q.x, q.y, q.z, q.w))])


def _rgb(message: Any) -> Picture:
    return np.asarray(message.data, dtype=np.uint8).reshape(message.height, message.width, 3)


def _motion(message: Any) -> str | None:
    """Why the robot stands, or that it drives, as the planner says it."""
    found = [status.message for status in message.status if status.name.endswith(": motion")]
    return found[0] if found else None


_READ: dict[str, Callable[[Any], Any]] = {
    "image": _rgb,
    "film_strip": _rgb,
    "true_pose": lambda message: _pose_3(message.pose),
    "odom": lambda message: _pose_3(message.pose.pose),
    "contact": lambda message: bool(message.data),
    "plan": lambda message: np.array([(p.pose.position.x, p.pose.position.y, 0.0) for p in message.poses]),
    "goal_pose": lambda message: np.array([message.pose.position.x, message.pose.position.y, 0.0]),
    "movers": lambda message: np.array([(p.position.x, p.position.y) for p in message.poses]).reshape(-1, 2),
    "diagnostics": _motion,
}


class _Chart:
    """The building from above, drawn once, and what moves on it."""

    def __init__(self, plan: FloorPlan, radius_m: float) -> None:
        bounds = plan.bounds
        self._radius_m, self._movers = radius_m, plan.movers
        self._size = _MAP * _SUPERSAMPLED
        self._scale = 0.94 * self._size / max(bounds.width, bounds.depth)
        self._middle_2 = np.array(bounds.center)
        canvas = np.full((self._size, self._size, 3), _PAPER, np.uint8)
        for room, colour in zip(plan.rooms, plan.floors, strict=True):
            tint = tuple(0.45 * 255 * value + 0.55 * 255 for value in colour)
            corners = self.pixels(np.array([(room.x0, room.y0), (room.x1, room.y1)]))
            cv2.rectangle(canvas, corners[0].tolist(), corners[1].tolist(), tint, -1)
        for solid in plan.solids:
            if not solid.blocks:
                continue
            colour = tuple(255 * value for value in solid.rgb)
            if solid.shape == "box":
                cos, sin = np.cos(solid.yaw), np.sin(solid.yaw)
                signs = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * solid.half[:2]
                corners = np.array(solid.center[:2]) + signs @ np.array([[cos, sin], [-sin, cos]])
                cv2.fillConvexPoly(canvas, self.pixels(corners), colour, cv2.LINE_AA)
            else:
                center = self.pixels(np.array([solid.center[:2]]))[0].tolist()
                cv2.circle(canvas, center, round(solid.half[0] * self._scale), colour, -1, cv2.LINE_AA)
        self._empty = canvas

    def pixels(self, points_P2: FloatArray) -> NDArray[np.int32]:
        """Pixels (column, row) of points in the building; north is up."""
        away_P2 = (points_P2 - self._middle_2) * (self._scale, -self._scale) + self._size / 2
        return np.asarray(np.rint(away_P2), np.int32)

    def draw(
        self,
        trail_T3: FloatArray,
        plan_P3: FloatArray | None,
        goal_3: FloatArray | None,
        movers_M2: FloatArray | None,
        touching: bool,
    ) -> Picture:
        """The robot at the trail's end, its plan and its goal, people and carts; red where it touches something."""
        canvas = self._empty.copy()
        if movers_M2 is not None:
            for mover, place_2 in zip(self._movers, movers_M2, strict=False):
                center = self.pixels(place_2[None])[0].tolist()
                colour = tuple(255 * value for value in mover.rgb)
                cv2.circle(canvas, center, round(mover.radius_m * self._scale), colour, -1, cv2.LINE_AA)
                cv2.circle(canvas, center, round(mover.radius_m * self._scale), _INK, 2, cv2.LINE_AA)
        if goal_3 is not None:
            center = self.pixels(goal_3[None, :2])[0].tolist()
            cv2.circle(canvas, center, round(0.3 * self._scale), _GOAL_RGB, 3, cv2.LINE_AA)
            cv2.drawMarker(canvas, center, _GOAL_RGB, cv2.MARKER_CROSS, 18, 3, cv2.LINE_AA)
        cv2.polylines(canvas, [self.pixels(trail_T3[:, :2])], False, _TRAIL_RGB, 3, cv2.LINE_AA)
        if plan_P3 is not None:
            cv2.polylines(canvas, [self.pixels(plan_P3[:, :2])], False, _PLAN_RGB, 5, cv2.LINE_AA)
        x, y, yaw = trail_T3[-1]
        here, radius = self.pixels(np.array([[x, y]]))[0].tolist(), round(self._radius_m * self._scale)
        nose_2 = np.array([[x + self._radius_m * np.cos(yaw), y + self._radius_m * np.sin(yaw)]])
        cv2.circle(canvas, here, radius, _GOAL_RGB if touching else _ROBOT_RGB, -1, cv2.LINE_AA)
        cv2.line(canvas, here, self.pixels(nose_2)[0].tolist(), (255, 255, 255), 3, cv2.LINE_AA)
        return np.asarray(cv2.resize(canvas, (_MAP, _MAP), interpolation=cv2.INTER_AREA), np.uint8)


def _compose(chart: _Chart, tracks: dict[str, Track], time_s: float, shown_s: float) -> Picture:
    canvas = np.full((_TITLE + _VIEW_HEIGHT + _STRIP_HEIGHT, _WIDTH, 3), _PAPER, np.uint8)
    view = tracks["image"].at(time_s)
    canvas[_TITLE : _TITLE + _VIEW_HEIGHT, : _WIDTH - _MAP] = _fitted(view, _WIDTH - _MAP, _VIEW_HEIGHT)
    true_3, odom_3 = tracks["true_pose"].at(time_s), tracks["odom"].at(time_s)
    plan_P3, goal_3 = tracks["plan"].at(time_s), tracks["goal_pose"].at(time_s)
    if true_3 is not None:
        if odom_3 is not None:  # plans and goals are in odometry's frame, which drifts
            origin_3 = se2.compose(true_3, se2.inverse(odom_3))
            plan_P3 = None if plan_P3 is None else se2.compose(origin_3, plan_P3)
            goal_3 = None if goal_3 is None else se2.compose(origin_3, goal_3)
        upto = bisect_right(tracks["true_pose"].times, time_s + 1e-6)
        trail_T3 = np.array(tracks["true_pose"].values[:upto])
        touching = bool(tracks["contact"].at(time_s))
        movers_M2 = tracks["movers"].at(time_s)
        chart_picture = chart.draw(trail_T3, plan_P3, goal_3, movers_M2, touching)
        canvas[_TITLE : _TITLE + _MAP, _WIDTH - _MAP :] = chart_picture
    strip = tracks["film_strip"].at(time_s)
    if strip is not None:
        canvas[_TITLE + _VIEW_HEIGHT :] = _fitted(strip, _WIDTH, _STRIP_HEIGHT)
    _title(canvas, tracks, time_s, shown_s, strip is not None)
    return canvas


def _title(canvas: Picture, tracks: dict[str, Track], time_s: float, shown_s: float, imagined: bool) -> None:
    said = tracks["diagnostics"].at(time_s) or ""
    for text, at in ((f"{shown_s:5.1f} s   {said}", (12, 23)), ("seen from above", (_WIDTH - _MAP + 8, 23))):
        cv2.putText(canvas, text[:64], at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)
    note = "imagined: the plan that is driven" if imagined else "nothing imagined yet"
    under = (12, _TITLE + _VIEW_HEIGHT - 10)
    cv2.putText(canvas, note, under, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 3, cv2.LINE_AA)
    cv2.putText(canvas, note, under, cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)


def _fitted(picture: Picture, width: int, height: int) -> Picture:
    """As large as fits, in the middle of a piece of paper."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    kind = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    canvas = np.full((height, width, 3), _PAPER, np.uint8)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    canvas[top : top + size[1], left : left + size[0]] = cv2.resize(picture, size, interpolation=kind)
    return canvas
