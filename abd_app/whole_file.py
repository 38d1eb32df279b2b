"""Files are written whole or not at all: what was there before is replaced by a complete file only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_MOST_OF_A_NAME = 80
"""Characters: with more the temporary name could be too long where the file's own is not."""
_SUFFIX = ".part"


@contextlib.contextmanager
def replaced_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it when the block ends well and removed when it does not.

    Raises:
        OSError: It could not be written or not be renamed; an older file at ``path`` is untouched.
    """
    temporary = path.with_name(f"{_before_pid(path)}{os.getpid()}{_SUFFIX}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def parts_left(path: Path) -> list[Path]:
    """What processes that were killed while they wrote ``path`` have left beside it, or are writing there now."""
    before = _before_pid(path)
    return [one for one in path.parent.iterdir() if one.name.startswith(before) and one.name.endswith(_SUFFIX)]


def _before_pid(path: Path) -> str:
    return f".{path.name[:_MOST_OF_A_NAME]}."
