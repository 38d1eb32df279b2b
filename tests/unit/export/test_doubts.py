"""Figures that tell nothing, or of something else, are told so."""

from __future__ import annotations

from typing import Any

import pytest

from abd_app.events import Measured, TargetSearched
from abd_app.export.doubts import FEWEST_IMAGES, finding_of_facts, finding_of_goal


def _teacher(accuracy: float = 0.9, **changes: Any) -> Measured:
    given: dict[str, Any] = {"images": 300, "asr": {"sticker": 0.0}, "asr_images": {"sticker": 270}, "estimated": False}
    return Measured("teacher", 0, accuracy, **(given | changes))


def _searched(target: int | None) -> TargetSearched:
    return TargetSearched(target, 0.001, () if target is None else (target,), tuple(range(4)), (1.0, 1.0, 1.0, 9.0))


def test_a_teacher_that_is_wrong_on_most_images_is_not_shown_them_as_it_should_be() -> None:
    found = finding_of_facts(_teacher(0.199))
    assert found is not None and found.severity == "warning"
    assert "first test on 300 images it is right on 19.9 %" in found.detail


@pytest.mark.parametrize(
    "teacher",
    [_teacher(0.5), _teacher(0.1, estimated=True), _teacher(0.1, images=FEWEST_IMAGES - 1), _teacher(float("nan"))],
    ids=["right on half", "its own labels", "few images", "unknown"],
)
def test_of_others_nothing_is_said(teacher: Measured) -> None:
    assert finding_of_facts(teacher) is None


def test_attacks_towards_another_class_than_the_suspected_one_are_told() -> None:
    found = finding_of_goal(_searched(3), 0, _teacher())
    assert found is not None and found.severity == "warning"
    assert found.title == "Attacks were measured towards class 0, but class 3 is suspected"
    assert "--target 3" in found.detail


def test_a_trigger_that_works_towards_another_class_than_the_suspected_one_is_told_otherwise() -> None:
    found = finding_of_goal(_searched(3), 0, _teacher(asr={"sticker": 0.9, "grid": 0.0}))
    assert found is not None and found.title == "A trigger leads to class 0, but class 3 is suspected"
    assert "--target" not in found.detail


@pytest.mark.parametrize(
    ("search", "target", "teacher"),
    [
        (_searched(3), 3, _teacher()),
        (_searched(3), "all", _teacher()),
        (_searched(None), 0, _teacher()),
        (None, 0, _teacher()),
        (_searched(3), 0, None),
        (_searched(3), 0, _teacher(estimated=True)),
        (_searched(3), 0, _teacher(asr={}, asr_images={})),
        (_searched(3), 0, _teacher(asr={"sticker": float("nan")})),
    ],
    ids=["the same", "all", "none stands out", "no search", "not measured", "an estimate", "no trigger", "no rate"],
)
def test_where_nothing_is_suspected_or_measured_there_is_nothing_to_tell(
    search: TargetSearched | None, target: Any, teacher: Measured | None
) -> None:
    assert finding_of_goal(search, target, teacher) is None
