"""A student that lost one class is not hidden by its accuracy over all classes."""

from __future__ import annotations

import numpy as np
import pytest

from abd_app.events import Measured, Role
from abd_app.export.weak_classes import class_name, finding_of_classes


def _measured(role: Role, rates: dict[str, float], images: int = 1000) -> Measured:
    overall = sum(rates.values()) / len(rates)
    counts = dict.fromkeys(rates, images)
    return Measured(role, 0, overall, images * len(rates), {}, {}, accuracy_by_class=rates, images_by_class=counts)


TEACHER = {str(index): 0.8 for index in range(10)}


def test_a_class_that_lost_half_is_named_with_its_figures() -> None:
    student = {**dict.fromkeys(TEACHER, 0.75), "3": 0.4}
    found = finding_of_classes(_measured("teacher", TEACHER), _measured("student", student), ("a", "b", "c", "stop"))
    assert found is not None and found.severity == "warning"
    assert found.title == "The student is weak on class 3 (stop)"
    assert "Class 3 (stop): 40.0 % of 1,000 images, the teacher 80.0 %." in found.detail
    assert "Class 1" not in found.detail


def test_of_many_the_worst_are_named() -> None:
    student = {**TEACHER, "9": 0.1, "2": 0.2, "4": 0.3, "5": 0.35}
    found = finding_of_classes(_measured("teacher", TEACHER), _measured("student", student), ())
    assert found is not None and found.title == "The student is weak on 4 classes"
    named = [found.detail.index(name) for name in ("Class 9: 10.0 %", "Class 2: 20.0 %", "Class 4: 30.0 %")]
    assert named == sorted(named) and "Class 5" not in found.detail and "The worst 3 of them" in found.detail


@pytest.mark.parametrize(("after", "images"), [(0.71, 1000), (0.65, 20), (0.95, 1000)])
def test_a_small_loss_one_by_chance_or_a_gain_is_none(after: float, images: int) -> None:
    student = {**TEACHER, "3": after}
    assert finding_of_classes(_measured("teacher", TEACHER, images), _measured("student", student, images), ()) is None


def test_the_same_loss_in_few_images_is_chance_and_in_many_is_none() -> None:
    student = {**TEACHER, "3": 0.5}
    many = finding_of_classes(_measured("teacher", TEACHER, 500), _measured("student", student, 500), ())
    few = finding_of_classes(_measured("teacher", TEACHER, 10), _measured("student", student, 10), ())
    assert many is not None and few is None
    one = dict.fromkeys(TEACHER, 1.0)
    single = finding_of_classes(_measured("teacher", one, 1), _measured("student", {**one, "3": 0.0}, 1), ())
    assert single is None, "of a single image nothing can be said"


def test_hardly_ever_is_a_class_of_a_thousand_named_by_chance() -> None:
    random, named = np.random.default_rng(0), 0
    for _ in range(40):
        drawn = [random.binomial(50, rate, 1000) / 50 for rate in (0.76, 0.66)]
        before, after = ({str(index): float(rate) for index, rate in enumerate(rates)} for rates in drawn)
        named += finding_of_classes(_measured("teacher", before, 50), _measured("student", after, 50), ()) is not None
    assert named <= 3


def test_a_student_that_is_weak_everywhere_is_weak_on_no_class_in_particular() -> None:
    weak = dict.fromkeys(TEACHER, 0.3)
    assert finding_of_classes(_measured("teacher", TEACHER), _measured("student", weak), ()) is None


def test_nothing_is_said_where_nothing_was_measured_by_class() -> None:
    estimate = Measured("student", 5, 0.5, 512, {}, {}, estimated=True)
    assert finding_of_classes(None, estimate, ()) is None
    assert finding_of_classes(Measured("teacher", 0, 1.0, 512, {}, {}, estimated=True), estimate, ()) is None


def test_a_class_without_a_name_has_its_number() -> None:
    assert (class_name("2", ("a", "b")), class_name("1", ("a", "b"))) == ("Class 2", "Class 1 (b)")
