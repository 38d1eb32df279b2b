"""What a user's labelled images are to a teacher, before they are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from abd_app.measure.arrays import describe_arrays
from abd_app.measure.fit import affordable, not_all, other_colours, other_size
from abd_app.measure.given import GivenImages
from abd_app.measure.labelled import labelled_pictures, labels_by_name
from abd_app.pictures import open_picture
from abd_app.teacher import Finding, ImageSpec


@dataclass(frozen=True)
class ImagesGlance:
    """Labelled images as they lie there.

    Attributes:
        count: How many there are.
        num_classes: Of how many of the teacher's classes.
        height: Pixels; of the first picture of a folder.
        width: Likewise.
        alike: Whether all are of this size; of a folder that is not known.
        findings: What a run would say about them, as far as it can be seen without reading all of them.
    """

    count: int
    num_classes: int
    height: int
    width: int
    alike: bool
    findings: tuple[Finding, ...] = ()


def glance_at_images(path: str | Path, spec: ImageSpec, *, class_names: Sequence[str] = ()) -> ImagesGlance:
    """Looks at what :func:`abd_app.measure.load_evaluation` would read: an ``.npz``'s labels, a folder's first picture.

    Args:
        path: The folder or file.
        spec: Of the teacher's input.
        class_names: Of the teacher, when its file states them.

    Raises:
        UsageError: As :func:`abd_app.measure.load_evaluation`, but for pictures that are not looked at.
    """
    given = GivenImages(Path(path))
    if given.is_folder():
        there = labelled_pictures(given, spec.num_classes, class_names)
        first = open_picture(there.files[0], what="evaluation image", option=given.option, turned=False)
        count, labels, findings = len(there.files), there.labels, there.findings
        height, width, channels = first.height, first.width, 1 if first.mode == "L" else 3
        alike, they_are = False, "The first one is"
    else:
        (count, height, width, channels), labels, names = describe_arrays(given, num_classes=spec.num_classes)
        labels, _, findings = labels_by_name(given, labels, names, spec.num_classes, class_names)
        alike, they_are = True, "They are"
    findings += not_all(given.called, used=len(affordable(count, spec)), total=count)
    if (height, width) != (spec.height, spec.width):
        detail = f"{they_are} {height} x {width} pixels, resized and centre-cropped to {spec.height} x {spec.width}."
        findings = (*findings, other_size(given.called, detail))
    if (channels == 1) != (spec.channels == 1):
        findings = (*findings, other_colours(given.called, spec, f"{they_are} {'grey' if channels == 1 else 'RGB'}."))
    return ImagesGlance(count, len(np.unique(labels)), height, width, alike, findings)
