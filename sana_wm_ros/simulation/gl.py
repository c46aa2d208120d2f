"""MuJoCo with a picture backend that needs no display: the one place that chooses it.

MuJoCo reads ``MUJOCO_GL`` when it is imported. Where the user set nothing, this module asks for EGL, which
works without a display on a GPU and on Mesa's software renderer (Debian: ``libegl1 libgl1-mesa-dri``);
``MUJOCO_GL=osmesa`` (``libosmesa6``) draws the same pictures, bit by bit. Mesa is told to draw in the
calling thread (``LP_NUM_THREADS=0``): one process per core is faster than its own thread pool.
"""

from __future__ import annotations

import os
import sys
from typing import Any

if sys.platform == "linux":
    os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("LP_NUM_THREADS", "0")

try:
    import mujoco
except ImportError as error:
    raise ImportError("the simulator needs MuJoCo: pip install 'sana_wm_ros[sim]' (or pip install mujoco)") from error

__all__ = ["NoPictures", "mujoco", "open_gl_context"]

_CONTEXTS: dict[tuple[int, int], Any] = {}


class NoPictures(RuntimeError):
    """MuJoCo is here, but nothing that it could draw with."""


def open_gl_context(width: int, height: int) -> Any:
    """Make a context current; one per process and size, because Mesa leaks when they come and go.

    Raises ``NoPictures`` where no backend works, with what to install.
    """
    if (width, height) not in _CONTEXTS:
        try:
            _CONTEXTS[(width, height)] = mujoco.GLContext(width, height)
        except Exception as error:  # EGL, OSMesa and GLFW each fail in types of their own
            raise NoPictures(
                f"MuJoCo cannot draw with MUJOCO_GL={os.environ.get('MUJOCO_GL', '')!r} ({error}); "
                "install libegl1 and libgl1-mesa-dri, or libosmesa6 and set MUJOCO_GL=osmesa"
            ) from error
    context = _CONTEXTS[(width, height)]
    context.make_current()
    return context
