"""Dress a plain building with textures: the step that turns a drawn building into the family ``varied``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sana_wm_ros.simulation.floor_plan import FloorPlan
from sana_wm_ros.simulation.patterns import Rgb, Texture

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
    for solid in plan.solids:
        name: str | None = None
        if solid.kind in ("wall", "lintel"):
            if solid.rgb not in walls:
                pattern = str(rng.choice(_WALLS))
                plain = rng.random() < 0.3
                walls[solid.rgb] = None if plain else new(pattern, solid.rgb, _shade(solid.rgb, rng), 1.0)
            name = walls[solid.rgb]
        elif solid.kind == "panel":
            name = new("poster", solid.rgb, _shade(solid.rgb, rng), 0.0)
        solids.append(replace(solid, texture=name))
    floors = tuple(new(str(rng.choice(_FLOORS)), rgb, _shade(rgb, rng), 1.0) for rgb in plan.floors)
    return replace(
        plan, solids=tuple(solids), floor_textures=floors, textures=tuple(textures.values()), family="varied"
    )


def _shade(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """A darker or lighter colour of the same kind."""
    factor = rng.uniform(0.45, 0.75) if rng.random() < 0.5 else rng.uniform(1.3, 1.8)
    red, green, blue = (min(1.0, value * factor + 0.03) for value in rgb)
    return red, green, blue
