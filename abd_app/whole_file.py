"""Files are written whole or not at all: what was there before is replaced by a complete file only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_MOST_OF_A_NAME = 80
"""Characters: with more the temporary name could be too long where the file's own is not."""


@contextlib.contextmanager
def replaced_whole(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, renamed to it when the block ends well and removed when it does not.

    Raises:
        OSError: It could not be written or not be renamed; an older file at ``path`` is untouched.
    """
    temporary = path.with_name(f".{path.name[:_MOST_OF_A_NAME]}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
