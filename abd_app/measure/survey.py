"""What labelled images are, before they are read: how many classes, how large, grey or in colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from abd_app.errors import UsageError
from abd_app.measure.arrays import MOST_CLASSES, describe_arrays
from abd_app.measure.class_folders import class_folders, class_pictures
from abd_app.measure.given import GivenImages
from abd_app.pictures import open_picture


@dataclass(frozen=True)
class Survey:
    """Labelled images at a glance.

    Attributes:
        num_classes: Folders, or the highest class index and one more.
        channels: 1 or 3; of the first picture of a folder.
        height: Pixels; of the first picture of a folder.
        width: Likewise.
        class_names: By class index; empty if the images do not name their classes.
        first_picture: Of a folder; ``None`` for arrays, which have one size.
    """

    num_classes: int
    channels: int
    height: int
    width: int
    class_names: tuple[str, ...] = ()
    first_picture: Path | None = None


def survey_images(path: str | Path, *, option: str = "--data", part: Literal["test", "train"] = "test") -> Survey:
    """Looks at a folder with one sub-folder per class, or an ``.npz`` with images and labels.

    Folders named by whole numbers are class indices; other names are classes in sorted order.

    Args:
        option: By which they were given, for messages.
        part: As of :class:`GivenImages`.

    Raises:
        UsageError: Neither of the two, or nothing in it that could be learned from.
    """
    given = GivenImages(Path(path), option, part=part)
    if given.is_folder("labelled images"):
        return _survey_folder(given)
    (_, height, width, channels), labels, names = describe_arrays(given)
    num_classes = max(int(labels.max()) + 1, len(names))
    return Survey(num_classes, channels, height, width, names if len(names) == num_classes else ())


def _survey_folder(given: GivenImages) -> Survey:
    folders = class_folders(given)
    pictures = class_pictures(folders, given).files
    names = [folder.name for folder in folders]
    num_classes = _count_of_numbers(given, names) if all(map(_is_number, names)) else None
    first = open_picture(pictures[0], what="image", option=given.option, turned=False)
    return Survey(
        num_classes=num_classes or len(names),
        channels=1 if first.mode == "L" else 3,
        height=first.height,
        width=first.width,
        class_names=() if num_classes else tuple(names),
        first_picture=pictures[0],
    )


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _count_of_numbers(given: GivenImages, names: list[str]) -> int:
    """How many classes there are if folders are named by class index; refuses numbers that can be no such thing."""
    highest = max(names, key=int)
    if int(highest) >= MOST_CLASSES:
        raise UsageError(
            f"The names of the class folders are numbers, and were read as class indices up to {highest}.",
            where=given.where(),
            why=f"Class indices count from 0, and there may be {MOST_CLASSES:,} classes.",
            remedy="Name the folders 0, 1, 2, ..., or by more than a number, such as "
            f"'class {highest}', if these are names of classes.",
        )
    return int(highest) + 1
