"""Writes result files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from abd_app.errors import RunFailedError

_REMEDIES = {
    errno.ENOSPC: "Free some space on this disk, or choose another output folder.",
    errno.EDQUOT: "Free some space in your quota, or choose another output folder.",
    errno.EACCES: "Choose an output folder that you may write to.",
    errno.EPERM: "Choose an output folder that you may write to.",
    errno.EROFS: "Choose an output folder on a disk that can be written.",
    errno.ENOENT: "The output folder has gone; choose one that exists.",
}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it when the block ends well and removed when it does not.

    Raises:
        RunFailedError: The disk is full, the folder is read-only or has gone; an older file at ``path`` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise RunFailedError(
            f"{path.name} could not be written.",
            where=str(path.parent),
            why=error.strerror or str(error),
            remedy=_REMEDIES.get(error.errno or 0, "Choose another output folder."),
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all; what UTF-8 cannot hold (odd file names) is written as escapes.

    Raises:
        RunFailedError: As :func:`replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))
