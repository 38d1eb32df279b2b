"""Handing the files of a finished run to the user."""

from __future__ import annotations

import shutil
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QUrl
from PySide6.QtGui import QDesktopServices

from abd_app.errors import RunFailedError
from abd_app.whole_file import replaced_whole


def deliver(source: Path, destination: Path) -> None:
    """Copies a file; an existing destination is replaced only by a complete copy.

    Raises:
        RunFailedError: The copy could not be made; the destination is as it was.
    """
    require(source)
    try:
        if destination.exists() and source.samefile(destination):
            return
        with replaced_whole(destination) as part:
            shutil.copyfile(source, part)
    except OSError as error:
        raise RunFailedError(
            _tr("The file could not be saved."),
            where=str(destination),
            why=str(error.strerror or error),
            remedy=_tr("Choose another place. The original stays in {folder}.").format(folder=source.parent),
        ) from error


def show_outside(path: Path) -> None:
    """Shows a file or a folder in the program that the system has for it.

    Raises:
        RunFailedError: It is gone, or the system has no such program.
    """
    require(path)
    if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
        raise RunFailedError(
            _tr("The system could not open it."),
            where=str(path),
            why=_tr("It names no program for this."),
            remedy=_tr("Open it by hand."),
        )


def require(path: Path) -> None:
    """Checks that something that a run has left is still there.

    Raises:
        RunFailedError: It is gone.
    """
    if not path.exists():
        raise RunFailedError(
            _tr("What the run has left is no longer there."),
            where=str(path),
            why=_tr("It was moved or deleted."),
            remedy=_tr("Put it back, for instance from the trash, or run the plan again."),
        )


def _tr(text: str) -> str:
    return QCoreApplication.translate("delivery", text)
