"""Which class each labelled image is of: pictures in class folders, and labels that come with names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from abd_app.errors import UsageError
from abd_app.measure.class_folders import class_folders, class_pictures
from abd_app.measure.class_order import indices_by_name, numbers_as_names, order_doubted
from abd_app.measure.given import GivenImages
from abd_app.teacher import Finding


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """The pictures of a folder with one sub-folder per class, not read yet.

    Attributes:
        files: All of them.
        labels: ``(N,)`` int64, the class index of each.
        class_names: By class index; empty if the folders do not name every class.
        findings: What leaves classes in doubt, was passed over, or is not there.
    """

    files: list[Path]
    labels: npt.NDArray[np.int64]
    class_names: tuple[str, ...]
    findings: tuple[Finding, ...]


def labelled_pictures(given: GivenImages, num_classes: int, teacher_names: Sequence[str]) -> LabelledPictures:
    """Finds the pictures of a folder, and which class each is of.

    Args:
        given: The folder.
        num_classes: Of the teacher.
        teacher_names: By class index; empty if not known.

    Raises:
        UsageError: The folder cannot be read, holds no pictures in class folders, or other classes than the teacher's.
    """
    folders = class_folders(given)
    names = [folder.name for folder in folders]
    indices, doubts = _class_indices(given, names, num_classes, teacher_names)
    pictures = class_pictures(folders, given)
    return LabelledPictures(
        files=pictures.files,
        labels=np.repeat(np.array(indices, np.int64), pictures.counts),
        class_names=_all_names(dict(zip(indices, names, strict=True)), num_classes),
        findings=doubts + pictures.findings,
    )


def labels_by_name(
    given: GivenImages,
    labels: npt.NDArray[np.int64],
    names: tuple[str, ...],
    num_classes: int,
    teacher_names: Sequence[str],
) -> tuple[npt.NDArray[np.int64], tuple[str, ...], tuple[Finding, ...]]:
    """Labels and class names in the teacher's order, if both name the same classes; else as they are, which is said.

    Args:
        given: Where the labels are from.
        labels: ``(N,)`` class indices.
        names: By class index; empty if there are none.
        num_classes: Of the teacher.
        teacher_names: By class index; empty if not known.

    Returns:
        The labels, the names (empty unless there is one for each class), and what leaves them in doubt.
    """
    known = tuple(teacher_names)
    doubts: tuple[Finding, ...] = ()
    if names and known and names != known:
        by_name = indices_by_name(names, known) if len(names) == len(known) else None
        if by_name is not None:
            return np.array(by_name)[labels], known, ()
        doubts = (_other_names(names, known, given.called),)
    if len(names) not in (0, num_classes) and not doubts:
        detail = f"The array 'classes' names {len(names)}, and there are {num_classes} classes."
        doubts = (Finding("warning", f"Class names of the {given.called} are not used", detail),)
    return labels, names if len(names) == num_classes else (), doubts


def _other_names(names: tuple[str, ...], teacher_names: tuple[str, ...], called: str) -> Finding:
    detail = (
        "Labels were taken as class indices; if classes are in another order, accuracy and attack success are wrong."
    )
    unlike = next((pair for pair in zip(names, teacher_names, strict=False) if pair[0] != pair[1]), None)
    if unlike is not None:
        detail = f"The first that differs is {unlike[0]!r} instead of {unlike[1]!r}. {detail}"
    return Finding("warning", f"{called.capitalize()} name other classes than the teacher", detail)


def _class_indices(
    given: GivenImages, names: list[str], num_classes: int, teacher_names: Sequence[str]
) -> tuple[list[int], tuple[Finding, ...]]:
    """The class index of each folder, and a finding if their names leave it in doubt."""
    by_name = indices_by_name(names, teacher_names)
    if all(name.isascii() and name.isdigit() for name in names):
        indices = [int(name) for name in names]
        if by_name is not None:  # ImageFolder sorts 10 before 2: its classes have other numbers than names
            return by_name, () if by_name == indices else (numbers_as_names(names, by_name, given.called),)
        if max(indices) >= num_classes or len(set(indices)) < len(indices):
            raise UsageError(
                f"The class folders do not fit {given.reference}'s classes 0 to {num_classes - 1}.",
                where=given.where(),
                why=f"They are named {min(indices)} to {max(indices)}; each class index may occur once.",
                remedy="Name the folders by class index, counted from 0.",
            )
        return indices, ()
    if by_name is not None:
        return by_name, ()
    if len(names) != num_classes:
        raise UsageError(
            f"There are {len(names)} class folders, but {given.reference} has {num_classes} classes.",
            where=given.where(),
            why="Which folder is which class cannot be told from the names.",
            remedy="Name the folders by class index (0, 1, 2, ...), or give one folder per class in sorted order.",
        )
    doubted = len(teacher_names) == num_classes
    return list(range(num_classes)), (order_doubted(names, teacher_names, given.called),) if doubted else ()


def _all_names(names: dict[int, str], num_classes: int) -> tuple[str, ...]:
    """By class index; none where some are missing, or are numbers, which say no more than the index."""
    if len(names) < num_classes or all(name.isascii() and name.isdigit() for name in names.values()):
        return ()
    return tuple(names[index] for index in range(num_classes))
