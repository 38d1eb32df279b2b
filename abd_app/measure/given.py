"""Where a user's labelled images are, and how messages speak of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from abd_app.errors import UsageError


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

    def is_folder(self, what: str = "images") -> bool:
        """Whether they are in a folder, and not in a file.

        Args:
            what: Is looked for.

        Raises:
            UsageError: There is neither of the two, or nobody may look.
        """
        try:
            if self.path.is_dir():
                return True
            if self.path.is_file():
                return False
            there = self.path.exists()
        except OSError as error:
            raise UsageError(
                "The images cannot be looked at.",
                where=self.where(),
                why=f"{error.strerror}.",
                remedy="Check the permissions of the folders above.",
            ) from error
        raise UsageError(
            f"There are no {what} at this path.",
            where=self.where(),
            why="It is neither a folder nor a regular file." if there else "The path does not exist.",
            remedy="Give a folder with one sub-folder per class, or an .npz with images and labels.",
        )

    def where(self, path: Path | None = None) -> str:
        """Where something is wrong, for a message: there, or at ``path`` in it."""
        return f"{self.option} {path or self.path}"
