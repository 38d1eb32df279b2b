"""Labelled images, to measure on or to learn from: a folder per class, or an ``.npz``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image

from abd_app.measure.arrays import read_arrays
from abd_app.measure.fit import affordable, not_all, other_colours, other_size
from abd_app.measure.given import GivenImages
from abd_app.measure.labelled import labelled_pictures, labels_by_name
from abd_app.pictures import fit_picture, open_picture
from abd_app.teacher import Finding, ImageSpec


@dataclass(frozen=True, eq=False)
class LabelledSet:
    """Labelled images in the size and colours of a teacher.

    Attributes:
        images: ``(N, C, H, W)`` uint8, on the CPU.
        labels: ``(N,)`` int64 class indices.
        class_names: By class index; empty if the data does not name every class.
        findings: What was done to the images to make them fit.
    """

    images: torch.Tensor
    labels: torch.Tensor
    class_names: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def load_evaluation(
    path: str | Path,
    spec: ImageSpec,
    *,
    class_names: Sequence[str] = (),
    called: str = "evaluation images",
    option: str = "--data",
    part: Literal["test", "train"] = "test",
) -> LabelledSet:
    """Reads labelled images and brings them to the size and colours of ``spec``.

    A folder has one sub-folder per class, with the images in it or further below. Its name is one of ``class_names`` if
    all are, else a class index if all are whole numbers, else its place in the sorted order is the index. A finding
    says so where numbers could be both names and indices, and mean other classes, where sorted folders are not
    ``class_names``, where a class has no images, and where images were passed over.

    An ``.npz`` has ``images`` ``(N, H, W, C)`` or ``(N, H, W)`` of whole numbers from 0 to 255, ``labels`` ``(N,)`` of
    whole numbers (or both by the names that Keras or MedMNIST use) and perhaps ``classes``, their names. Where these
    are ``class_names`` in another order, labels are matched by name; where they are other names, the labels stay and a
    finding says so. Case, spaces and underscores make no other name.

    Args:
        class_names: The teacher's class names, when its file states them.
        called: What findings call the images.
        option: By which they were given, for messages.
        part: As of :class:`abd_app.measure.given.GivenImages`.

    Raises:
        UsageError: Anything missing, unreadable, empty or outside the teacher's classes.
    """
    given = GivenImages(Path(path), option, called, part)
    read = _from_folder if given.is_folder() else _from_arrays
    return read(given, spec, class_names)


def check_there(path: str | Path) -> None:
    """Refuses a path at which there is neither a folder nor a file.

    Raises:
        UsageError: There is neither, or nobody may look.
    """
    GivenImages(Path(path)).is_folder()


def _from_folder(given: GivenImages, spec: ImageSpec, teacher_names: Sequence[str]) -> LabelledSet:
    there = labelled_pictures(given, spec.num_classes, teacher_names)
    files, labels = there.files, there.labels
    chosen = affordable(len(files), spec)
    pixels = np.empty((len(chosen), spec.channels, spec.height, spec.width), dtype=np.uint8)
    recoloured, other_sizes = 0, Counter[tuple[int, int]]()
    for row, index in enumerate(chosen):
        picture = open_picture(files[index], what=given.called.removesuffix("s"), option=given.option, turned=False)
        if picture.size != (spec.width, spec.height):
            other_sizes[picture.size] += 1
        recoloured += (picture.mode == "L") != (spec.channels == 1)
        pixels[row] = fit_picture(picture, height=spec.height, width=spec.width, channels=spec.channels)
    return LabelledSet(
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels[chosen]),
        class_names=tuple(teacher_names) or there.class_names,
        findings=there.findings + _findings(spec, given.called, len(files), len(chosen), other_sizes, recoloured),
    )


def _from_arrays(given: GivenImages, spec: ImageSpec, teacher_names: Sequence[str]) -> LabelledSet:
    images, labels, names = read_arrays(given, num_classes=spec.num_classes)
    labels, names, doubts = labels_by_name(given, labels, names, spec.num_classes, teacher_names)
    chosen = affordable(len(images), spec)
    height, width = images.shape[1:3]
    resized = (height, width) != (spec.height, spec.width)
    other_sizes = Counter({(width, height): len(chosen)} if resized else ())
    recoloured = len(chosen) if (images.shape[3] == 1) != (spec.channels == 1) else 0
    if resized or recoloured:
        pixels = np.empty((len(chosen), spec.channels, spec.height, spec.width), dtype=np.uint8)
        for row, index in enumerate(chosen):
            picture = Image.fromarray(images[index, :, :, 0] if images.shape[3] == 1 else images[index])
            pixels[row] = fit_picture(picture, height=spec.height, width=spec.width, channels=spec.channels)
    else:
        pixels = np.ascontiguousarray(images[chosen].transpose(0, 3, 1, 2))
    return LabelledSet(
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels[chosen]),
        class_names=names,
        findings=doubts + _findings(spec, given.called, len(images), len(chosen), other_sizes, recoloured),
    )


def _findings(
    spec: ImageSpec, called: str, total: int, used: int, other_sizes: Counter[tuple[int, int]], recoloured: int
) -> tuple[Finding, ...]:
    """What was done to ``used`` of ``total`` images; ``other_sizes``: of the resized ones, by (width, height)."""
    findings = not_all(called, used=used, total=total)
    if other_sizes:
        size = f"{spec.height} x {spec.width} pixels"
        detail = f"{other_sizes.total()} of {used} images were resized and centre-cropped to {size}."
        if len(other_sizes) == 1:
            ((width, height),) = other_sizes
            detail += f" All of these have {height} x {width}."
        findings = (*findings, other_size(called, detail))
    if recoloured:
        findings = (*findings, other_colours(called, spec, f"{recoloured} of {used} images."))
    return findings
