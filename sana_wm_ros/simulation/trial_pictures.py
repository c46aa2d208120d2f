"""Pictures of navigation trials: paths on the floor plan, and a film of one drive."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from numpy.typing import NDArray

from sana_wm_ros.simulation.drive import DriveConfig, draw_scene, open_simulator
from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.trial_store import POINTS_PER_S, Run
from sana_wm_ros.simulation.trials import Trial

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Rectangle
from matplotlib.transforms import Affine2D

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")


def draw_paths(trial: Trial, runs: Mapping[str, Run], path: Path) -> None:
    """The tour, the shortest way and every group's path on the floor plan, as a PNG."""
    bounds = trial.scene.plan.bounds
    height = 4.6
    figure, axes = plt.subplots(figsize=(height * bounds.width / bounds.depth + 2.6, height), dpi=130)
    _draw_plan(axes, trial.scene.plan)
    axes.plot(*trial.tour_T3[:, :2].T, color="0.75", linewidth=1.0, label=f"tour, {trial.tour_s:.0f} s")
    axes.plot(*trial.way_M2.T, color="black", linewidth=1.0, linestyle=":", label="shortest way")
    for colour, (name, run) in zip(_COLOURS * 4, runs.items(), strict=False):
        label = f"{name}: {run.row['reason']}, {run.row['time_s']:.0f} s"
        axes.plot(*run.path_P3[:, :2].T, color=colour, linewidth=1.6, label=label)
        axes.plot(*run.path_P3[-1, :2], "o", color=colour, markersize=5)
    axes.plot(*trial.tour_T3[-1, :2], "s", color="black", markersize=6, label="start")
    axes.add_patch(Circle(tuple(trial.goal_2), trial.config.success_m, fill=False, color="black"))
    axes.plot(*trial.goal_2, "*", color="black", markersize=9, linestyle="none", label="goal")
    seen = "seen on the tour" if trial.seen else "not seen on the tour"
    doors = "a doorway" if trial.doors == 1 else f"{trial.doors} doorways"
    axes.set_title(f"building {trial.seed}: goal behind {doors}, {seen}", fontsize=9)
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, frameon=False)
    figure.savefig(path, bbox_inches="tight", bbox_extra_artists=[legend], pad_inches=0.08)
    plt.close(figure)


def film(trial: Trial, name: str, run: Run, path: Path, *, speed: float = 4.0) -> None:
    """The drive from above beside what the camera saw, as an MP4."""
    config = DriveConfig(family=trial.config.family, robot=trial.config.robot)
    background, to_pixel = _background(trial)
    height, width = background.shape[:2]
    view = (int(1.5 * height * 0.6), int(height * 0.6))
    size = (width + view[0], height)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), speed * POINTS_PER_S, size)
    if not writer.isOpened():
        raise OSError(f"{path}: OpenCV cannot write a film here")
    with open_simulator(draw_scene(trial.seed, config), config) as simulator:
        points = [to_pixel(pose_3[:2]) for pose_3 in run.path_P3]
        for at, pose_3 in enumerate(run.path_P3):
            picture = np.full((height, size[0], 3), 255, np.uint8)
            picture[:, :width] = background
            line = np.array(points[: at + 1], np.int32).reshape(-1, 1, 2)
            cv2.polylines(picture, [line], False, (178, 114, 0), 2, cv2.LINE_AA)
            cv2.circle(picture, points[at], 6, (0, 94, 213), -1, cv2.LINE_AA)
            simulator.place(pose_3)
            seen = cv2.resize(simulator.look()[..., ::-1], view, interpolation=cv2.INTER_LINEAR)
            picture[: view[1], width:] = seen
            lines = (f"{name}, building {trial.seed}", f"{at / POINTS_PER_S:.1f} s of {run.row['time_s']:.0f} s",
                     f"the end: {run.row['reason']}")  # fmt: skip
            for i, text in enumerate(lines):
                _write(picture, text, (width + 12, view[1] + 30 + 26 * i))
            writer.write(picture)
    writer.release()


def _write(picture: NDArray[np.uint8], text: str, at: tuple[int, int]) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_DUPLEX, 0.55, (40, 40, 40), 1, cv2.LINE_AA)


def _draw_plan(axes: Axes, plan: FloorPlan) -> None:
    for solid in plan.solids:
        if not solid.blocks:
            continue
        x, y = solid.center[:2]
        wall = solid.kind != "furniture"
        style = {"facecolor": "0.35" if wall else "#c8b58a", "edgecolor": "none" if wall else "0.4"}
        if solid.shape == "cylinder":
            axes.add_patch(Circle((x, y), solid.half[0], linewidth=0.5, **style))
            continue
        box = Rectangle(
            (-solid.half[0], -solid.half[1]), 2 * solid.half[0], 2 * solid.half[1], linewidth=0.5, **style
        )
        box.set_transform(Affine2D().rotate(solid.yaw).translate(x, y) + axes.transData)
        axes.add_patch(box)
    bounds = plan.bounds
    axes.set_xlim(bounds.x0 - 0.2, bounds.x1 + 0.2)
    axes.set_ylim(bounds.y0 - 0.2, bounds.y1 + 0.2)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])


def _background(trial: Trial):  # type: ignore[no-untyped-def]
    """The floor plan with goal and shortest way as BGR pixels, and the map from metres to pixels."""
    bounds = trial.scene.plan.bounds
    per_m = 480 / (bounds.depth + 0.4)
    width = 2 * math.ceil(0.5 * per_m * (bounds.width + 0.4))
    figure = plt.figure(figsize=(width / 100, 4.8), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    _draw_plan(axes, trial.scene.plan)
    axes.plot(*trial.way_M2.T, color="black", linewidth=1.0, linestyle=":")
    axes.plot(*trial.goal_2, "*", color="black", markersize=12)
    figure.canvas.draw()
    pixels: NDArray[np.uint8] = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    transform = axes.transData.frozen()
    height = pixels.shape[0]
    plt.close(figure)

    def to_pixel(point_2: NDArray[np.float64]) -> tuple[int, int]:
        x, y = transform.transform(point_2)
        return round(float(x)), round(height - float(y))

    return np.ascontiguousarray(pixels[..., ::-1]), to_pixel
