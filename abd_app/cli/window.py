"""``gui``: the window, opened from the command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, cast

import typer

from abd_app.cli.reporting import failures_reported
from abd_app.errors import UsageError

OpenWindow = Callable[[str | None, bool], int]


def gui(
    context: typer.Context,
    file: Annotated[str | None, typer.Argument(help="The teacher to open.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Open the built-in poisoned teacher.")] = False,
) -> None:
    """Open the window, with a file or the demo teacher in it."""
    show_window(context, file, demo=demo)


def show_window(context: typer.Context, file: str | None, *, demo: bool) -> None:
    """Opens the window with a file, with the demo teacher or empty; exits with its code."""
    with failures_reported():
        if file is not None and demo:
            raise UsageError("Both a file and the demo are given.", where="FILE, --demo", remedy="Give one.")
        if file is not None and not Path(file).is_file():
            raise UsageError("There is no such file.", where=file, remedy="Check the path.")
        if _no_display():
            raise UsageError(
                "There is no display to open the window on.",
                why="Neither DISPLAY nor WAYLAND_DISPLAY is set.",
                remedy="Work in the terminal: abd-app demo, abd-app inspect FILE, abd-app distill FILE --out DIR.",
            )
        raise typer.Exit(cast(OpenWindow, context.obj)(file, demo))


def _no_display() -> bool:
    wanted = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return sys.platform.startswith("linux") and not any(os.environ.get(name) for name in wanted)
