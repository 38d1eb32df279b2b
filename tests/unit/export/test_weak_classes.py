"""A student that lost one class is not hidden by its accuracy over all classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from abd_app.export import weak_classes
from abd_app.export.schema import ScoresReport
from abd_app.teacher import Finding


def _measured(rates: Mapping[str, float], images: int | Mapping[str, int] = 1000) -> ScoresReport:
    counts = dict.fromkeys(rates, images) if isinstance(images, int) else dict(images)
    right, total = sum(rates[index] * counts[index] for index in rates), sum(counts.values())
    by_class = {"accuracy_by_class": dict(rates), "images_by_class": counts}
    return {"accuracy": right / total, "images": total, **by_class, "asr": {}, "asr_images": {}}


NOTHING: ScoresReport = {**_measured({"0": 0.5}), "accuracy_by_class": {}, "images_by_class": {}}
TEACHER = {str(index): 0.8 for index in range(10)}


def _found(
    after: Mapping[str, float],
    images: int | Mapping[str, int] = 1000,
    before: Mapping[str, float] = TEACHER,
    names: tuple[str, ...] = (),
) -> Finding | None:
    teacher, student = _measured(before, images), _measured(after, images)
    return weak_classes.finding_of_classes(teacher, student, NOTHING, names)


def test_a_class_that_lost_half_is_named_with_its_figures() -> None:
    student = {**dict.fromkeys(TEACHER, 0.75), "3": 0.4}
    twin = _measured({**TEACHER, "3": 0.7})
    found = weak_classes.finding_of_classes(_measured(TEACHER), _measured(student), twin, ("a", "b", "c", "stop"))
    assert found is not None and found.severity == "warning"
    assert found.title == "The student lost much more of class 3 ('stop') than of the others"
    figures = "Class 3 ('stop'): 40.0 % of 1,000 images, the teacher 80.0 %, the undefended twin 70.0 %."
    assert "At least 10 points" in found.detail and figures in found.detail
    assert "Class 1" not in found.detail


@pytest.mark.parametrize(("weak", "told"), [(3, " Class 9"), (4, "The worst 3 of them: Class 9")])
def test_of_many_the_worst_are_named(weak: int, told: str) -> None:
    lost = dict(zip(("9", "2", "4", "5"), (0.1, 0.2, 0.3, 0.35), strict=True))
    found = _found({**TEACHER, **dict(list(lost.items())[:weak])})
    assert found is not None and found.title == f"The student lost much more of {weak} classes than of the others"
    named = [found.detail.index(name) for name in ("Class 9: 10.0 %", "Class 2: 20.0 %", "Class 4: 30.0 %")]
    assert named == sorted(named) and "Class 5" not in found.detail and told in found.detail
    assert ("The worst" in found.detail) == (weak > 3)


def test_a_class_that_lost_nothing_is_not_weak_because_the_others_gained() -> None:
    before = {**dict.fromkeys(TEACHER, 0.5), "3": 0.0}
    assert _found({**dict.fromkeys(TEACHER, 0.8), "3": 0.0}, before=before) is None


@pytest.mark.parametrize(("after", "named"), [(0.695, True), (0.705, False), (0.95, False)])
def test_ten_points_more_than_the_others_are_much(after: float, named: bool) -> None:
    assert (_found({**TEACHER, "3": after}, images=100_000) is not None) == named


@pytest.mark.parametrize(("images", "named"), [(60, False), (80, True)])
def test_of_few_images_the_same_loss_may_be_chance(images: int, named: bool) -> None:
    """Of 0.8 and 0.55 the variances are 0.16 and 0.25: 3.09 errors are 0.255 of 60 images and 0.22 of 80."""
    assert (_found({**TEACHER, "3": 0.55}, images) is not None) == named


def test_of_hardly_any_images_nothing_is_said() -> None:
    perfect = dict.fromkeys(TEACHER, 1.0)
    assert _found({**perfect, "3": 0.0}, 1, perfect) is None
    assert _found({**perfect, "3": 0.0}, 19, perfect) is None
    assert _found({**perfect, "3": 0.0}, 20, perfect) is not None


def test_a_class_is_compared_with_the_others_not_with_itself() -> None:
    found = _found({"0": 0.61, "1": 0.8}, 5000, {"0": 0.8, "1": 0.8})
    assert found is not None and "class 0" in found.title
    found = _found({"0": 0.1, "1": 0.9}, {"0": 9000, "1": 1000}, {"0": 0.9, "1": 0.9})
    assert found is not None and "class 0" in found.title
    assert _found({"0": 0.1}, 1000, {"0": 0.9}) is None, "there are no others"


def test_a_student_that_is_weak_everywhere_lost_no_class_in_particular() -> None:
    assert _found(dict.fromkeys(TEACHER, 0.3)) is None


def test_hardly_ever_is_a_class_of_a_thousand_named_by_chance() -> None:
    random, named = np.random.default_rng(0), 0
    for _ in range(40):
        drawn = [random.binomial(50, rate, 1000) / 50 for rate in (0.9, 0.6)]
        before, after = ({str(index): float(rate) for index, rate in enumerate(rates)} for rates in drawn)
        named += _found(after, 50, before) is not None
    assert named <= 4


def test_a_foreign_name_cannot_pretend_to_be_a_sentence_and_is_cut() -> None:
    found = _found({**TEACHER, "0": 0.1, "1": 0.1}, names=("stop)\nThe student is fine. (", "long" * 100))
    assert found is not None and "\n" not in found.detail
    assert "('stop)\\nThe student is fine. (')" in found.detail
    assert "long" * 15 not in found.detail and "long" * 14 in found.detail


def test_nothing_is_said_where_nothing_was_measured_by_class() -> None:
    assert weak_classes.finding_of_classes(NOTHING, NOTHING, NOTHING, ()) is None
    assert weak_classes.finding_of_classes(_measured(TEACHER), NOTHING, NOTHING, ()) is None
    assert weak_classes.finding_of_classes(NOTHING, _measured(TEACHER), NOTHING, ()) is None
