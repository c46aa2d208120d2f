"""One planning moment from above: where the robot was, what it considered, what it expected, what it chose.

Dimension letters: N candidates, F latent frames, K sectors, T odometry samples. Metres in ``odom``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon
from matplotlib.patheffects import Stroke
from matplotlib.ticker import MaxNLocator, ScalarFormatter
from numpy.typing import NDArray

from sana_wm_ros.evaluation.colours import CHOSEN_RGB, CONTACT_RGB, cost_colours, cost_range, scale_colours

Floats = NDArray[np.float64]

_INK, _FAINT, _GRID = "#20242c", "#8a92a0", "#e7e9ee"
_CLEAR = "#4c9be8"
_TILE_INCHES = 4.2


@dataclass(frozen=True, kw_only=True)
class PlanScene:
    """What one picture shows; every part but the robot's pose may be missing (None).

    pose_3: the robot (x, y, yaw). path_T3: odometry up to now. later_T3: odometry after now (a recording
    knows it). candidates: N paths, each (F, 2 or 3), of any length. costs_N: one per candidate, NaN when
    unknown. contacts: per candidate F booleans, contact expected. imagined: how many points of each were
    imagined; the others are faint. chosen: index of the chosen candidate. goal_xy. clearance_K: free
    distance around the robot now, imagined or measured, sector 0 ahead.
    """

    pose_3: Floats
    radius_m: float = 0.2
    path_T3: Floats | None = None
    later_T3: Floats | None = None
    candidates: tuple[Floats, ...] = ()
    costs_N: Floats | None = None
    contacts: tuple[NDArray[np.bool_], ...] = ()
    imagined: tuple[int, ...] = ()
    chosen: int | None = None
    plan_F2: Floats | None = None
    goal_xy: tuple[float, float] | None = None
    clearance_K: Floats | None = None
    title: str = ""


def plan_picture(scenes: list[PlanScene], *, columns: int = 3, dpi: int = 150) -> bytes:
    """Draw moments side by side, each with its own scale and costs; returns PNG bytes."""
    if not scenes:
        raise ValueError("no planning moment to draw")
    columns = min(columns, len(scenes))
    rows = -(-len(scenes) // columns)
    width, height = columns * _TILE_INCHES, rows * _TILE_INCHES
    figure = Figure(figsize=(width, height))
    for number, scene in enumerate(scenes):
        row, column = divmod(number, columns)
        # Placed by hand: a layout engine takes longer than all the drawing.
        left, bottom = column * _TILE_INCHES + 0.46, (rows - 1 - row) * _TILE_INCHES + 0.42
        side = _TILE_INCHES - 1.06
        axis = figure.add_axes((left / width, bottom / height, side / width, side / height))
        draw_scene(axis, scene)
        if scene.costs_N is not None and np.isfinite(scene.costs_N).any():
            bar_box = (
                (left + side + 0.07) / width,
                (bottom + 0.5) / height,
                0.09 / width,
                (side - 1.0) / height,
            )
            _draw_colour_bar(figure.add_axes(bar_box), scene.costs_N)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, pil_kwargs={"compress_level": 6})
    return buffer.getvalue()


def draw_scene(axis: Axes, scene: PlanScene) -> None:
    """Draw one moment on an axis, ground first, robot last."""
    _prepare(axis, scene)
    _draw_clearance(axis, scene)
    _draw_paths(axis, scene)
    _draw_candidates(axis, scene)
    _draw_chosen(axis, scene)
    _draw_goal(axis, scene)
    _draw_robot(axis, scene)
    _draw_scale_bar(axis)


def clearance_outline(pose_3: Floats, clearance_K: Floats) -> Floats:
    """Corners (2 K, 2) in metres of the free area: each sector an arc chord at its own distance."""
    sectors = len(clearance_K)
    bearing_K = 2.0 * np.pi * np.arange(sectors) / sectors
    half = np.pi / sectors
    edges_K2 = pose_3[2] + np.stack([bearing_K - half, bearing_K + half], axis=1)
    reach_K1 = np.nan_to_num(np.asarray(clearance_K, dtype=np.float64), nan=0.0)[:, None]
    corners = np.stack([reach_K1 * np.cos(edges_K2), reach_K1 * np.sin(edges_K2)], axis=-1)
    return np.asarray(corners.reshape(-1, 2) + pose_3[:2])


def view_box(
    scene: PlanScene, *, reach_m: float = 9.0, path_reach_m: float = 4.0, smallest_m: float = 3.0
) -> tuple[Floats, float]:
    """Centre and half width of the square to show.

    It holds plan, goal, free area and candidates as far as ``reach_m`` from the robot, and the driven path
    near it: a minute of straight driving would make everything else too small to see.
    """
    ahead = [scene.pose_3[None, :2], *(path[:, :2] for path in scene.candidates)]
    ahead += [part[:, :2] for part in (scene.plan_F2,) if part is not None]
    if scene.clearance_K is not None:
        ahead.append(clearance_outline(scene.pose_3, scene.clearance_K))
    driven = [part[:, :2] for part in (scene.path_T3, scene.later_T3) if part is not None]
    parts = [_within(np.concatenate(ahead), scene.pose_3, reach_m)]
    parts += [_within(path, scene.pose_3, path_reach_m) for path in driven]
    if scene.goal_xy is not None:
        parts.append(np.array([scene.goal_xy]))
    cloud = np.concatenate(parts)
    low, high = cloud.min(axis=0), cloud.max(axis=0)
    half = max(float((high - low).max()) / 2.0, smallest_m / 2.0)
    return (low + high) / 2.0, half * 1.08 + scene.radius_m


def _within(points_M2: Floats, pose_3: Floats, reach_m: float) -> Floats:
    near = np.linalg.norm(points_M2 - pose_3[:2], axis=1) <= reach_m  # false for what is not finite
    return np.asarray(points_M2[near])


def _prepare(axis: Axes, scene: PlanScene) -> None:
    centre, half = view_box(scene)
    axis.set_xlim(centre[0] - half, centre[0] + half)
    axis.set_ylim(centre[1] - half, centre[1] + half)
    axis.set_aspect("equal")
    axis.set_axisbelow(True)
    axis.grid(color=_GRID, linewidth=0.8)
    axis.tick_params(colors=_FAINT, labelsize=8, length=0)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.set_title(scene.title, fontsize=10.5, color=_INK, loc="left")
    axis.set_xlabel("x in odom, m", fontsize=8, color=_FAINT)
    axis.set_ylabel("y in odom, m", fontsize=8, color=_FAINT)


def _draw_clearance(axis: Axes, scene: PlanScene) -> None:
    if scene.clearance_K is None:
        return
    outline = clearance_outline(scene.pose_3, scene.clearance_K)
    axis.add_patch(Polygon(outline, facecolor=_CLEAR, alpha=0.13, edgecolor="none", zorder=1))
    axis.add_patch(Polygon(outline, fill=False, edgecolor=_CLEAR, alpha=0.6, linewidth=0.9, zorder=1))


def _draw_paths(axis: Axes, scene: PlanScene) -> None:
    if scene.later_T3 is not None and len(scene.later_T3):
        axis.plot(*scene.later_T3[:, :2].T, color=_FAINT, linewidth=1.1, linestyle=(0, (1, 2)), zorder=2)
    if scene.path_T3 is not None and len(scene.path_T3):
        axis.plot(*scene.path_T3[:, :2].T, color=_INK, linewidth=1.6, zorder=3)


def _draw_candidates(axis: Axes, scene: PlanScene) -> None:
    if not scene.candidates:
        return
    costs = scene.costs_N if scene.costs_N is not None else np.full(len(scene.candidates), np.nan)
    colours = cost_colours(costs) / 255.0
    # The cheapest are drawn last, so they lie on top.
    for rank, index in enumerate(np.argsort(np.where(np.isfinite(costs), -costs, -np.inf), kind="stable")):
        path = scene.candidates[index][:, :2]
        if len(path) < 2:
            continue
        contact = scene.contacts[index] if scene.contacts else np.zeros(len(path), dtype=bool)
        known = scene.imagined[index] if scene.imagined else len(path)
        segments = np.stack([path[:-1], path[1:]], axis=1)
        shade = np.where(contact[1:, None], np.array(CONTACT_RGB) / 255.0, colours[index][None])
        alpha = np.where(np.arange(1, len(path)) < max(known, 1), 0.95, 0.38)
        rgba = np.concatenate([shade, alpha[:, None]], axis=1)
        axis.add_collection(
            LineCollection(list(segments), colors=rgba, linewidths=1.3, zorder=4 + rank * 1e-3)
        )


def _draw_colour_bar(axis: Axes, costs_N: Floats) -> None:
    low, high = cost_range(costs_N)
    shades = scale_colours(np.linspace(0.0, 1.0, 128))[:, None]
    axis.imshow(shades, aspect="auto", origin="lower", extent=(0.0, 1.0, low, high))
    axis.yaxis.tick_right()
    axis.yaxis.set_label_position("right")
    axis.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axis.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    axis.set_xticks([])
    axis.tick_params(colors=_FAINT, labelsize=8, length=0, pad=2)
    for side in axis.spines.values():
        side.set_visible(False)
    axis.set_ylabel("cost, lower is better", fontsize=8, color=_FAINT)


def _draw_chosen(axis: Axes, scene: PlanScene) -> None:
    plan = scene.plan_F2
    if plan is None and scene.chosen is not None:
        plan = scene.candidates[scene.chosen]
    if plan is None or len(plan) == 0:
        return
    colour = tuple(channel / 255.0 for channel in CHOSEN_RGB)
    casing = [Stroke(linewidth=5.6, foreground="white"), Stroke(linewidth=3.4, foreground=colour)]
    axis.plot(
        *plan[:, :2].T, color=colour, linewidth=3.4, path_effects=casing, solid_capstyle="round", zorder=6
    )


def _draw_goal(axis: Axes, scene: PlanScene) -> None:
    if scene.goal_xy is not None:
        axis.plot(
            *scene.goal_xy, marker="*", markersize=17, color="#d6a400", markeredgecolor="white", zorder=7
        )


def _draw_robot(axis: Axes, scene: PlanScene) -> None:
    x, y, yaw = scene.pose_3
    axis.add_patch(Circle((x, y), scene.radius_m, facecolor="white", edgecolor=_INK, linewidth=1.6, zorder=8))
    nose = np.array([x, y]) + scene.radius_m * np.array([np.cos(yaw), np.sin(yaw)])
    axis.plot([x, nose[0]], [y, nose[1]], color=_INK, linewidth=1.8, solid_capstyle="round", zorder=9)


def _draw_scale_bar(axis: Axes) -> None:
    left, right = axis.get_xlim()
    bottom, top = axis.get_ylim()
    length = scale_bar_length(right - left)
    start = left + 0.04 * (right - left)
    height = bottom + 0.045 * (top - bottom)
    axis.plot(
        [start, start + length], [height, height], color=_INK, linewidth=2.4, solid_capstyle="butt", zorder=10
    )
    label = f"{length:g} m"
    axis.text(
        start + length / 2,
        height + 0.012 * (top - bottom),
        label,
        ha="center",
        va="bottom",
        fontsize=8.5,
        color=_INK,
        zorder=10,
    )


def scale_bar_length(width_m: float) -> float:
    """The longest of 1, 2, 5 times a power of ten that is at most a quarter of the width."""
    power = 10.0 ** np.floor(np.log10(width_m / 4.0))
    return float(max(step * power for step in (1.0, 2.0, 5.0) if step * power <= width_m / 4.0 + 1e-12))
