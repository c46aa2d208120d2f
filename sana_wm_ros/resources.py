"""Where the package's own files lie: a checkout, a colcon workspace or a virtual environment."""

from __future__ import annotations

from pathlib import Path

PACKAGE = "sana_wm_ros"


def share_path(*parts: str) -> Path:
    """The path of a file or folder that the package brings, e.g. ``share_path("config", "planner.yaml")``.

    Looks beside the code first (a checkout, an editable install, ``colcon build --symlink-install``), then in
    the ``share/sana_wm_ros`` folder of the prefix that the code is installed under. It reads no environment
    variable, so it also works where the workspace is not sourced.

    Raises FileNotFoundError, naming the places that were tried.
    """
    relative = Path(*parts)
    tried = []
    for parent in Path(__file__).resolve().parents[1:]:
        for base in (parent, parent / "share" / PACKAGE):
            if (base / "package.xml").is_file():
                if (base / relative).exists():
                    return base / relative
                tried.append(str(base / relative))
    places = ", ".join(tried) or f"any share/{PACKAGE} above {Path(__file__).resolve().parent}"
    raise FileNotFoundError(
        f"{PACKAGE} is installed without {relative}: not in {places}; install the package again"
    )
