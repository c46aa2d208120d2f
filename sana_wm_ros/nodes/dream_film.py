"""A dream as a film: what the camera dreams, and the robot from above with what it thinks is free around it."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.evaluation.film_strip import FilmRow, enlarge, film_strip, seconds_label
from sana_wm_ros.geometry.se2 import FloatArray
from sana_wm_ros.simulation.dream import MOMENTS_PER_PICTURE, Dream, DreamStep
from sana_wm_ros.simulation.film import write_mp4

Picture = NDArray[np.uint8]

_PAPER, _INK = (250, 249, 246), (40, 40, 40)
_SEEN, _DREAMED, _FREE, _TOUCHED = (165, 165, 160), (0, 110, 200), (214, 230, 242), (200, 30, 60)
_MAP_M = 10.0
_SUPERSAMPLED = 2
SUFFIXES = (".mp4", ".gif", ".webp")


class DreamFilm:
    """Collects frames of a dream. scale: how many times pictures are enlarged."""

    def __init__(self, dream: Dream, scale: int = 3) -> None:
        self._rate_hz = dream.model.spec.frame_rate_hz
        self._seen_P2, self._scale = dream.start.poses_T3[:, :2], scale
        self._trail: list[FloatArray] = [dream.pose_3]
        self.frames: list[Picture] = []
        self.pictures: list[Picture] = []

    def take(self, step: DreamStep) -> None:
        """The pictures of one latent frame, each with the robot where it is then."""
        for index, picture_HWC in enumerate(step.pictures_THWC):
            moment = (index + 1) * MOMENTS_PER_PICTURE - 1
            self._trail.append(step.poses_M3[moment])
            width, height = (self._scale * size for size in (picture_HWC.shape[1], picture_HWC.shape[0]))
            view = enlarge(picture_HWC, width, height).copy()
            _write(view, f"dreamed {seconds_label(round(float(step.times_M[moment]), 1))}", (8, height - 10))
            if step.contact:
                cv2.rectangle(view, (0, 0), (width - 1, height - 1), _TOUCHED, 6)
                _write(view, "contact", (width - 80, height - 10))
            chart = self._chart(height, step.clearance_at(moment), step.contact)
            self.frames.append(np.concatenate([view, chart], axis=1))
            self.pictures.append(picture_HWC)

    def save(self, path: Path) -> Path:
        """Write an mp4, or an animated gif or webp, by the path's ending; ``ValueError`` for another one."""
        check_film_name(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".mp4":
            height, width = self.frames[0].shape[:2]
            if not write_mp4(path, self.frames, self._rate_hz, (width, height)):
                raise ValueError(f"{path}: this OpenCV writes no mp4; name a .gif or .webp")
            return path
        from PIL import Image

        images = [Image.fromarray(frame) for frame in self.frames]
        more = {"quality": 60, "method": 4} if path.suffix == ".webp" else {}
        images[0].save(
            path,
            save_all=True,
            append_images=images[1:],
            duration=round(1000 / self._rate_hz),
            loop=0,
            **more,
        )
        return path

    def strip(self, columns: int = 8, rows: int = 3) -> Picture:
        """Moments from the first to the last, in reading order."""
        picks = np.linspace(0, len(self.pictures) - 1, columns * rows).round().astype(int)
        shown = [
            FilmRow(
                label="dreamed",
                frames=[self.pictures[i] for i in picks[row * columns : (row + 1) * columns]],
                notes=[
                    seconds_label(round((i + 1) / self._rate_hz, 1))
                    for i in picks[row * columns : (row + 1) * columns]
                ],
            )
            for row in range(rows)
        ]
        return film_strip(shown, [""] * columns, tile_width=144)

    def _chart(self, size: int, clearance_K: FloatArray, touched: bool) -> Picture:
        """Ten metres around the robot, north up: ways that were seen and dreamed, imagined clearance."""
        full, here_3 = size * _SUPERSAMPLED, self._trail[-1]
        scale = full / _MAP_M
        canvas = np.full((full, full, 3), _PAPER, np.uint8)

        def pixels(points_P2: FloatArray) -> NDArray[np.int32]:
            return np.rint((points_P2 - here_3[:2]) * (scale, -scale) + full / 2).astype(np.int32)

        bearings_K = here_3[2] + 2 * math.pi * np.arange(len(clearance_K)) / len(clearance_K)
        rays_K2 = np.stack([np.cos(bearings_K), np.sin(bearings_K)], axis=1)
        cv2.fillPoly(canvas, [pixels(here_3[:2] + clearance_K[:, None] * rays_K2)], _FREE, cv2.LINE_AA)
        cv2.polylines(canvas, [pixels(self._seen_P2)], False, _SEEN, 4, cv2.LINE_AA)
        cv2.polylines(canvas, [pixels(np.array(self._trail)[:, :2])], False, _DREAMED, 4, cv2.LINE_AA)
        middle, radius = (full // 2, full // 2), round(0.2 * scale)
        nose = pixels(here_3[None, :2] + 0.35 * np.array([[math.cos(here_3[2]), math.sin(here_3[2])]]))[0]
        cv2.circle(canvas, middle, radius, _TOUCHED if touched else _INK, -1, cv2.LINE_AA)
        cv2.line(canvas, middle, (int(nose[0]), int(nose[1])), _INK, 4, cv2.LINE_AA)
        return np.asarray(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def check_film_name(path: Path) -> None:
    """Refuse an ending that no film can be written for, before a minute was dreamed."""
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: films are written as {', '.join(SUFFIXES)}")


def _write(picture_HWC: Picture, text: str, at: tuple[int, int]) -> None:
    for colour, width in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(picture_HWC, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, width, cv2.LINE_AA)
