"""What people look at: imagined ways as markers, the best one as video and film strip, its clearance as a scan.

Pictures are decoded only while somebody subscribes, in a thread of its own, so that looking costs
plans nothing but processor time.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from std_msgs.msg import ColorRGBA
from visualization_msgs.msg import Marker, MarkerArray

from sana_wm_ros.evaluation.colours import CONTACT_RGB, FAINT_ALPHA, cost_colours
from sana_wm_ros.evaluation.film_strip import FilmRow, enlarge
from sana_wm_ros.evaluation.film_strip import film_strip as draw_film_strip
from sana_wm_ros.nodes.conversions import to_duration
from sana_wm_ros.planning.types import FloatArray, Futures, PlanResult
from sana_wm_ros.world_model.protocol import WorldModel

_CONTACT_PROBABILITY = 0.5
_TRUST_RGB = (240, 196, 25)
_SCAN_RGB = (76, 155, 232)  # as ~/imagined/scan in the .rviz files
_PLAY_SPEED = 4.0  # a minute of imagination plays in a quarter of one
_STRIP_PAUSE_S = 4.0  # decoding takes time from planning where both share a processor


@dataclass(frozen=True, kw_only=True)
class ImaginedWay:
    """One candidate: the poses it asks for (F, 3), contact probability as far as it was imagined, at most (F,)."""

    row: int
    origin: str
    poses_F3: FloatArray
    contact_F: FloatArray
    cost: float


def ways(result: PlanResult) -> list[ImaginedWay]:
    """All candidates, the best first; those that stayed in the race as far as they got."""
    if result.futures is None or result.costs_N is None:
        return []
    proposed = result.futures.proposed or result.futures.candidates
    found: dict[int, ImaginedWay] = {}
    parts = [(result.futures, np.arange(len(result.futures.candidates)))]
    if result.finalists is not None and result.finalist_index is not None:
        parts.append((result.finalists, result.finalist_index))
    if result.explained is not None:
        parts.append((result.explained[1], np.array([result.explained[0]])))
    for futures, rows in parts:
        contact_NF = futures.rollout.collision_NF.float().cpu().numpy()
        for place, row in enumerate(rows):
            found[int(row)] = ImaginedWay(
                row=int(row),
                origin=proposed.origins[row],
                poses_F3=proposed.poses_NF3[row],
                contact_F=contact_NF[place],
                cost=float(result.costs_N[row]),
            )
    best = result.best
    return sorted(found.values(), key=lambda way: (way.row != best, not np.isfinite(way.cost), way.cost))


def rollout_markers(
    result: PlanResult,
    *,
    stamp: Any,
    frame_id: str,
    most: int,
    lifetime_s: float = 0.0,
    explained: int = -1,
    scan_s: Sequence[float] = (),
) -> MarkerArray:
    """Candidates coloured as in the report by cost, red where contact is expected; the plan is thick.

    What lies beyond the imagined part is faint. A disc on the plan marks the trust horizon (namespace ``trust``).
    explained: the row that somebody asked about, which is drawn as thick as the plan though it may not be among
    the best ``most``. lifetime_s: for how long they stand when no newer ones come (0: for ever). scan_s: when on the
    way the free space that is imagined there is drawn (namespace ``imagined scan``), as far as it was imagined.
    """
    markers = MarkerArray()
    clear = Marker(action=Marker.DELETEALL)
    clear.header.frame_id, clear.header.stamp = frame_id, stamp
    markers.markers.append(clear)
    shown = shown_ways(result, most, explained)
    colours = cost_colours([way.cost for way in shown])
    for way, colour in zip(shown, colours, strict=True):
        marker = Marker(ns="imagined", id=way.row, type=Marker.LINE_STRIP, action=Marker.ADD)
        marker.header.frame_id, marker.header.stamp = frame_id, stamp
        marker.pose.orientation.w = 1.0
        # RViz draws no text beside a line: it is for readers of the bag, who want the numbers.
        marker.text = json.dumps({"cost": way.cost if np.isfinite(way.cost) else None, "origin": way.origin})
        best = way.row == result.best
        marker.scale.x = 0.05 if best or way.row == explained else 0.015
        height = 0.04 if best else 0.02
        clear_colour = _colour(colour, alpha=1.0 if best else 0.6)
        contact_colour = _colour(CONTACT_RGB, alpha=0.9)
        faint = _colour(colour, alpha=FAINT_ALPHA)
        marker.points = [Point(x=float(x), y=float(y), z=height) for x, y, _ in way.poses_F3]
        imagined = [contact_colour if p > _CONTACT_PROBABILITY else clear_colour for p in way.contact_F]
        marker.colors = imagined + [faint] * (len(marker.points) - len(imagined))
        if len(marker.points) > 1:
            markers.markers.append(marker)
    markers.markers += _trust_markers(result, stamp, frame_id) + _scan_markers(
        result, scan_s, explained, stamp, frame_id
    )
    for marker in markers.markers:
        marker.lifetime = to_duration(lifetime_s)
    return markers


def _trust_markers(result: PlanResult, stamp: Any, frame_id: str) -> list[Marker]:
    """A disc where the plan will be when the trust horizon is reached, and its seconds; none beyond the plan's end."""
    plan, trust_s = result.plan, result.trust_s
    if plan is None or trust_s is None:
        return []
    if trust_s > plan.times_F[-1]:
        return []
    times = np.concatenate([[0.0], plan.times_F])
    poses = np.concatenate([plan.start.pose_3[None], plan.poses_F3])
    x, y = (float(np.interp(trust_s, times, poses[:, axis])) for axis in (0, 1))
    found = []
    for number, kind in enumerate((Marker.CYLINDER, Marker.TEXT_VIEW_FACING)):
        marker = Marker(ns="trust", id=number, type=kind, action=Marker.ADD)
        marker.header.frame_id, marker.header.stamp = frame_id, stamp
        marker.pose.orientation.w = 1.0
        marker.pose.position.x, marker.pose.position.y = x, y
        marker.color = _colour(_TRUST_RGB, alpha=0.9)
        if kind == Marker.CYLINDER:
            marker.pose.position.z = 0.05
            marker.scale.x = marker.scale.y = 0.25
            marker.scale.z = 0.02
        else:
            marker.pose.position.z, marker.scale.z = 0.35, 0.2
            marker.text = f"trusted to {trust_s:.0f} s"
        found.append(marker)
    return found


def _scan_markers(
    result: PlanResult, scan_s: Sequence[float], explained: int, stamp: Any, frame_id: str
) -> list[Marker]:
    """The ends of the imagined rays in the odometry frame, and when that is; farther times are paler."""
    found = imagined_futures(result, explained)
    if found is None:
        return []
    futures, row = found
    times_F = futures.candidates.times_F
    markers: list[Marker] = []
    for time_s in sorted(set(scan_s)):
        if time_s > times_F[-1]:
            break
        frame = int(np.argmin(np.abs(times_F - time_s)))
        x, y, yaw = futures.candidates.poses_NF3[row, frame]
        clearance_K = futures.rollout.clearance_NFK[row, frame].double().cpu().numpy()
        bearings_K = yaw + 2 * np.pi / len(clearance_K) * np.arange(len(clearance_K))
        paler = 1.0 - 0.6 * time_s / max(scan_s)
        points, text = (
            Marker(ns="imagined scan", id=len(markers) + part, type=kind, action=Marker.ADD)
            for part, kind in enumerate((Marker.POINTS, Marker.TEXT_VIEW_FACING))
        )
        for marker in (points, text):
            marker.header.frame_id, marker.header.stamp = frame_id, stamp
            marker.pose.orientation.w = 1.0
            marker.color = _colour(_SCAN_RGB, alpha=paler)
        points.scale.x = points.scale.y = 0.07
        points.points = [
            Point(x=float(x + range_m * np.cos(bearing)), y=float(y + range_m * np.sin(bearing)), z=0.1)
            for range_m, bearing in zip(clearance_K, bearings_K, strict=True)
        ]
        text.pose.position.x, text.pose.position.y, text.pose.position.z = float(x), float(y), 0.3
        text.scale.z, text.text = 0.15, f"+{time_s:g} s"
        markers += [points, text]
    return markers


def _colour(rgb: Sequence[int] | NDArray[np.uint8], *, alpha: float) -> ColorRGBA:
    red, green, blue = (int(channel) / 255.0 for channel in rgb)
    return ColorRGBA(r=red, g=green, b=blue, a=alpha)


def shown_ways(result: PlanResult, most: int, explained: int = -1) -> list[ImaginedWay]:
    """The best ``most`` candidates, and the one that somebody asked about."""
    order = ways(result)
    return order[:most] + [way for way in order[most:] if way.row == explained]


def imagined_futures(result: PlanResult, explained: int = -1) -> tuple[Futures, int] | None:
    """What was imagined for a candidate, as far as it was, and its row there.

    Without one that exists: for the plan, or the cheapest where there is no plan.
    """
    order = ways(result)
    if not order or result.futures is None:
        return None
    row = explained if any(way.row == explained for way in order) else order[0].row
    if result.explained is not None and result.explained[0] == row:
        return result.explained[1], 0
    if result.finalists is not None and result.finalist_index is not None:
        place = np.flatnonzero(result.finalist_index == row)
        if len(place):
            return result.finalists, int(place[0])
    return result.futures, row


def imagined_to_the_end(result: PlanResult, explained: int) -> PlanResult:
    """The same with the candidate that somebody asks about imagined to the end, if it was dropped before.

    That takes the model's time, so call it where the model is free.
    """
    if (
        result.futures is None
        or result.imagine_whole is None
        or not 0 <= explained < len(result.futures.candidates)
    ):
        return result
    proposed = result.futures.proposed or result.futures.candidates
    found = imagined_futures(result, explained)
    if found is None or len(found[0].candidates.times_F) == len(proposed.times_F):
        return result
    return replace(result, explained=(explained, result.imagine_whole(explained)))


def film_strip(
    frames_THWC: NDArray[np.uint8], *, seconds_T: FloatArray, count: int, scale: int
) -> NDArray[np.uint8]:
    """``count`` pictures from first to last, side by side under their seconds."""
    picks = np.unique(np.linspace(0, len(frames_THWC) - 1, count).round().astype(int))
    row = FilmRow(label="imagined", frames=[frames_THWC[i] for i in picks])
    return draw_film_strip(
        [row], [float(seconds_T[i]) for i in picks], tile_width=scale * frames_THWC.shape[2]
    )


def labelled(frame_HWC: NDArray[np.uint8], text: str, scale: int) -> NDArray[np.uint8]:
    """A picture enlarged ``scale`` times with a line of text."""
    size = (frame_HWC.shape[1] * scale, frame_HWC.shape[0] * scale)
    large = np.ascontiguousarray(enlarge(frame_HWC, *size))
    place, font, height = (4, size[1] - 6), cv2.FONT_HERSHEY_SIMPLEX, max(0.3, 0.15 * scale)
    cv2.putText(large, text, place, font, height, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(large, text, place, font, height, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(large, dtype=np.uint8)


class Cinema:
    """Decodes the newest imagined best way and plays it to its end before it looks at a newer one.

    wanted: tells (video, film strip) subscriptions; show_frame and show_strip publish. explained: tells the row of
    the candidate to show in the best one's place, or -1; a film of another one is cut for it.
    """

    def __init__(
        self,
        model: WorldModel,
        *,
        wanted: Callable[[], tuple[bool, bool]],
        show_frame: Callable[[NDArray[np.uint8]], None],
        show_strip: Callable[[NDArray[np.uint8]], None],
        options: Callable[[], tuple[int, int]],
        explained: Callable[[], int],
        say: Callable[[str], object],
    ) -> None:
        self._model, self._wanted, self._say = model, wanted, say
        self._show_frame, self._show_strip, self._options = show_frame, show_strip, options
        self._explained = explained
        self._newest: PlanResult | None = None
        self._wake, self._ended = threading.Event(), threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="cinema", daemon=True)
        self._thread.start()

    def offer(self, result: PlanResult) -> None:
        """The newest outcome; kept only until a newer one comes."""
        if any(self._wanted()):
            self._newest = result
            self._wake.set()

    def close(self) -> None:
        """End; a film that runs is cut."""
        self._ended.set()
        self._wake.set()
        self._thread.join(timeout=10.0)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if self._ended.is_set():
                return
            self._wake.clear()
            result, self._newest = self._newest, None
            if result is None:
                continue
            try:
                self._play(result)
            except Exception as error:  # pictures are for people: they must not stop the robot
                if not self._failed:
                    self._say(f"imagined pictures cannot be shown: {error!r} (said once)")
                self._failed = True

    @torch.inference_mode()
    def _play(self, result: PlanResult) -> None:
        explained = self._explained()
        found = imagined_futures(result, explained)
        if found is None:
            return
        futures, row = found
        known = any(way.row == explained for way in ways(result))
        who = f"candidate {explained}" if known else "imagined"
        frames_THWC = self._model.decode(futures.rollout.latents_NFCHW[row]).cpu().numpy()
        spec = self._model.spec
        seconds_T = np.arange(1, len(frames_THWC) + 1) / spec.frame_rate_hz
        film_frames, scale = self._options()
        video, strip = self._wanted()
        if strip:
            self._show_strip(film_strip(frames_THWC, seconds_T=seconds_T, count=film_frames, scale=scale))
        if not video:
            self._ended.wait(_STRIP_PAUSE_S)
        step = max(1, round(_PLAY_SPEED))
        for index in range(0, len(frames_THWC), step):
            if self._explained() != explained:
                return
            if not self._wanted()[0] or self._ended.wait(step / spec.frame_rate_hz / _PLAY_SPEED):
                return
            self._show_frame(labelled(frames_THWC[index], f"{who} +{seconds_T[index]:.1f} s", scale))


def imagined_clearance(result: PlanResult) -> FloatArray | None:
    """Clearance by sector (K,) at the first imagined frame of the best way, metres."""
    found = imagined_futures(result)
    if found is None:
        return None
    futures, row = found
    return futures.rollout.clearance_NFK[row, 0].double().cpu().numpy()
