"""The one read of an untrusted file: a private copy whose SHA-256 is what the report vouches for."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from abd_app.errors import RunFailedError, TeacherRefusedError, UsageError

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class PrivateCopy:
    """A teacher file as it was read.

    Attributes:
        original: Where the user keeps the file; nothing but its name and its neighbours are looked at again.
        path: The copy; only this is opened.
        sha256: Of the copy, hexadecimal.
        size_bytes: Of the copy.
    """

    original: Path
    path: Path
    sha256: str
    size_bytes: int


@contextmanager
def private_copy(file: str) -> Iterator[PrivateCopy]:
    """Copies ``file`` into a folder of its own and removes it at the end.

    Raises:
        UsageError: There is no such file.
        TeacherRefusedError: It is not a plain file, or it cannot be read.
        RunFailedError: The temporary folder has no room for it.
    """
    original = Path(file).expanduser()
    with tempfile.TemporaryDirectory(prefix="abd-app-intake-", ignore_cleanup_errors=True) as folder:
        target = Path(folder) / "teacher"
        digest = hashlib.sha256()
        size = 0
        with _opened(original) as descriptor, _written(target) as copy:
            while piece := _read(descriptor, original):
                digest.update(piece)
                size += len(piece)
                _write(copy, piece, original)
        yield PrivateCopy(original, target, digest.hexdigest(), size)


@contextmanager
def _opened(original: Path) -> Iterator[int]:
    try:
        # Without O_NONBLOCK, opening a named pipe waits for a writer that may never come.
        descriptor = os.open(original, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UsageError(
            "The teacher file does not exist.", where=str(original), remedy="Check the path and give it again."
        ) from error
    except OSError as error:
        if original.is_dir():
            raise _is_a_folder(original) from error
        raise _unreadable(original, error) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise _is_a_folder(original)
        if not stat.S_ISREG(mode):
            raise TeacherRefusedError(
                "The teacher is not a plain file.",
                where=str(original),
                why="It is a pipe, a socket or a device; such a thing has no end and no fixed content.",
                remedy="Save the model to a plain file and open that.",
            )
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _written(target: Path) -> Iterator[int]:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int, original: Path) -> bytes:
    try:
        return os.read(descriptor, _PIECE_BYTES)
    except OSError as error:
        raise _unreadable(original, error) from error


def _write(descriptor: int, piece: bytes, original: Path) -> None:
    try:
        view = memoryview(piece)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise RunFailedError(
            "The private copy of the teacher could not be written.",
            where=tempfile.gettempdir(),
            why="The disk is full." if full else (error.strerror or str(error)),
            remedy=f"Free room for a copy of {original.name} in the temporary folder, or point TMPDIR to another disk.",
        ) from error


def _is_a_folder(original: Path) -> TeacherRefusedError:
    models = [
        path.name for path in sorted(original.glob("*")) if path.suffix in (".safetensors", ".onnx", ".pt", ".pth")
    ]
    return TeacherRefusedError(
        "The teacher is a folder, not a file.",
        where=str(original),
        remedy=f"Open the file {models[0]} in it." if models else "Open the model file itself.",
    )


def _unreadable(original: Path, error: OSError) -> TeacherRefusedError:
    return TeacherRefusedError(
        "The teacher file cannot be read.",
        where=str(original),
        why=error.strerror or str(error),
        remedy="Check its permissions and that the disk is connected.",
    )
