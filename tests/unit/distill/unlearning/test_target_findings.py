"""How sure a finding sounds of a suspected class, and what is said where two defences suspect different ones."""

from __future__ import annotations

import pytest

from abd_app.distill.unlearning.bending import BendTest
from abd_app.distill.unlearning.margins import MarginTest
from abd_app.distill.unlearning.target_findings import finding_of_target, finding_of_two_classes

_MARGINS = (10.0, 20.0, 9.0, 10.0)


def _test(p_value: float) -> MarginTest:
    return MarginTest((0, 1, 2, 3), _MARGINS, p_value, 4)


@pytest.mark.parametrize(
    ("p_value", "title", "chance"),
    [(0.04, "may be", "Chance alone does that in one of 25 teachers."), (0.01, "is probably", "(p = 0.01). A copy")],
)
def test_what_chance_gives_now_and_then_is_not_called_probable(p_value: float, title: str, chance: str) -> None:
    finding = finding_of_target(_test(p_value), None, None, "unlearned")
    assert finding.title == f"Class 1 {title} the target of a backdoor" and chance in finding.detail
    assert ("Chance alone" in finding.detail) == (p_value > 0.01)


def test_a_class_found_by_bending_is_probable_whatever_its_margin() -> None:
    bent = BendTest((0, 1, 2, 3), (0.0, 0.1, 0.9, 0.1))
    assert finding_of_target(_test(0.04), bent, None, "unlearned").title.startswith("Class 2 is probably")


def test_two_suspected_classes_are_said_to_be_two() -> None:
    finding = finding_of_two_classes(2, 1)
    assert finding is not None and finding.severity == "warning"
    assert finding.title == "Shuffling Vaccine points at class 2, Self-Retrospection at class 1"
    assert finding_of_two_classes(1, 1) is finding_of_two_classes(None, 1) is finding_of_two_classes(1, None) is None
