"""Where a user's labelled images are, and how messages speak of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class GivenImages:
    """A folder with one sub-folder per class, or an ``.npz``, that a user gave.

    Attributes:
        path: Of the folder or file.
        option: The option or argument by which it was given.
        called: What findings call the images.
        part: Which arrays are meant, where an archive has some for training and some for testing.
    """

    path: Path
    option: str = "--data"
    called: str = "evaluation images"
    part: Literal["test", "train"] = "test"

    @property
    def reference(self) -> str:
        """Whose classes theirs are to be, for messages; while a teacher is made, of the images that it learns from."""
        return "the teacher" if self.option == "--data" else "DATA"

    def where(self, path: Path | None = None) -> str:
        """Where something is wrong, for a message: there, or at ``path`` in it."""
        return f"{self.option} {path or self.path}"
