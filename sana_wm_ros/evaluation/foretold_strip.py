"""The film strip of a checked imagination: seen, imagined, and the guesses it must beat, with PSNR below."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sana_wm_ros.evaluation.film_strip import FilmRow, Picture, film_strip
from sana_wm_ros.evaluation.foretelling import BASELINES, MODEL, Foretelling

_ROWS = (MODEL, *BASELINES)
_ROUND_LEADS_S = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 60.0)


def foretold_strip(foretelling: Foretelling, leads_s: Sequence[float], *, tile_width: int = 192) -> Picture:
    """Draw one start as a strip: the last frame of the context, then each of ``leads_s`` seconds ahead.

    Leads after the recording's end stay empty. The closest guess of a column stands out.
    """
    period = float(foretelling.lead_F[0])
    index = [round(lead / period) - 1 for lead in leads_s]
    reached = [i if 0 <= i < len(foretelling.lead_F) else None for i in index]
    seen = [foretelling.now_HWC, *(None if i is None else foretelling.seen_FHWC[i] for i in reached)]
    rows = [FilmRow(label="seen", frames=seen, missing="not recorded")]
    for name in _ROWS:
        pictures = foretelling.guesses[name]
        frames = [None, *(None if i is None else pictures[i] for i in reached)]
        notes = ["", *("" if i is None else f"{foretelling.psnr[name][i]:.1f} dB" for i in reached)]
        closest = {
            c + 1 for c, i in enumerate(reached) if i is not None and _is_closest(foretelling, name, i)
        }
        rows.append(FilmRow(label=name, frames=frames, notes=notes, accents=frozenset(closest)))
    headings: list[float | str] = ["now", *(float(lead) for lead in leads_s)]
    return film_strip(rows, headings, tile_width=tile_width, corner=f"at {foretelling.start_s:.0f} s")


def spread_leads(reach_s: float, count: int = 7) -> list[float]:
    """At most ``count`` leads from early to the furthest one, round ones where there are enough."""
    round_ones = [lead for lead in _ROUND_LEADS_S if lead < reach_s * 0.9]
    leads = [*round_ones, reach_s]
    if len(leads) <= count:
        return leads
    wanted = np.geomspace(max(1.0, leads[0]), reach_s, count)
    return sorted({min(leads, key=lambda lead: abs(np.log(lead / want))) for want in wanted})


def _is_closest(foretelling: Foretelling, name: str, index: int) -> bool:
    values = [float(foretelling.psnr[row][index]) for row in _ROWS]
    return float(foretelling.psnr[name][index]) == max(values)
