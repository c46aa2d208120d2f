"""Film strips: rows of small pictures under a common time line, what was seen above what was imagined.

Pure arrays in, one picture out, so the node's ``~/imagined/film_strip`` and the report draw alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]

PAPER_RGB = (17, 20, 26)
INK_RGB = (233, 236, 241)
FAINT_RGB = (138, 146, 160)
EMPTY_RGB = (25, 29, 37)
ACCENT_RGB = (247, 160, 80)


@dataclass(frozen=True, kw_only=True)
class FilmRow:
    """One row: a label, its frames (None: an empty place) and optional notes below the frames.

    missing: what is written on empty places. accents: columns whose note stands out.
    """

    label: str
    frames: Sequence[Picture | None]
    notes: Sequence[str] = field(default_factory=tuple)
    missing: str = ""
    accents: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class FilmLayout:
    """Sizes in pixels; all but the gap follow from the tile's, so a strip looks alike at any size."""

    tile_width: int = 192
    tile_height: int = 128

    @property
    def gap(self) -> int:
        """Pixels between tiles."""
        return max(2, self.tile_width // 32)

    @property
    def label_width(self) -> int:
        """Pixels left of the first tile."""
        return round(0.64 * self.tile_width)

    @property
    def header_height(self) -> int:
        """Pixels above the first row."""
        return round(0.2 * self.tile_width)

    @property
    def note_height(self) -> int:
        """Pixels for the notes below a row."""
        return round(0.155 * self.tile_width)

    @property
    def text_size(self) -> int:
        """Height of the letters of headings and labels."""
        return max(9, round(0.108 * self.tile_width))

    def row_height(self, row: FilmRow) -> int:
        """Height of a row with its notes, without the gap to the next one."""
        return self.tile_height + (self.note_height if row.notes else 0)

    def tile_origin(self, rows: Sequence[FilmRow], row: int, column: int) -> tuple[int, int]:
        """Left and top pixel of a tile."""
        left = self.label_width + column * (self.tile_width + self.gap)
        top = self.header_height + sum(self.row_height(above) + self.gap for above in rows[:row])
        return left, top

    def size(self, rows: Sequence[FilmRow], columns: int) -> tuple[int, int]:
        """Width and height of the whole strip."""
        width = self.label_width + columns * (self.tile_width + self.gap)
        _, bottom = self.tile_origin(rows, len(rows), 0)
        return width, bottom


def seconds_label(time_s: float) -> str:
    """A time as people read it: ``now``, ``0.5 s``, ``8 s``, ``-2 s``."""
    if time_s == 0:
        return "now"
    return f"{time_s:.1f} s" if abs(time_s) < 10 and time_s != round(time_s) else f"{time_s:.0f} s"


def film_strip(
    rows: Sequence[FilmRow], times_s: Sequence[float | str], *, tile_width: int = 192, corner: str = ""
) -> Picture:
    """Draw rows of frames, uint8 RGB (H, W, 3), as one RGB picture.

    rows: all as long as ``times_s``; frames of one common size. times_s: column headings in seconds, or
    any text. corner: a few words at the top left. Raises ValueError where rows and times do not match.
    """
    frame_height, frame_width = _common_size(rows, len(times_s))
    layout = FilmLayout(tile_width=tile_width, tile_height=round(tile_width * frame_height / frame_width))
    canvas = Image.new("RGB", layout.size(rows, len(times_s)), PAPER_RGB)
    draw = ImageDraw.Draw(canvas)
    font = _font(layout.text_size)
    middle = layout.header_height // 2
    draw.text((_margin(layout), middle), corner, FAINT_RGB, font, anchor="lm")
    for column, time in enumerate(times_s):
        left, _ = layout.tile_origin(rows, 0, column)
        heading = time if isinstance(time, str) else seconds_label(time)
        draw.text((left, middle), heading, INK_RGB, font, anchor="lm")
    for number, row in enumerate(rows):
        _draw_row(canvas, layout, rows, number, row)
    return np.asarray(canvas)


def _draw_row(
    canvas: Image.Image, layout: FilmLayout, rows: Sequence[FilmRow], number: int, row: FilmRow
) -> None:
    draw = ImageDraw.Draw(canvas)
    font, small = _font(layout.text_size), _font(max(8, round(0.86 * layout.text_size)))
    _, top = layout.tile_origin(rows, number, 0)
    middle = top + layout.tile_height // 2
    label = row.label.replace(" ", "\n")
    draw.multiline_text((_margin(layout), middle), label, INK_RGB, font, anchor="lm", spacing=4)
    for column, frame in enumerate(row.frames):
        left, _ = layout.tile_origin(rows, number, column)
        if frame is None:
            corner = (left + layout.tile_width - 1, top + layout.tile_height - 1)
            draw.rectangle((left, top, *corner), fill=EMPTY_RGB)
            draw.text((left + layout.tile_width // 2, middle), row.missing, FAINT_RGB, small, anchor="mm")
        else:
            canvas.paste(Image.fromarray(enlarge(frame, layout.tile_width, layout.tile_height)), (left, top))
        if column < len(row.notes):
            note_middle = top + layout.tile_height + layout.note_height // 2
            ink = ACCENT_RGB if column in row.accents else FAINT_RGB
            draw.text((left, note_middle), row.notes[column], ink, small, anchor="lm")


def _margin(layout: FilmLayout) -> int:
    return max(2, layout.tile_width // 16)


def enlarge(frame_HWC: Picture, width: int, height: int) -> Picture:
    """Resize a frame: smooth (Lanczos) when enlarging, area mean when shrinking."""
    smaller = width < frame_HWC.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(frame_HWC, (width, height), interpolation=how), dtype=np.uint8)


def _common_size(rows: Sequence[FilmRow], columns: int) -> tuple[int, int]:
    if not rows or columns == 0:
        raise ValueError("a film strip needs at least one row and one column")
    for row in rows:
        if len(row.frames) != columns or len(row.notes) not in (0, columns):
            raise ValueError(
                f"row '{row.label}' has {len(row.frames)} frames and {len(row.notes)} notes, "
                f"expected {columns}"
            )
    sizes = {frame.shape for row in rows for frame in row.frames if frame is not None}
    if not sizes:
        return 2, 3
    if len(sizes) > 1 or any(len(size) != 3 or size[2] != 3 for size in sizes):
        raise ValueError(f"frames must share one (H, W, 3) shape, got {sorted(sizes)}")
    height, width, _ = sizes.pop()
    return height, width


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)
