"""Handing the files of a finished run to the user."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from abd_app.errors import RunFailedError


def deliver(source: Path, destination: Path) -> None:
    """Copies a file; an existing destination is replaced only by a complete copy.

    Raises:
        RunFailedError: The copy could not be made; the destination is as it was.
    """
    part = ""
    try:
        if destination.exists() and source.samefile(destination):
            return
        handle, part = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name[:80]}-")
        os.close(handle)
        shutil.copyfile(source, part)
        Path(part).chmod(0o644)
        Path(part).replace(destination)
    except OSError as error:
        with contextlib.suppress(OSError):
            if part:
                Path(part).unlink()
        raise RunFailedError(
            "The file could not be saved.",
            where=str(destination),
            why=str(error.strerror or error),
            remedy=f"Choose another place. The original stays in {source.parent}.",
        ) from error
