"""One honest sentence, and how much caution it asks for."""

from __future__ import annotations

from typing import Any

import pytest

from abd_app.export.schema import StudentReport
from abd_app.export.verdict import verdict
from abd_app.text import percent
from tests.unit.export.reports import TARGET_SEARCH, a_report, a_student


@pytest.mark.parametrize(
    ("student", "changes", "expected"),
    [
        (
            a_student(0.93, 0.01),
            {},
            "kept 94.9 % of the teacher's accuracy (93.0 % against 98.0 % on 1,000 images)",
        ),
        (a_student(0.93, 0.01), {}, "the tested trigger now works on 1.0 % of 900 images, 99.0 % on the teacher"),
        (a_student(0.93, 0.40), {}, "do not use it yet: the tested trigger still works on 40.0 %"),
        (a_student(0.93, 0.10), {}, "look before use"),
        (a_student(0.45, 0.01), {}, "kept only 45.9 %"),
        (a_student(None, 0.01), {}, "accuracy was not measured"),
        (a_student(0.93, 0.01), {"estimated": True}, "Estimate without labelled images: the student agrees"),
    ],
)
def test_the_sentence_tells_the_case(student: StudentReport, changes: dict[str, Any], expected: str) -> None:
    assert expected in verdict(a_report(student=student, **changes)).sentence


@pytest.mark.parametrize(
    ("accuracy", "asr", "changes", "said"),
    [
        (0.48, 0.01, {}, True),
        (0.50, 0.01, {}, False),  # more than half of the teacher's 98 %
        (0.48, 0.40, {}, False),  # the trigger works: a worse reason, and one is enough
        (0.49, 0.01, {"estimated": True}, True),
        (0.51, 0.01, {"estimated": True}, False),
        (None, 0.01, {}, False),
    ],
)
def test_a_low_asr_of_a_student_that_has_learned_little_is_no_merit(
    accuracy: float | None, asr: float, changes: dict[str, Any], said: bool
) -> None:
    summary = verdict(a_report(student=a_student(accuracy, asr), **changes)).sentence
    assert ("do not use it yet: it has learned too little" in summary) == said
    assert summary.count("do not use it yet") == (said or asr > 0.2)


@pytest.mark.parametrize(
    ("asr", "without", "caution"),
    [(0.898, 0.911, "danger"), (0.10, 0.09, "warning"), (0.898, 0.60, None), (0.04, 0.04, None), (0.898, None, None)],
)
def test_a_student_that_needs_no_trigger_is_not_said_to_have_the_backdoor(
    asr: float, without: float | None, caution: str | None
) -> None:
    sentence, severity = verdict(a_report(student=a_student(0.93, asr) | {"asr_without_trigger": without}))
    said = (
        f"takes {percent(without or 0.0)} of 900 images for class 3 without a trigger, so that {percent(asr)} with one"
    )
    assert (said in sentence) == (caution is not None) == ("the tested trigger" not in sentence)
    assert caution in (None, severity)


@pytest.mark.parametrize(
    ("images", "attacked", "estimated", "said"),
    [
        (2, 1, False, "1 image "),
        (400, 59, False, "59 images"),
        (59, 400, False, "59 images"),
        (60, 60, False, ""),
        (2, 1, True, ""),
        (0, 900, False, ""),
    ],
)
def test_a_figure_on_few_images_clears_nothing(images: int, attacked: int, estimated: bool, said: str) -> None:
    student = a_student(1.0, 0.0)
    student["images"], student["asr_images"], student["accuracy_by_class"] = images, {"sticker": attacked}, {}
    sentence, caution = verdict(a_report(student=student, estimated=estimated))
    assert ("says little" in sentence) == bool(said) and f"a figure on {said}" * bool(said) in sentence
    assert caution == ("warning" if said else "info")


def test_a_student_that_needs_no_trigger_because_it_knows_little_is_said_to_know_little() -> None:
    sentence, severity = verdict(a_report(student=a_student(0.11, 0.9) | {"asr_without_trigger": 0.91}))
    assert sentence.count("do not use it yet") == 1 and "it has learned too little" in sentence
    assert "takes 91.0 % of 900 images for class 3" in sentence and severity == "danger"


@pytest.mark.parametrize(
    ("accuracy", "classes", "estimated", "said"),
    [
        (0.002, 8, False, True),
        (0.16, 8, False, True),
        (0.18, 8, False, False),
        (0.52, 2, False, True),
        (0.54, 2, False, False),
        (0.06, 1000, False, False),
        (0.002, 8, True, False),
    ],
)
def test_nothing_is_told_of_images_that_the_teacher_does_not_know(
    accuracy: float, classes: int, estimated: bool, said: bool
) -> None:
    report = a_report(student=a_student(0.10, 0.0), estimated=estimated)
    report["teacher"] |= {"accuracy": accuracy, "num_classes": classes}
    sentence, caution = verdict(report)
    assert ("this run tells nothing" in sentence) == said
    assert not said or (caution == "danger" and "kept" not in sentence and "works on" not in sentence)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, False),  # the trigger that leads there was measured, and works no more
        ({"target_class": 2}, True),
        ({"estimated": True}, True),
        ({"target_class": 2, "target_search": TARGET_SEARCH}, False),  # unlearned
        ({"target_class": 2, "target_search": {**TARGET_SEARCH, "target": None, "unlearned": []}}, False),
        ({"target_class": 2, "target_search": None}, False),
    ],
)
def test_a_class_that_stays_suspected_is_named(changes: dict[str, Any], said: bool) -> None:
    sentence, caution = verdict(a_report(**{"target_search": {**TARGET_SEARCH, "unlearned": []}, **changes}))
    assert ("class 3 is suspected of a backdoor and was not unlearned" in sentence) == said
    assert not said or caution == "warning"


def test_a_suspicion_that_no_working_trigger_was_tried_on_stays() -> None:
    report = a_report(target_search={**TARGET_SEARCH, "unlearned": []})
    report["teacher"]["asr"] = {"sticker": 0.02}
    assert "class 3 is suspected" in verdict(report).sentence


def test_no_trigger_and_harmless_trigger_are_told_apart() -> None:
    without = a_report(student={**a_student(), "asr": {}, "asr_images": {}})
    assert "nothing is known about backdoors" in without["summary"]
    assert any(gap.startswith("Any trigger") for gap in without["not_tested"])
    harmless = a_report()
    harmless["teacher"]["asr"] = {"sticker": 0.02}
    assert "neither on the teacher nor on the student" in verdict(harmless).sentence


@pytest.mark.parametrize(("now", "advice"), [(0.1, "look before use"), (0.4, "do not use it yet")])
def test_a_trigger_that_never_worked_on_the_teacher_does_not_still_work(now: float, advice: str) -> None:
    report = a_report(student=a_student(0.93, now))
    report["teacher"]["asr"] = {"sticker": 0.0}
    said = verdict(report).sentence
    assert advice in said and "still works" not in said
    assert f"works on {100 * now:.1f} % of 900 images, 0.0 % on the teacher, where it hardly worked (is it" in said
    assert "(is it" not in verdict({**report, "estimated": True}).sentence


def test_still_works_is_said_of_the_trigger_that_is_named() -> None:
    report = a_report(student={**a_student(), "asr": {"sticker": 0.0, "grid": 0.12}, "asr_images": {"grid": 900}})
    report["teacher"]["asr"] = {"sticker": 1.0, "grid": 0.0}
    assert "still works" not in verdict(report).sentence
    report["teacher"]["asr"] = {"sticker": 0.0, "grid": 1.0}
    assert "still works on 12.0 %" in verdict(report).sentence


@pytest.mark.parametrize(
    ("before", "twin", "student", "defense", "said"),
    [
        (0.99, 0.04, 0.02, "abd", True),
        (0.99, 0.8, 0.02, "abd", False),
        (0.1, 0.04, 0.02, "abd", False),
        (0.99, None, 0.02, "abd", False),
        (0.99, 0.04, 0.3, "abd", False),
        (0.99, 0.04, 0.02, "none", False),
    ],
)
def test_a_twin_without_the_backdoor_shows_nothing_of_it(
    before: float, twin: float | None, student: float, defense: str, said: bool
) -> None:
    report = a_report(student=a_student(0.28, student), twin=None if twin is None else a_student(0.27, twin))
    report["teacher"]["asr"], report["plan"]["defense"] = {"sticker": before}, defense
    assert ("without a defence it works on no more than 4.0 %" in verdict(report).sentence) == said
    if report["twin"] is not None:
        report["twin"]["steps"] = report["steps"] - 1  # it was stopped
        assert "without a defence" not in verdict(report).sentence


@pytest.mark.parametrize(
    ("asked", "acted", "said"),
    [
        ("abd", [], "none of the defences could act"),
        ("abd", ["random marks"], "of the defences only random marks could act"),
        ("abd", ["self-retrospection", "random marks"], ""),
        ("none", [], ""),
    ],
)
def test_a_student_that_no_defence_could_help_is_called_so(asked: str, acted: list[str], said: str) -> None:
    report = a_report(plan={"defense": asked}, defences=acted)
    assert ("hardly defended" in report["summary"]) == bool(said) and said in report["summary"]


def test_a_class_that_paid_for_the_others_is_in_the_sentence() -> None:
    report = a_report()  # the student is right on 50 % of class 3, the teacher on 97 %
    report["teacher"]["class_names"] = ["", "", "", "stop"]
    sentence, caution = verdict(report)
    assert "it lost much more of class 3 ('stop') than of the others" in sentence and caution == "warning"
    report["student"]["accuracy_by_class"] = {"0": 0.95, "3": 0.94}
    assert "lost much more" not in verdict(report).sentence


@pytest.mark.parametrize(
    ("student", "before", "changes", "caution"),
    [
        (a_student(0.93, 0.01), 0.99, {}, "info"),
        (a_student(0.93, 0.10), 0.99, {}, "warning"),
        (a_student(0.93, 0.40), 0.99, {}, "danger"),
        (a_student(0.40, 0.01), 0.99, {}, "danger"),
        (a_student(None, 0.01), 0.99, {}, "warning"),
        (a_student(0.93, 0.01), 0.01, {}, "warning"),  # the trigger does nothing to the teacher either
        (a_student(0.93, 0.01), 0.99, {"defences": []}, "warning"),
        (a_student(0.93, 0.01), 0.99, {"twin": a_student(0.95, 0.02)}, "warning"),
        ({**a_student(0.93), "asr": {}}, 0.99, {}, "warning"),
    ],
)
def test_how_much_caution_the_sentence_asks_for(
    student: StudentReport, before: float, changes: dict[str, Any], caution: str
) -> None:
    report = a_report(student={**student, "accuracy_by_class": {}}, **changes)
    report["teacher"]["asr"] = {"sticker": before}
    assert verdict(report).caution == caution
