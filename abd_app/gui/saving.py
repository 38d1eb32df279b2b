"""Files of the user's are replaced by complete ones only."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """A new file beside ``destination`` that takes its place when the block ends well, and is removed when it does not.

    Raises:
        OSError: It could not be made, or not take that place; what was there is as it was.
    """
    handle, name = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name[:80]}-")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)
        part.replace(destination)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
