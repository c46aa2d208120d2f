"""``sana_wm record-sim``: record drives of the simulated robot, as episodes for training or as bags."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(str, Enum):
    """What a drive becomes."""

    episodes = "episodes"
    bag = "bag"


class Drive(str, Enum):
    """The robot's kinematics."""

    differential = "differential"
    ackermann = "ackermann"


def record_sim(
    out: Annotated[Path, typer.Option(help="Folder to write to; a second run goes on where the first was.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many drives, on consecutive seeds.")] = 1,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first drive.")] = 0,
    family: Annotated[str, typer.Option(help="Kind of buildings: lab (plain) or varied (patterns).")] = "lab",
    format: Annotated[
        Format, typer.Option(help="Episodes for training, or bags like a robot's.")
    ] = Format.episodes,
    seconds: Annotated[float, typer.Option(min=1.0, help="Length of a whole drive.")] = 60.5,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that record; none: one per core.")
    ] = None,
    driver: Annotated[
        str | None,
        typer.Option(help="tour, revisit, look_away, spin, bump, careless or wander; none: a mix."),
    ] = None,
    drive: Annotated[Drive, typer.Option(help="What moves the robot.")] = Drive.differential,
    open_loop: Annotated[
        bool | None, typer.Option(help="Whether the driver never reacts; none: as the seed draws.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Picture width; 96 in episodes, 192 in bags.")] = None,
    height: Annotated[int | None, typer.Option(help="Picture height; 64 in episodes, 128 in bags.")] = None,
    storage: Annotated[str, typer.Option(help="Bags: mcap, sqlite3 or ros1.")] = "mcap",
    coding: Annotated[str, typer.Option(help="Bags: pictures as jpeg, png or raw.")] = "jpeg",
    name: Annotated[
        str | None, typer.Option(help="Bags: name of a single bag; none: family and seed.")
    ] = None,
) -> None:
    """Record drives of a simulated robot through buildings drawn from seeds.

    Seeds below 900 000 are for training, below 1 000 000 for validation, the others for tests; one folder of
    episodes holds one of these. The same seed gives the same drive. Stopped, the same command goes on.
    """
    import os

    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    from sana_wm_ros.planning.types import Robot
    from sana_wm_ros.simulation.bags import BagConfig, record_bags
    from sana_wm_ros.simulation.dataset import record_dataset
    from sana_wm_ros.simulation.drive import DriveConfig

    console = Console()
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn())
    size = (96, 64) if format is Format.episodes else (192, 128)
    config = DriveConfig(
        family=family,
        seconds=seconds,
        driver=driver,
        open_loop=open_loop,
        robot=Robot(drive=drive.value),
        width=width or size[0],
        height=height or size[1],
        lens=format is Format.bag,
    )
    workers = workers or os.cpu_count() or 1
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("drives", total=episodes)
        if format is Format.episodes:
            totals = record_dataset(
                out,
                first_seed=first_seed,
                episodes=episodes,
                config=config,
                workers=workers,
                on_episode=lambda seed: bar.advance(task),
            )
            said = (
                f"{out}: {totals.episodes} drives, {totals.hours:.2f} h; {totals.open_loop} open loop, "
                f"{totals.open_loop_with_contact} of them ending in a contact"
                + "".join(f"; left out: {name} is no whole drive" for name in totals.broken)
            )
        else:
            if name is not None and episodes > 1:
                raise ValueError(f"one name cannot serve {episodes} bags; leave --name away")
            bag_config = BagConfig(drive=config, storage=storage, coding=coding)  # type: ignore[arg-type]
            seeds = range(first_seed, first_seed + episodes)
            for _ in record_bags(out, seeds, bag_config, name=name, workers=workers):
                bar.advance(task)
            said = f"{out}: {episodes} {'bag' if episodes == 1 else 'bags'}"
    console.print(said, soft_wrap=True)


if __name__ == "__main__":
    typer.run(record_sim)
