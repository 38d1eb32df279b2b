"""The command line: parses, runs, prints. Exit codes: 0 done, 2 bad usage, 3 refused, 4 failed, 130 cancelled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from abd_app import __version__
from abd_app.cli.audits import demo, distill, inspect
from abd_app.cli.batch import batch as batch_command
from abd_app.cli.bench import bench
from abd_app.cli.processes import refuse_unable
from abd_app.cli.reporting import failures_reported, take_every_name
from abd_app.cli.runs import runs
from abd_app.cli.teachers import make_teacher
from abd_app.cli.window import OpenWindow, gui, show_window

_app = typer.Typer(
    name="abd-app",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (gui, inspect, distill, batch_command, demo, runs, make_teacher, bench):
    _app.command()(_command)


def run(arguments: Sequence[str], *, open_window: OpenWindow) -> int:
    """Runs one command line.

    Args:
        arguments: What follows the program's name.
        open_window: Shows the window with a file or the demo teacher, and returns its exit code when it is closed.

    Returns:
        The process exit code.
    """
    take_every_name()
    try:
        _app(list(arguments), prog_name="abd-app", obj=open_window)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


@_app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected failure.")] = False,
) -> None:
    """Make untrusted image classifiers safe to use. Without a command: the window."""
    if debug:
        os.environ["ABD_APP_DEBUG"] = "1"
    if version:
        print(f"abd-app {__version__}")
        raise typer.Exit
    with failures_reported():
        refuse_unable(context.invoked_subcommand)
    if context.invoked_subcommand is None:
        show_window(context, None, demo=False)
