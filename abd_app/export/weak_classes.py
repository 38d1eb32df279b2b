"""Classes that the student knows much worse than the teacher: accuracy over all classes hides them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from abd_app.events import Measured
from abd_app.teacher import Finding

FURTHER_BEHIND = 0.1
"""Of accuracy, that a class must be further behind the teacher's than all classes together are."""
CHANCE = 0.01
"""At most, that any class is named although none lost more than the others: of few images a rate may be far off."""
_NAMED = 3


def finding_of_classes(teacher: Measured | None, student: Measured | None, names: Sequence[str]) -> Finding | None:
    """A warning that names the classes that lost most; ``None`` where none stands out or nothing was measured.

    What a defence unlearns is paid by the class that it suspects, and a class that hardly occurs in the synthetic
    images is learned badly; one class of ten can lose half of its images while accuracy drops by a twentieth.

    Args:
        teacher: Measured on all images.
        student: On the same.
        names: By class index; empty: they have none.
    """
    if teacher is None or student is None:
        return None
    expected = teacher.accuracy - student.accuracy
    classes = student.accuracy_by_class.keys() & teacher.accuracy_by_class.keys()
    errors = NormalDist().inv_cdf(1 - CHANCE / max(1, len(classes)))  # Bonferroni
    lost = {}
    for index in classes:
        before, after = teacher.accuracy_by_class[index], student.accuracy_by_class[index]
        error = math.sqrt(sum(_variance(rate, student.images_by_class[index]) for rate in (before, after)))
        if before - after - expected >= max(FURTHER_BEHIND, errors * error):
            lost[index] = before - after
    if not lost:
        return None
    worst = sorted(lost, key=lambda index: (-lost[index], int(index)))
    told = "; ".join(
        f"{class_name(index, names)}: {_percent(student.accuracy_by_class[index])} of "
        f"{student.images_by_class[index]:,} images, the teacher {_percent(teacher.accuracy_by_class[index])}"
        for index in worst[:_NAMED]
    )
    some = f"{len(worst)} classes" if len(worst) > 1 else class_name(worst[0], names)
    others = f" The worst {_NAMED} of them: " if len(worst) > _NAMED else " "
    return Finding(
        "warning",
        f"The student is weak on {some[0].lower()}{some[1:]}",
        f"It lost at least ten points more there than over all classes.{others}{told}.",
    )


def _variance(rate: float, images: int) -> float:
    """Of a measured rate, as if two more images had been seen, one of them right (Agresti & Coull, 1998)."""
    likely = (rate * images + 1) / (images + 2)
    return likely * (1 - likely) / images


def class_name(index: str, names: Sequence[str]) -> str:
    """``Class 3``, with its name where ``names``, by class index, have one."""
    known = int(index) < len(names)
    return f"Class {index} ({names[int(index)]})" if known else f"Class {index}"


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"
