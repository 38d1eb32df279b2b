"""Where results go, and how their files are written: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path

from abd_app.errors import RunFailedError, UsageError
from abd_app.whole_file import replaced_whole

_REMEDIES = {
    errno.ENOSPC: "Free some space on this disk, or choose another output folder.",
    errno.EDQUOT: "Free some space in your quota, or choose another output folder.",
    errno.EACCES: "Choose an output folder that you may write to.",
    errno.EPERM: "Choose an output folder that you may write to.",
    errno.EROFS: "Choose an output folder on a disk that can be written.",
    errno.ENOENT: "The output folder has gone; choose one that exists.",
}


_TRY = ".abd-app-try-"


def check_new_folder(folder: Path, remedy: str, *, passed_over: Collection[Path] = ()) -> None:
    """Sees to it before the long work that results can go to a folder: it is empty or absent, and can be written.

    The latter is tried, with an empty folder that is removed at once: permissions do not tell of every disk.

    Args:
        passed_over: What may lie in it.

    Raises:
        UsageError: It is in use (then ``remedy`` says what to do), or nothing can be written there.
    """
    if folder.exists() and (not folder.is_dir() or any(_in_use(one, passed_over) for one in folder.iterdir())):
        raise UsageError(
            "The output folder is already in use.",
            where=str(folder),
            why="It is a file." if not folder.is_dir() else "It is not empty; nothing in it is overwritten.",
            remedy=remedy,
        )
    path = folder.absolute()
    nearest = next((one for one in (path, *path.parents) if one.exists()), path)
    try:
        tempfile.TemporaryDirectory(dir=nearest, prefix=_TRY).cleanup()
    except OSError as error:
        why = "is not a folder" if not nearest.is_dir() else f"cannot be written: {error.strerror or error}"
        raise UsageError(
            "The output folder cannot be made there.",
            where=str(folder),
            why=f"{nearest} {why}.",
            remedy="Give another folder with --out.",
        ) from error


def _in_use(path: Path, passed_over: Collection[Path]) -> bool:
    # Of several processes of one run another may be trying just now.
    return not path.name.startswith(_TRY) and path not in passed_over


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """As :func:`abd_app.whole_file.replaced_whole`, with a message of this app where that fails.

    Raises:
        RunFailedError: The disk is full, the folder is read-only or has gone; an older file at ``path`` is untouched.
    """
    try:
        with replaced_whole(path) as temporary:
            yield temporary
    except OSError as error:
        raise RunFailedError(
            f"{path.name} could not be written.",
            where=str(path.parent),
            why=error.strerror or str(error),
            remedy=_REMEDIES.get(error.errno or 0, "Choose another output folder."),
        ) from error


@contextlib.contextmanager
def saved_whole(what: str) -> Iterator[None]:
    """Turns the ``RuntimeError`` of its zip writer, by which torch reports a full disk, into one of the system.

    Args:
        what: What is being saved, as the beginning of a sentence.

    Raises:
        OSError: It could not be written.
    """
    try:
        yield
    except RuntimeError as error:
        why = f"{what} could not be written whole: the disk or a quota may be full."
        raise OSError(errno.ENOSPC, why) from error


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text whole or not at all; what UTF-8 cannot hold (odd file names) is written as escapes.

    Raises:
        RunFailedError: As :func:`replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="backslashreplace"))
