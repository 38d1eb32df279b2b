"""The one read of an untrusted file: a private copy whose SHA-256 is what the report vouches for."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from abd_app.errors import RunFailedError, TeacherRefusedError, UsageError
from abd_app.teacher import DataFile

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class PrivateCopy:
    """A teacher file as it was read.

    Attributes:
        original: Where the user keeps the file; nothing but its name and its neighbours are looked at again.
        path: The copy, or what it was rewritten as; only this is opened.
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
        UsageError: There is no such file, or it is a folder.
        TeacherRefusedError: It is not a plain file, or it cannot be read.
        RunFailedError: The temporary folder has no room for it.
    """
    original = Path(file).expanduser()
    with tempfile.TemporaryDirectory(prefix="abd-app-intake-", ignore_cleanup_errors=True) as folder:
        target = Path(folder) / "teacher"
        sha256, size = _copied(original, target)
        yield PrivateCopy(original, target, sha256, size)


def copy_beside(copy: PrivateCopy, name: str, folder: Path, *, max_bytes: int) -> DataFile:
    """Copies a file that the teacher file names and that lies beside it, under its name into ``folder``.

    The name is as little to be trusted as the file: nothing outside the folder of the original is looked at, and no
    link is followed.

    Raises:
        TeacherRefusedError: It is more than a file's name; or the file is missing, a link, no plain file, or larger
            than ``max_bytes``, or it cannot be read.
        RunFailedError: The temporary folder has no room for it.
    """
    bare = PurePosixPath(name).name == PureWindowsPath(name).name == name and "\0" not in name
    if not bare or name in ("", ".."):
        raise _out_of_reach(copy, f"It names {name!r}, which is not in its folder.")
    path = copy.original.parent / name
    try:
        status = path.lstat()
    except OSError as error:
        raise _out_of_reach(copy, f"{name!r} is not beside it.") from error
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise _out_of_reach(copy, f"{name!r} is a link, or not a plain file.")
    size = status.st_size
    if size <= max_bytes:  # it may still grow
        sha256, size = _copied(path, folder / name, follow_links=False, max_bytes=max_bytes)
    if size > max_bytes:
        raise _out_of_reach(copy, f"With {name!r} the model has more than 2 GB.")
    return DataFile(name, sha256, size)


def rewritten(copy: PrivateCopy, content: bytes) -> PrivateCopy:
    """The copy with other bytes to be looked at, but ``sha256`` and ``size_bytes`` of what was read.

    Raises:
        RunFailedError: The temporary folder has no room for it.
    """
    target = copy.path.with_name(f"{copy.path.name}-rewritten")
    with _written(target) as descriptor:
        _write(descriptor, content, copy.original)
    return replace(copy, path=target)


def _copied(
    original: Path, target: Path, *, follow_links: bool = True, max_bytes: int | None = None
) -> tuple[str, int]:
    """SHA-256 and bytes of what was copied; it ends soon after ``max_bytes``."""
    digest = hashlib.sha256()
    size = 0
    with _opened(original, follow_links=follow_links) as descriptor, _written(target) as copy:
        while (max_bytes is None or size <= max_bytes) and (piece := _read(descriptor, original)):
            digest.update(piece)
            size += len(piece)
            _write(copy, piece, original)
    return digest.hexdigest(), size


@contextmanager
def _opened(original: Path, *, follow_links: bool) -> Iterator[int]:
    # Without O_NONBLOCK, opening a named pipe waits for a writer that may never come.
    names = ("O_NONBLOCK", "O_BINARY", *(() if follow_links else ("O_NOFOLLOW",)))
    flags = sum(getattr(os, name, 0) for name in names)  # not every system has all of them
    try:
        descriptor = os.open(original, os.O_RDONLY | flags)
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


def _write(descriptor: int, content: bytes, original: Path) -> None:
    try:
        view = memoryview(content)
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


def _out_of_reach(copy: PrivateCopy, why: str) -> TeacherRefusedError:
    return TeacherRefusedError(
        "The teacher keeps weights in other files, and the app cannot take them from there.",
        where=str(copy.original),
        why=why,
        remedy="Put the file and those that it names into one folder, the files themselves and not links to them; or "
        f"save it as one file where it came from: onnx.save(onnx.load({copy.original.name!r}), 'single.onnx').",
    )


def _is_a_folder(original: Path) -> UsageError:
    models = [
        path.name for path in sorted(original.glob("*")) if path.suffix in (".safetensors", ".onnx", ".pt", ".pth")
    ]
    if not models:
        remedy = "Open the model file itself."
    elif len(models) == 1:
        remedy = f"Open the file {models[0]} in it."
    else:
        remedy = f"Open one of the {len(models)} model files in it, such as {models[0]}."
    return UsageError("The teacher is a folder, not a file.", where=str(original), remedy=remedy)


def _unreadable(original: Path, error: OSError) -> TeacherRefusedError:
    return TeacherRefusedError(
        "The teacher file cannot be read.",
        where=str(original),
        why=error.strerror or str(error),
        remedy="Check its permissions and that the disk is connected.",
    )
