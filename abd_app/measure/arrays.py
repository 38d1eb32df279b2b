"""Reads labelled images from an ``.npz``, looking at each array's header before any memory is taken."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from abd_app.errors import UsageError
from abd_app.measure.given import GivenImages

MAX_ARRAY_BYTES = 4 * 2**30
_MAX_LABEL_BYTES = 64 * 2**20
MOST_CLASSES = 100_000
"""That images may say they are of."""
_REMEDY = "Give an .npz with images (N, H, W, C) uint8 and labels (N,)."
_NAMES = {
    "test": (("images", "labels"), ("x_test", "y_test"), ("test_images", "test_labels")),
    "train": (("images", "labels"), ("x_train", "y_train"), ("train_images", "train_labels")),
}
"""Of the arrays of images and labels, by the part that is wanted: ours, those of Keras' archives and of MedMNIST."""
_SHOWN = 8


def read_arrays(
    given: GivenImages, *, num_classes: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]:
    """Images ``(N, H, W, C)`` uint8, labels ``(N,)`` int64 and class names (empty if not there) of an ``.npz``.

    Whole numbers of another type are converted; pickled arrays are refused. Of an archive with arrays for training and
    for testing, it is those of ``given.part``.

    Raises:
        UsageError: No ``.npz``, arrays missing or of another kind, labels outside the teacher's classes.
    """
    with _opened(given) as archive:
        of_images, of_labels = _names(given, archive)
        images = _read(given, archive, of_images, limit=MAX_ARRAY_BYTES)
        labels, names = _read_labels(given, archive, of_labels)
    images = _checked_images(given, images)
    return images, _checked_labels(given, labels, count=len(images), num_classes=num_classes), names


def describe_arrays(
    given: GivenImages, *, num_classes: int | None = None
) -> tuple[tuple[int, ...], npt.NDArray[np.int64], tuple[str, ...]]:
    """Shape ``(N, H, W, C)`` of the images, labels ``(N,)``, and class names of an ``.npz``; reads no image.

    Args:
        given: The file.
        num_classes: That there may be; ``None``: as many as its labels say.

    Raises:
        UsageError: As :func:`read_arrays`.
    """
    with _opened(given) as archive:
        of_images, of_labels = _names(given, archive)
        shape, dtype = _header(given, archive, of_images, limit=MAX_ARRAY_BYTES)
        labels, names = _read_labels(given, archive, of_labels)
    pixel = np.zeros((), np.uint8 if dtype.kind in "iu" else dtype)
    stand_in = _shaped_images(given, np.broadcast_to(pixel, shape))
    return stand_in.shape, _checked_labels(given, labels, count=len(stand_in), num_classes=num_classes), names


@contextlib.contextmanager
def _opened(given: GivenImages) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(given.path) as archive:
            yield archive
    except UsageError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy's header parser raise many types on damaged files
        _refuse(given, "The file of images cannot be read.", why=str(error) or type(error).__name__)


def _names(given: GivenImages, archive: zipfile.ZipFile) -> tuple[str, str]:
    """What the arrays of images and labels are called; ours where none is known, for the message."""
    there = archive.namelist()
    known = _NAMES[given.part]
    return next((pair for pair in known if f"{pair[0]}.npy" in there), known[0])


def _read_labels(given: GivenImages, archive: zipfile.ZipFile, name: str) -> tuple[npt.NDArray[Any], tuple[str, ...]]:
    """The labels as they are, and the class names, if there are any."""
    labels = _read(given, archive, name, limit=_MAX_LABEL_BYTES)
    if "classes.npy" not in archive.namelist():
        return labels, ()
    names = _read(given, archive, "classes", limit=_MAX_LABEL_BYTES)
    if names.ndim != 1 or names.dtype.kind not in "USiu":
        _refuse(
            given,
            f"The array 'classes' is {names.dtype} of the shape {names.shape}, not one name per class.",
            remedy="Save the names as text, in the order of the labels: np.array(names, str); or leave the array out.",
        )
    if names.dtype.kind in "iu":  # that class 3 is called 3 says nothing
        return labels, () if np.array_equal(names, np.arange(len(names))) else tuple(map(str, names.tolist()))
    decoded = (name.decode(errors="backslashreplace") if isinstance(name, bytes) else name for name in names.tolist())
    return labels, tuple(decoded)


def _read(given: GivenImages, archive: zipfile.ZipFile, name: str, *, limit: int) -> npt.NDArray[Any]:
    _header(given, archive, name, limit=limit)
    with archive.open(f"{name}.npy") as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)


def _header(
    given: GivenImages, archive: zipfile.ZipFile, name: str, *, limit: int
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, before any memory is taken for it."""
    if f"{name}.npy" not in archive.namelist():
        there = [entry.removesuffix(".npy") for entry in archive.namelist()]
        more = f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        why = f"Its arrays are {', '.join(map(repr, there[:_SHOWN]))}{more}." if there else "It is empty."
        _refuse(given, f"The file of images has no array {name!r}.", why=why)
    with archive.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.hasobject:
            _refuse_objects(given, name)
        size_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size_bytes > limit:
        _refuse(given, f"The array {name!r} is too large.", why=f"{size_bytes >> 20} MiB, the limit is {limit >> 20}.")
    return shape, dtype


def _refuse_objects(given: GivenImages, name: str) -> NoReturn:
    kind = "str" if name == "classes" else "np.int64" if "label" in name or name.startswith("y_") else "np.uint8"
    _refuse(
        given,
        f"The array {name!r} holds Python objects.",
        why="Reading them could run code that the file brings along.",
        remedy=f"Save the array with a type of NumPy: {name}.astype({kind}).",
    )


def _checked_images(given: GivenImages, images: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if images.dtype.kind in "iu" and images.size:
        if images.min() < 0 or images.max() > 255:
            run = f"The pixels of the images run from {images.min()} to {images.max()}, not from 0 to 255."
            _refuse(given, run, remedy="Store pixels as uint8 from 0 to 255.")
        images = images.astype(np.uint8, copy=False)
    return _shaped_images(given, images)


def _shaped_images(given: GivenImages, images: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """``(N, H, W, C)``; refuses all but these, and grey ones without C, in uint8."""
    if images.dtype != np.uint8:
        _refuse(given, f"The images are {images.dtype}, not uint8.", remedy="Store pixels as uint8 from 0 to 255.")
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3) or min(images.shape[1:3]) < 1:
        _refuse(
            given,
            f"The images have the shape {images.shape}.",
            why="Channels come last and are 1 or 3: (N, H, W, C), or (N, H, W) for grey.",
            remedy="Bring the array into that order, e.g. images.transpose(0, 2, 3, 1).",
        )
    if not len(images):
        _refuse(given, "The file of images holds no images.")
    return images


def _checked_labels(
    given: GivenImages, labels: npt.NDArray[Any], *, count: int, num_classes: int | None
) -> npt.NDArray[np.int64]:
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        _refuse(given, f"The labels are {labels.dtype} of the shape {labels.shape}, not whole numbers (N,).")
    if len(labels) != count:
        _refuse(given, f"There are {count} images but {len(labels)} labels.")
    if labels.min() < 0 or labels.max() >= (num_classes or MOST_CLASSES):
        _refuse_labels(given, f"The labels run from {labels.min()} to {labels.max()}", num_classes)
    return labels.astype(np.int64)


def _refuse_labels(given: GivenImages, run: str, num_classes: int | None) -> NoReturn:
    """``num_classes``: of the reference; ``None``: the labels themselves were to tell."""
    if num_classes is None:
        why = f"They are class indices, which count from 0; there may be {MOST_CLASSES:,} classes."
        _refuse(given, f"{run}.", why=why, remedy="Count classes from 0 without a gap.")
    correct = "; or correct --classes" if given.option == "--data" else ""
    _refuse(
        given,
        f"{run}, {given.reference}'s classes from 0 to {num_classes - 1}.",
        remedy=f"Count classes from 0, in {given.reference}'s order{correct}.",
    )


def _refuse(given: GivenImages, what: str, *, why: str = "", remedy: str = _REMEDY) -> NoReturn:
    raise UsageError(what, where=given.where(), why=why, remedy=remedy)
