"""Paint the textures of the family ``varied``: bricks, stripes, checks, planks, tiles, posters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = tuple[float, float, float]
Picture = NDArray[np.uint8]
SIZE_PX = 64


@dataclass(frozen=True, kw_only=True)
class Texture:
    """One painted surface. ``repeat`` is how often it fits into a metre; 0: once over the whole surface."""

    name: str
    pattern: str
    colours: tuple[Rgb, Rgb]
    repeat: float
    seed: int


def paint(texture: Texture) -> Picture:
    """The texture's picture, (64, 64, 3) RGB; the same texture gives the same picture."""
    rng = np.random.default_rng([texture.seed, 77])
    first, second = (np.array(colour) * 255 for colour in texture.colours)
    picture = np.empty((SIZE_PX, SIZE_PX, 3))
    picture[:] = first
    PATTERNS[texture.pattern](picture, second, rng)
    return np.clip(picture, 0, 255).astype(np.uint8)


def png(texture: Texture) -> bytes:
    """The texture as a PNG file's bytes."""
    whole, data = cv2.imencode(".png", paint(texture)[..., ::-1])
    if not whole:
        raise RuntimeError(f"OpenCV could not write the texture {texture.name}")
    return bytes(data)


def _bricks(picture: NDArray[np.float64], joint: NDArray[np.float64], rng: np.random.Generator) -> None:
    for row in range(4):
        top, shift = 16 * row, 16 * (row % 2)
        for column in range(2):
            shade = rng.uniform(0.85, 1.1)
            columns = (np.arange(32) + 32 * column + shift) % SIZE_PX
            picture[top : top + 16, columns] *= shade
        picture[top : top + 2] = joint
        picture[top : top + 16, shift : shift + 2] = joint
        picture[top : top + 16, shift + 32 : shift + 34] = joint


def _stripes(picture: NDArray[np.float64], other: NDArray[np.float64], rng: np.random.Generator) -> None:
    width = int(rng.choice([8, 16]))
    picture[:, (np.arange(SIZE_PX) // width) % 2 == 1] = other


def _checks(picture: NDArray[np.float64], other: NDArray[np.float64], rng: np.random.Generator) -> None:
    cell = np.arange(SIZE_PX) // 32
    picture[(cell[:, None] + cell[None, :]) % 2 == 1] = other


def _planks(picture: NDArray[np.float64], joint: NDArray[np.float64], rng: np.random.Generator) -> None:
    for row in range(4):
        top = 16 * row
        picture[top : top + 16] *= rng.uniform(0.8, 1.1)
        end = int(rng.integers(SIZE_PX))
        picture[top : top + 16, end : end + 1] = joint
        picture[top] = joint


def _tiles(picture: NDArray[np.float64], joint: NDArray[np.float64], rng: np.random.Generator) -> None:
    for top in (0, 32):
        for left in (0, 32):
            picture[top : top + 32, left : left + 32] *= rng.uniform(0.9, 1.05)
            picture[top : top + 2, left : left + 32] = joint
            picture[top : top + 32, left : left + 2] = joint


def _poster(picture: NDArray[np.float64], frame: NDArray[np.float64], rng: np.random.Generator) -> None:
    canvas = np.ascontiguousarray(picture, dtype=np.uint8)
    for _ in range(int(rng.integers(3, 7))):
        colour = tuple(int(value) for value in rng.integers(20, 255, 3))
        x, y = (int(value) for value in rng.integers(6, SIZE_PX - 6, 2))
        radius = int(rng.integers(5, 20))
        if rng.random() < 0.5:
            cv2.circle(canvas, (x, y), radius, colour, -1)
        else:
            cv2.rectangle(canvas, (x - radius, y - radius), (x + radius, y + radius // 2), colour, -1)
    picture[:] = canvas
    picture[:3], picture[-3:], picture[:, :3], picture[:, -3:] = frame, frame, frame, frame


PATTERNS: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64], np.random.Generator], None]] = {
    "bricks": _bricks,
    "stripes": _stripes,
    "checks": _checks,
    "planks": _planks,
    "tiles": _tiles,
    "poster": _poster,
}
