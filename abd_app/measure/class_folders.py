"""A folder with one sub-folder per class, and the pictures in these."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from abd_app.errors import UsageError
from abd_app.measure.given import GivenImages
from abd_app.pictures import PICTURE_SUFFIXES
from abd_app.teacher import Finding

MOST_FILES = 5_000_000
"""Below the class folders; of more, somebody has probably given another folder than meant."""
_UNREAD_SUFFIXES = frozenset(
    (
        *(".avif", ".cr2", ".dcm", ".dds", ".dib", ".dng", ".exr", ".hdr", ".heic", ".heif", ".icns", ".ico", ".j2k"),
        *(".jp2", ".jpx", ".jxl", ".nef", ".pam", ".pcx", ".pfm", ".psd", ".ras", ".sgi", ".svg", ".svgz", ".tga"),
        *(".xbm", ".xpm"),
    )
)
"""Of kinds of images that are not read."""
_SHOWN = 5


@dataclass(frozen=True)
class ClassPictures:
    """The pictures in a folder's class folders.

    Attributes:
        files: Sorted, class folder by class folder.
        counts: How many are in each.
        findings: What was passed over, and which class folders hold none.
    """

    files: list[Path]
    counts: list[int]
    findings: tuple[Finding, ...]


def class_folders(given: GivenImages) -> list[Path]:
    """The sub-folders that stand for classes, sorted.

    Raises:
        UsageError: There are none, or the folder cannot be read.
    """
    with _told(given):
        folders = sorted(child for child in given.path.iterdir() if child.is_dir() and not child.name.startswith("."))
    if not folders:
        raise UsageError(
            "The folder of images has no class folders.",
            where=given.where(),
            why="Each class needs a sub-folder of its own.",
            remedy="Give a folder with one sub-folder per class, or an .npz with images and labels.",
        )
    return folders


def class_pictures(folders: Sequence[Path], given: GivenImages) -> ClassPictures:
    """The picture files in class folders and in the folders below these, as torchvision's ``ImageFolder`` finds them.

    Links to other folders are not followed below a class folder. Files that are no images (lists, thumbnails' indices)
    are passed over.

    Raises:
        UsageError: There are none at all, far too many files, or a folder cannot be read.
    """
    with _told(given):
        search = _Search(given)
        groups = [search.pictures(folder) for folder in folders]
    passed_over = search.passed_over()
    if not any(groups):
        raise UsageError(
            "The class folders hold no images.",
            where=given.where(),
            why=passed_over,
            remedy="Put PNG, JPEG or TIFF images into them.",
        )
    findings = [Finding("warning", f"Some {given.called} were passed over", passed_over)] if passed_over else []
    empty = [folder.name for folder, group in zip(folders, groups, strict=True) if not group]
    if empty:
        findings.append(_nothing_of(empty, given.called))
    return ClassPictures([file for group in groups for file in group], list(map(len, groups)), tuple(findings))


@contextlib.contextmanager
def _told(given: GivenImages) -> Iterator[None]:
    """Tells a user of a folder that the system does not let them read."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            "The folder of images cannot be read.",
            where=given.where(),
            why=str(error),
            remedy="Check its permissions.",
        ) from error


class _Search:
    """Goes through class folders, and counts what it passes over."""

    def __init__(self, given: GivenImages) -> None:
        self._given = given
        self._files = self._links = 0
        self._unread: Counter[str] = Counter()
        suffixes = [_suffix(entry.name) for entry in given.path.iterdir() if not entry.is_dir()]
        self._loose = sum(suffix in PICTURE_SUFFIXES | _UNREAD_SUFFIXES for suffix in suffixes)

    def pictures(self, folder: Path) -> list[Path]:
        found = []
        for inside, below, names in os.walk(folder, onerror=_raise):
            self._links += sum(Path(inside, name).is_symlink() for name in below)
            below[:] = [name for name in below if not name.startswith(".")]
            self._files += len(names)
            if self._files > MOST_FILES:
                raise UsageError(
                    f"There are more than {MOST_FILES:,} files in the class folders.",
                    where=self._given.where(),
                    remedy="Give a folder that holds the images alone, with one sub-folder per class.",
                )
            suffixes = [(name, _suffix(name)) for name in names]
            found += [Path(inside, name) for name, suffix in suffixes if suffix in PICTURE_SUFFIXES]
            self._unread.update(suffix for _, suffix in suffixes if suffix in _UNREAD_SUFFIXES)
        return sorted(found)

    def passed_over(self) -> str:
        """In sentences; empty if there was nothing."""
        said = []
        if self._unread:
            kinds = ", ".join(f"{number} {suffix}" for suffix, number in self._unread.most_common(_SHOWN))
            said.append(f"{self._unread.total()} files are images of kinds that are not read ({kinds}): save as PNG.")
        if self._loose:
            said.append(f"{self._loose} image files lie beside the class folders, so that their class is not known.")
        if self._links:
            said.append(f"{self._links} links to folders were not followed.")
        return " ".join(said)


def _suffix(name: str) -> str:
    """In lower case; empty for a hidden file."""
    return "" if name.startswith(".") else Path(name).suffix.lower()


def _raise(error: OSError) -> None:
    raise error


def _nothing_of(empty: Sequence[str], called: str) -> Finding:
    shown = ", ".join(map(repr, empty[:_SHOWN])) + (" ..." if len(empty) > _SHOWN else "")
    if len(empty) == 1:
        return Finding("warning", f"The class folder {shown} holds no images", f"No {called} are of that class.")
    detail = f"No {called} are of these classes: {shown}."
    return Finding("warning", f"{len(empty)} class folders hold no images", detail)
