"""Classes of which the student lost much more than of the others: accuracy over all classes hides them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from abd_app.events import Measured
from abd_app.teacher import Finding
from abd_app.text import percent

FURTHER_BEHIND = 0.1
"""Of accuracy, that a class must have lost more than the others did."""
FEWEST_IMAGES = 20
"""Of a class; of fewer nothing is said."""
CHANCE = 0.01
"""At most, that any class is named although none lost more than the others."""
_NAMED = 3
_LONGEST_NAME = 60


def finding_of_classes(
    teacher: Measured | None, student: Measured | None, twin: Measured | None, names: Sequence[str]
) -> Finding | None:
    """A warning that names the classes that lost most; ``None`` where none stands out or nothing was measured.

    What a defence unlearns is paid by the class that it suspects, and a class that hardly occurs in the synthetic
    images is learned badly; one class of ten can lose half of its images while accuracy drops by a twentieth. The loss
    of a class is compared with that of all others by a normal test, with Bonferroni's correction for their number. That
    the same images were measured twice, which makes it smaller by chance, is left out: the test is too strict.

    Args:
        teacher: Measured on all images.
        student: On the same.
        twin: Likewise, if there is one.
        names: By class index; empty: they have none.
    """
    if teacher is None or student is None or not student.accuracy_by_class:
        return None
    counts = student.images_by_class
    lost = {index: before - student.accuracy_by_class[index] for index, before in teacher.accuracy_by_class.items()}
    total, images = sum(lost[index] * counts[index] for index in lost), sum(counts[index] for index in lost)
    errors = NormalDist().inv_cdf(1 - CHANCE / max(1, len(lost)))
    worst = []
    for index, own in lost.items():
        others = images - counts[index]
        if counts[index] < FEWEST_IMAGES or not others:
            continue
        further = own - (total - own * counts[index]) / others
        rates = teacher.accuracy_by_class[index], student.accuracy_by_class[index]
        error = math.sqrt(sum(_variance(rate, counts[index]) for rate in rates))
        if further >= max(FURTHER_BEHIND, errors * error):
            worst.append(index)
    worst.sort(key=lambda index: (-lost[index], int(index)))
    return _finding([_told(index, teacher, student, twin, names) for index in worst]) if worst else None


def _finding(told: list[str]) -> Finding:
    some = f"{len(told)} classes" if len(told) > 1 else told[0].partition(":")[0].replace("Class", "class")
    worst = f" The worst {_NAMED} of them: " if len(told) > _NAMED else " "
    return Finding(
        "warning",
        f"The student lost much more of {some} than of the others",
        f"At least {100 * FURTHER_BEHIND:.0f} points of accuracy more than of the others. Look at this before you rely "
        f"on the student.{worst}{'; '.join(told[:_NAMED])}.",
    )


def _told(index: str, teacher: Measured, student: Measured, twin: Measured | None, names: Sequence[str]) -> str:
    name = names[int(index)] if int(index) < len(names) else ""
    called = f"Class {index}" + (f" ({name!r:.{_LONGEST_NAME}})" if name else "")
    rates = [f"{percent(student.accuracy_by_class[index])} of {student.images_by_class[index]:,} images"]
    rates.append(f"the teacher {percent(teacher.accuracy_by_class[index])}")
    if twin is not None and index in twin.accuracy_by_class:
        rates.append(f"the undefended twin {percent(twin.accuracy_by_class[index])}")
    return f"{called}: {', '.join(rates)}"


def _variance(rate: float, images: int) -> float:
    """Of a measured rate, as if two more images had been seen, one of them right (Agresti & Coull, 1998)."""
    likely = (rate * images + 1) / (images + 2)
    return likely * (1 - likely) / images
