#!/usr/bin/env python3
"""How far off a model reads ranges: the table behind ``sana_wm_ros/planning/sensor_model.py``.

Robots tour validation buildings; twice a second the model imagines standing still, and cells in view are sorted by
their range relative to the clearance read in their direction. Printed are log odds to be blocked, less those of all.

    scripts/sensor_model_table.py --model models/nano --buildings 14
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from sana_wm_ros.geometry.camera import camera_poses
from sana_wm_ros.planning.types import RobotState
from sana_wm_ros.simulation.contestants import Sight
from sana_wm_ros.simulation.drive import CommandSource, DriveConfig, draw_scene, open_simulator
from sana_wm_ros.simulation.shapes import Shapes
from sana_wm_ros.simulation.trials import TICK_S, TICKS_PER_PICTURE, Sensed, TrialConfig
from sana_wm_ros.world_model.checkpoint import load_model

SHARES = np.array([0.0, 0.5, 0.65, 0.75, 0.85, 0.95, 1.05, 1.15, 1.25, 1.4, 1.6, 2.0])
CLEARANCES_M = np.array([0.3, 1.0, 1.6, 2.2, 3.0, 5.0])
CELLS, REACH_M, TOUCHES_M = 60, 5.0, 0.10


def tour(seed: int, model: object, seconds: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clearance read, range and whether something stands there, of cells (P,) seen on one tour."""
    config = DriveConfig(family="lab", driver="tour", open_loop=False, robot=TrialConfig().robot)
    scene, random = draw_scene(seed, config), np.random.default_rng(seed)
    solids = Shapes(solid.outline for solid in scene.plan.solids if solid.blocks)
    sight, found = Sight(model, scene.camera), []
    with open_simulator(scene, config, pictures=True) as simulator:
        source, touched = CommandSource(scene, simulator.robot, TICK_S), False
        for tick in range(round(seconds / TICK_S)):
            speed, rate = simulator.twist_2
            picture = simulator.look() if tick % TICKS_PER_PICTURE == 0 else None
            state = RobotState(
                time_s=tick * TICK_S, pose_3=simulator.pose_3, twist_3=np.array([speed, 0.0, rate])
            )
            sight.watch(Sensed(state=state, picture_HWC=picture, ranges_R=np.zeros(0)))
            if tick % 8 == 0 and tick > 32:
                found.append(look(sight, scene, state, solids, random))
            touched = simulator.hold(source.next(tick * TICK_S, simulator.pose_3, touched), TICK_S)
    clearance_P, range_P, stands_P = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return clearance_P, range_P, stands_P


@torch.inference_mode()
def look(
    sight: Sight, scene: object, state: RobotState, solids: Shapes, random: np.random.Generator
) -> tuple:
    """The same of random cells in the view from one pose."""
    stay = camera_poses(state.pose_3[None, None], scene.camera.T_base_camera_44)
    noise = torch.Generator().manual_seed(0)
    _, rollout = sight.context.fork(1).imagine(torch.from_numpy(stay).float(), generator=noise)
    clearance_K = rollout.clearance_NFK[0, 0].numpy()
    half_view = scene.camera.hfov_rad / 2
    bearing_P = random.uniform(-half_view, half_view, CELLS)
    range_P = random.uniform(0.2, REACH_M, CELLS)
    sector_P = np.rint(bearing_P * len(clearance_K) / (2 * np.pi)).astype(int) % len(clearance_K)
    x, y, yaw = state.pose_3
    points_P2 = np.stack(
        [x + range_P * np.cos(yaw + bearing_P), y + range_P * np.sin(yaw + bearing_P)], axis=-1
    )
    return clearance_K[sector_P], range_P, solids.distance(points_P2) < TOUCHES_M


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=Path("models/nano"))
    parser.add_argument("--buildings", type=int, default=14)
    parser.add_argument("--first-seed", type=int, default=900_100)
    parser.add_argument("--seconds", type=float, default=45.0)
    options = parser.parse_args()
    model = load_model(options.model)
    seeds = range(options.first_seed, options.first_seed + options.buildings)
    found = [tour(seed, model, options.seconds) for seed in track(seeds, "tours")]
    clearance_P, range_P, stands_P = (np.concatenate(parts) for parts in zip(*found, strict=True))
    all_odds = log_odds(stands_P)
    table = Table(title=f"log odds to be blocked, less {all_odds:.2f} of all {len(stands_P)} cells")
    for name in ("clearance, m", *(f"{a:g}-{b:g}" for a, b in itertools.pairwise(SHARES))):
        table.add_column(name, justify="right")
    for low, high in itertools.pairwise(CLEARANCES_M):
        row = (clearance_P >= low) & (clearance_P < high)
        share_P = range_P / clearance_P
        cells = [row & (share_P >= a) & (share_P < b) for a, b in itertools.pairwise(SHARES)]
        odds = [f"{log_odds(stands_P[one]) - all_odds:.2f}" if one.sum() > 20 else "" for one in cells]
        table.add_row(f"{low:g}-{high:g}", *odds)
    Console(width=132).print(table)


def log_odds(stands_P: np.ndarray) -> float:
    """Of a share, kept off 0 and 1."""
    share = np.clip(stands_P.mean(), 0.002, 0.998)
    return float(np.log(share / (1 - share)))


if __name__ == "__main__":
    main()
