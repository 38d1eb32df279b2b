"""Classes that the student knows much worse than the teacher: accuracy over all classes hides them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from abd_app.events import Measured
from abd_app.teacher import Finding

FURTHER_BEHIND = 0.1
"""Of accuracy, that a class must be further behind the teacher's than all classes together are."""
ERRORS = 3.0
"""Standard errors of the difference of two rates, at least: of few images a rate may be far off by chance."""
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
    expected = teacher.accuracy - student.accuracy + FURTHER_BEHIND
    lost = {}
    for index, before in teacher.accuracy_by_class.items():
        after, images = student.accuracy_by_class.get(index, before), teacher.images_by_class[index]
        error = math.sqrt((before * (1 - before) + after * (1 - after)) / images)
        if before - after >= max(expected, ERRORS * error):
            lost[index] = before - after
    if not lost:
        return None
    worst = sorted(lost, key=lambda index: lost[index], reverse=True)
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


def class_name(index: str, names: Sequence[str]) -> str:
    """``Class 3``, with its name where ``names``, by class index, have one."""
    known = int(index) < len(names)
    return f"Class {index} ({names[int(index)]})" if known else f"Class {index}"


def _percent(rate: float) -> str:
    return f"{100 * rate:.1f} %"
