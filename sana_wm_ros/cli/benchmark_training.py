"""``sana_wm benchmark training``: what a training step keeps in memory, at 15 s and at 60 s."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def training_memory(
    model: Annotated[Path, typer.Option(help="Model folder.")] = Path("models/nano"),
    out: Annotated[Path, typer.Option(help="Folder for the result file.")] = Path("benchmarks/results"),
) -> None:
    """Memory that one clip's loss keeps for its gradient: linear in the clip's length, or it is a bug."""
    from rich.console import Console

    from sana_wm_ros.cli import benchmark as shared
    from sana_wm_ros.training.step_memory import step_memory
    from sana_wm_ros.world_model.checkpoint import load_model

    results = step_memory(load_model(model))
    load = shared.refuse_load(force=True)  # nothing here is timed
    path = shared.keep(
        f"training_memory_{model.name}", results=results, settings={"model": str(model)}, load=load, out=out
    )
    rows = {
        name: f"{entry['kept_mib']:.0f} MiB" for name, entry in results.items() if isinstance(entry, dict)
    }
    rows["60 s over 15 s"] = f"{results['growth']:.2f} x, at most 4.4 x"
    shared.show(Console(), "kept for the gradient of one clip", rows, path)
