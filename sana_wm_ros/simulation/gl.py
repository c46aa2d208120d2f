"""MuJoCo with a picture backend that needs no display: the one place that chooses it.

Where the user's ``MUJOCO_GL`` names none, EGL is taken on Linux: it works without a display, on a GPU and on
Mesa's software renderer (Debian: ``libegl1 libgl1-mesa-dri``). ``MUJOCO_GL=osmesa`` (``libosmesa6``) draws
the same pictures, bit by bit. Mesa is told to draw in the calling thread (``LP_NUM_THREADS=0``, unless set):
one process per core is faster than its own pool of threads.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import threading
from typing import Any

try:
    import mujoco
except ImportError as error:
    raise ImportError(
        "the simulator needs MuJoCo: pip install 'sana_wm_ros[sim]' (or pip install mujoco)"
    ) from error

__all__ = ["NoPictures", "mujoco", "open_gl_context"]

_BACKENDS = ("egl", "osmesa", "glfw")
_OF_THREAD = threading.local()


class NoPictures(OSError):
    """MuJoCo is here, but nothing that it could draw with."""


def open_gl_context(width: int, height: int) -> Any:
    """Make a context current; one per thread and size, because Mesa leaks when they come and go.

    Raises ``NoPictures`` where no backend works, with what to install.
    """
    contexts: dict[tuple[int, int], Any] = _OF_THREAD.__dict__.setdefault("contexts", {})
    if (width, height) not in contexts:
        _load_triton_first()
        backend = _backend()
        if backend != "glfw":
            os.environ.setdefault("LP_NUM_THREADS", "0")
        try:
            # not mujoco.GLContext: that one is fixed by whoever imports MuJoCo first
            contexts[(width, height)] = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        except Exception as error:  # each backend fails in types of its own
            raise NoPictures(
                f"MuJoCo cannot draw with {backend} ({error}); install libegl1 and libgl1-mesa-dri, "
                "or libosmesa6 and set MUJOCO_GL=osmesa"
            ) from error
    context = contexts[(width, height)]
    context.make_current()
    return context


def _load_triton_first() -> None:
    """Both Mesa and Triton bring an LLVM: Triton loaded after Mesa drew crashes the process, before is fine.

    torch imports Triton by itself, with the first optimizer for example.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")


def _backend() -> str:
    """The backend that MuJoCo's own variable names, or the one that needs no display."""
    named = os.environ.get("MUJOCO_GL", "").lower()
    if named in _BACKENDS:
        return named
    return "egl" if sys.platform == "linux" else "glfw"
