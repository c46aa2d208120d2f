"""The command ``sana_wm VERB``: lists its verbs at once and imports only the one that is called."""

from __future__ import annotations

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import sana_wm_ros

# Name of the verb -> what it does, for --help. "record-sim" is the function record_sim in cli/record_sim.py.
VERBS = {
    "demo": "Replay the bundled drive through the planner and write demo_out/report.html.",
    "replay": "Drive the planner from a bag, over DDS, and record what it plans into a new bag.",
    "evaluate": "Measure a model and its planner on recordings, offline, and write reports.",
    "compare": "Say what changed between two evaluations, and whether it is more than chance.",
    "report": "Make an HTML report from a recorded replay.",
    "dream": "Drive inside the imagination, from a picture or a recording; --live: as a robot on topics.",
    "info": "Say what a model, a file of weights or a bag holds, or what this machine has.",
    "benchmark": "Measure and write JSON: imagining, node, planner, navigation and more.",
    "record-sim": "Record drives through simulated buildings as bags or episodes.",
    "train": "Train the autoencoder, then the world model, from recorded drives.",
    "finetune": "Teach a model your own recordings; kept only when it got better on their held-out ends.",
    "export": "Write a training run as a model folder, measured, with its card.",
    "prompt": "Encode a caption for the published SANA-WM weights into a small file.",
}

# What bad input raises throughout the package; the messages name the input and say what to do.
USER_ERRORS = (OSError, ValueError, ImportError)


def load_verb(name: str) -> Any:
    """Import ``cli/<name>.py`` and make its function ``<name>`` a command."""
    function_name = name.replace("-", "_")
    function = getattr(importlib.import_module(f"sana_wm_ros.cli.{function_name}"), function_name)
    if isinstance(function, typer.Typer):  # a verb with verbs of its own
        return typer.main.get_command(function)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(function)
    return typer.main.get_command(alone)


class VerbGroup(TyperGroup):
    """Holds a stand-in per verb until one is called; bad input becomes one line and exit code 2."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, stand_in, rest = super().resolve_command(ctx, args)
        return name, stand_in if name is None else load_verb(name), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except USER_ERRORS as error:
            if ctx.params.get("debug"):
                raise
            verb = f" {ctx.invoked_subcommand}" if ctx.invoked_subcommand else ""
            typer.echo(f"sana_wm{verb}: {_one_line(error)}", err=True)
            raise typer.Exit(2) from error


def _one_line(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        return f"no such file or folder: {error.filename}"
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error) or type(error).__name__


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"sana_wm {sana_wm_ros.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=VerbGroup,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def sana_wm(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Plan with a world model: camera and odometry in, imagined futures, the best plan out."""


def _stand_in() -> None:
    """Never called: resolve_command puts the real verb in its place."""


for _name, _help in VERBS.items():
    app.command(_name, help=_help)(_stand_in)


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="sana_wm")
