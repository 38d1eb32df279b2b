"""Classes of which the student lost much more than of the others: accuracy over all classes hides them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

from abd_app.export.schema import ScoresReport
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


def weak_classes(teacher: ScoresReport, student: ScoresReport) -> list[str]:
    """The classes of which the student lost much more than of the others, by index, the worst first.

    What a defence unlearns is paid by the class that it suspects, and a class that hardly occurs in the synthetic
    images is learned badly; one class of ten can lose half of its images while accuracy drops by a twentieth. The loss
    of a class is compared with that of all others by a normal test, with Bonferroni's correction for their number. That
    the same images were measured twice, which makes it smaller by chance, is left out: the test is too strict.

    Args:
        teacher: What it scored on all images.
        student: On the same.

    Returns:
        Nothing where none stands out, or where accuracy was not measured by class.
    """
    before, after, counts = teacher["accuracy_by_class"], student["accuracy_by_class"], student["images_by_class"]
    if not after:
        return []
    lost = {index: rate - after[index] for index, rate in before.items() if index in after}
    total, images = sum(lost[index] * counts[index] for index in lost), sum(counts[index] for index in lost)
    errors = NormalDist().inv_cdf(1 - CHANCE / max(1, len(lost)))
    worst = []
    for index, own in lost.items():
        others = images - counts[index]
        if counts[index] < FEWEST_IMAGES or not others:
            continue
        further = own - (total - own * counts[index]) / others
        error = math.sqrt(sum(_variance(rate, counts[index]) for rate in (before[index], after[index])))
        # Where the others have gained, a class that has lost nothing is further behind.
        if own >= FURTHER_BEHIND and further >= max(FURTHER_BEHIND, errors * error):
            worst.append(index)
    return sorted(worst, key=lambda index: (-lost[index], int(index)))


def named(classes: Sequence[str], names: Sequence[str]) -> str:
    """The class as a sentence calls it, with its name if it has one, or of several how many they are."""
    return f"{len(classes)} classes" if len(classes) > 1 else _called(classes[0], names).replace("Class", "class", 1)


def finding_of_classes(
    teacher: ScoresReport, student: ScoresReport, twin: ScoresReport, names: Sequence[str]
) -> Finding | None:
    """A warning that names the :func:`weak_classes`; ``None`` where there are none.

    Args:
        teacher: What it scored on all images.
        student: On the same.
        twin: Likewise; empty where there is none.
        names: By class index; empty: they have none.
    """
    classes = weak_classes(teacher, student)
    if not classes:
        return None
    worst = f" The worst {_NAMED} of them: " if len(classes) > _NAMED else " "
    told = "; ".join(_told(index, teacher, student, twin, names) for index in classes[:_NAMED])
    return Finding(
        "warning",
        f"The student lost much more of {named(classes, names)} than of the others",
        f"At least {100 * FURTHER_BEHIND:.0f} points of accuracy more than of the others. Look at this before you rely "
        f"on the student.{worst}{told}.",
    )


def _told(index: str, teacher: ScoresReport, student: ScoresReport, twin: ScoresReport, names: Sequence[str]) -> str:
    rates = [f"{percent(student['accuracy_by_class'][index])} of {student['images_by_class'][index]:,} images"]
    rates.append(f"the teacher {percent(teacher['accuracy_by_class'][index])}")
    if index in twin["accuracy_by_class"]:
        rates.append(f"the undefended twin {percent(twin['accuracy_by_class'][index])}")
    return f"{_called(index, names)}: {', '.join(rates)}"


def _called(index: str, names: Sequence[str]) -> str:
    name = names[int(index)] if int(index) < len(names) else ""
    return f"Class {index}" + (f" ({name!r:.{_LONGEST_NAME}})" if name else "")


def _variance(rate: float, images: int) -> float:
    """Of a measured rate, as if two more images had been seen, one of them right (Agresti & Coull, 1998)."""
    likely = (rate * images + 1) / (images + 2)
    return likely * (1 - likely) / images
