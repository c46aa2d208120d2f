"""Dress a plain building with textures: the step that turns a drawn building into the family ``varied``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sana_wm_ros.simulation.floor_plan import FloorPlan, Solid
from sana_wm_ros.simulation.patterns import Rgb, Texture

_SKIRTING_M = 0.09
_PROUD_M = 0.008
_WALLS = ("bricks", "stripes", "checks")
_FLOORS = ("planks", "tiles", "checks")


def dress(plan: FloorPlan, rng: np.random.Generator) -> FloorPlan:
    """Give most walls a pattern (one per wall of a room), every panel a poster, every floor a covering."""
    textures: dict[str, Texture] = {}

    def new(pattern: str, first: Rgb, second: Rgb, repeat: float) -> str:
        name = f"texture{len(textures)}"
        seed = int(rng.integers(2**31))
        textures[name] = Texture(
            name=name, pattern=pattern, colours=(first, second), repeat=repeat, seed=seed
        )
        return name

    walls: dict[Rgb, str | None] = {}  # a wall's slabs share a colour that no other wall has
    solids = []
    grey = float(rng.uniform(0.3, 0.9))
    skirting = (grey, grey, 0.95 * grey)
    for solid in plan.solids:
        name: str | None = None
        if solid.kind in ("wall", "lintel"):
            if solid.rgb not in walls:
                pattern = str(rng.choice(_WALLS))
                plain = rng.random() < 0.3
                walls[solid.rgb] = (
                    None
                    if plain
                    else new(pattern, solid.rgb, _shade(solid.rgb, rng), float(rng.uniform(0.8, 1.4)))
                )
            name = walls[solid.rgb]
        elif solid.kind == "panel":
            name = new("poster", solid.rgb, _shade(solid.rgb, rng), 0.0)
        solids.append(replace(solid, texture=name))
        if solid.kind in ("wall", "screen"):
            solids.append(_skirting(solid, skirting))
    floors = tuple(
        new(str(rng.choice(_FLOORS)), rgb, _darker(rgb, rng), float(rng.uniform(0.8, 1.3)))
        for rgb in plan.floors
    )
    return replace(
        plan, solids=tuple(solids), floor_textures=floors, textures=tuple(textures.values()), family="varied"
    )


def _skirting(wall: Solid, rgb: Rgb) -> Solid:
    """A board along the foot of a wall, a little proud of it."""
    half = (wall.half[0] + _PROUD_M, wall.half[1] + _PROUD_M, _SKIRTING_M / 2)
    center = (*wall.center[:2], _SKIRTING_M / 2)
    return replace(wall, center=center, half=half, rgb=rgb, kind="decor", texture=None)


def _shade(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """A darker or lighter colour of the same kind."""
    return _darker(rgb, rng) if rng.random() < 0.6 else _times(rgb, rng.uniform(1.2, 1.4))


def _darker(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    return _times(rgb, rng.uniform(0.62, 0.82))


def _times(rgb: Rgb, factor: float) -> Rgb:
    red, green, blue = (min(1.0, value * factor + 0.02) for value in rgb)
    return red, green, blue
