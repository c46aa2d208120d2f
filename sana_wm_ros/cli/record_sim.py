"""``sana_wm record-sim``: record drives of the simulated robot, as episodes for training or as rosbag2 bags."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def record_sim(
    out: Annotated[Path, typer.Option(help="Folder to write to; a second run goes on where the first was.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many drives, on consecutive seeds.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first drive.")] = 0,
    family: Annotated[str, typer.Option(help="Kind of buildings: lab.")] = "lab",
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of a whole drive.")] = 60.5,
    workers: Annotated[int, typer.Option(min=1, help="Processes; one per core.")] = 1,
    driver: Annotated[str | None, typer.Option(help="One driver for all instead of the mix.")] = None,
) -> None:
    """Record drives of a simulated robot through buildings it has never seen."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from sana_wm_ros.simulation.dataset import record_dataset
    from sana_wm_ros.simulation.drive import DriveConfig

    console = Console()
    try:
        config = DriveConfig(family=family, seconds=seconds, driver=driver)
        with Progress(*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn()) as bar:
            task = bar.add_task("drives", total=episodes)
            totals = record_dataset(
                out,
                first_seed=first_seed,
                episodes=episodes,
                config=config,
                workers=workers,
                on_episode=lambda seed: bar.advance(task),
            )
    except ValueError as error:
        console.print(f"[red]{error}")
        raise typer.Exit(2) from error
    console.print(
        f"{out}: {totals.episodes} drives, {totals.hours:.2f} h; {totals.open_loop} open loop, "
        f"{totals.open_loop_with_contact} of them ending in a contact"
    )


if __name__ == "__main__":
    typer.run(record_sim)
