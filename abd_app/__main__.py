"""``python -m abd_app`` and ``abd-app``: the command line, with the window handed in."""

from __future__ import annotations

import multiprocessing
import sys

from abd_app.errors import RunCancelledError, UsageError

_WINDOW_PACKAGES = ("PySide6", "shiboken6", "pyqtgraph", "qtawesome", "qtpy")


def main() -> None:
    """Runs the command line of this process and exits with its code."""
    multiprocessing.freeze_support()
    try:
        from abd_app import cli  # takes its time, in which Ctrl+C may come

        sys.exit(cli.run(sys.argv[1:], open_window=open_window))
    except KeyboardInterrupt:
        sys.stderr.write("abd-app: cancelled\n")
        sys.exit(RunCancelledError.exit_code)


def open_window(file: str | None, demo: bool) -> int:
    """Shows the window until it is closed.

    Args:
        file: The teacher file to open; ``None``: an empty window.
        demo: Open the demo teacher instead.

    Returns:
        The exit code of the window.

    Raises:
        UsageError: The packages or system libraries of the window are missing.
    """
    try:
        from abd_app.app import main as show_window
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] not in _WINDOW_PACKAGES:
            raise
        raise UsageError(
            "The window cannot open here.",
            why=str(error),
            remedy="Install the window's packages (pip install PySide6-Essentials pyqtgraph qtawesome; on Debian and "
            "Ubuntu also the system libraries: packaging/setup.sh). The terminal commands work without: "
            "abd-app distill --help.",
        ) from error
    return show_window(file, demo=demo)


if __name__ == "__main__":
    main()
