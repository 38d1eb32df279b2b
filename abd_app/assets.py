"""Where the app's own files are: icons, style, report template, demo teacher."""

from __future__ import annotations

from pathlib import Path

from abd_app.errors import RunFailedError

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "resources", _PACKAGE.parent / "resources")
"""Installed from a wheel; started from a checkout."""


def asset(relative: str) -> Path:
    """The path of one of the app's own files or folders.

    Args:
        relative: Path below ``resources/``, with forward slashes, e.g. ``demo/teacher.safetensors``.

    Raises:
        RunFailedError: There is no such file: the installation is incomplete.
    """
    for root in _ROOTS:
        if (root / relative).exists():
            return root / relative
    raise RunFailedError(
        f"The app's own file {relative} is missing.",
        where=str(_ROOTS[0].parent),
        why="The installation is incomplete.",
        remedy="Install the app again.",
    )
