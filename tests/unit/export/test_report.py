"""The report: figures with denominators, an honest sentence, and no text that can act."""

from __future__ import annotations

import itertools
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from abd_app.export.report import write_report
from abd_app.export.schema import FindingReport, Report, StudentReport, TeacherReport
from abd_app.export.verdict import untested, verdict

_TARGET_SEARCH = {
    "target": 3,
    "p_value": 0.0012,
    "unlearned": [3],
    "margins": {"0": 10.5, "3": 31.0},
    "bends": {},
    "all_to_all": None,
}


def _student(accuracy: float | None = 0.93, asr: float = 0.01) -> StudentReport:
    return {
        "architecture": "wrn-16-1",
        "parameters": 175_000,
        "onnx_parity_max_abs": 2e-6,
        "accuracy": accuracy,
        "images": 1000,
        "accuracy_by_class": {"0": 0.95, "3": 0.5},
        "images_by_class": {"0": 900, "3": 100},
        "asr": {"sticker": asr},
        "asr_images": {"sticker": 900},
    }


def _teacher() -> TeacherReport:
    return {
        "file": "teacher.pth",
        "sha256": "ab" * 32,
        "data_files": [],
        "format": "PyTorch",
        "architecture": "wrn-16-2",
        "num_classes": 8,
        "class_names": [],
        "input_size": [32, 32],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
        "accuracy": 0.98,
        "images": 1000,
        "accuracy_by_class": {"0": 0.98, "3": 0.97},
        "images_by_class": {"0": 900, "3": 100},
        "asr": {"sticker": 0.99},
        "asr_images": {"sticker": 900},
    }


def _report(**changes: Any) -> Report:
    report: Report = {
        "schema_version": 1,
        "created": "2026-11-20T12:00:00+00:00",
        "summary": "",
        "not_tested": [],
        "estimated": False,
        "target_class": 3,
        "teacher": _teacher(),
        "student": _student(),
        "twin": None,
        "plan": {"teacher_file": "teacher.pth", "defense": "abd", "seed": 0},
        "method": "ood",
        "method_reason": "The teacher has no BatchNorm.",
        "seed": 0,
        "device": "cpu",
        "steps": 2400,
        "wall_s": 200.4,
        "stopped_early": False,
        "defences": ["activation bounds", "self-retrospection", "random marks"],
        "vaccine": {"accepted": True, "tail_ratio": 0.031, "trials": 2},
        "target_search": _TARGET_SEARCH,
        "findings": [],
        "versions": {"abd-app": "0.1.0", "torch": "2.15.0"},
    }
    report.update(changes)  # type: ignore[typeddict-item]
    report |= {"summary": verdict(report), "not_tested": untested(report)}
    return report


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data: str) -> None:
        self.text += " " + " ".join(data.split())


def _read(folder: Path) -> _Reader:
    reader = _Reader()
    reader.feed((folder / "report.html").read_text(encoding="utf-8"))
    return reader


def test_the_json_is_the_report_and_numbers_that_are_none_are_null(tmp_path: Path) -> None:
    write_report(_report(student=_student(accuracy=float("nan"))), tmp_path)
    text = (tmp_path / "report.json").read_text()
    written = json.loads(text)
    assert "NaN" not in text
    assert written["student"]["accuracy"] is None
    assert written["teacher"]["asr"] == {"sticker": 0.99}
    assert "not measured" in _read(tmp_path).text


def test_all_to_all_is_told_as_what_it_is(tmp_path: Path) -> None:
    report = _report(target_class="all")
    write_report(report, tmp_path)
    text = _read(tmp_path).text
    assert "from each class to the next, on all images" in text and "to class" not in text
    assert "Attacks with another goal than to have each class taken for the next one." in report["not_tested"]
    assert json.loads((tmp_path / "report.json").read_text())["target_class"] == "all"


@pytest.mark.parametrize(("share", "told"), [(0.414, True), (0.0, True), (None, False)])
def test_the_page_tells_whether_classes_trade_places_where_it_was_looked_for(
    tmp_path: Path, share: float | None, told: bool
) -> None:
    write_report(_report(target_search=_TARGET_SEARCH | {"target": None, "all_to_all": share}), tmp_path)
    text = _read(tmp_path).text
    assert ("classes that trade places: " in text) == told
    assert not told or f"classes that trade places: {share:.1%}".replace("%", " %") in text


def test_the_page_shows_rates_with_denominators_and_what_was_not_tested(tmp_path: Path) -> None:
    odd: list[FindingReport] = [
        {"severity": "info", "title": "Seen", "detail": ""},
        {"severity": "warning", "title": "Odd", "detail": "Why"},
        {"severity": "danger", "title": "Bad", "detail": ""},
    ]
    report = _report(twin=_student(0.94, 0.8), findings=odd)
    write_report(report, tmp_path)
    text = _read(tmp_path).text
    for expected in (
        "93.0 %",
        "930 of 1,000 images",
        "1.0 % 9 of 900 images",
        "80.0 %",
        "Undefended twin",
        "3 min 20 s",
        "passed after 2 trials; told apart 3.1 %",
    ):
        assert expected in text
    for expected in (report["summary"], *report["not_tested"], "WARNING", "Odd", "ab" * 32, "175,000"):
        assert expected in text
    assert text.index("Bad") < text.index("Odd") < text.index("Seen"), "the worst first"


def test_the_page_names_the_classes_that_lost_most_first_and_leaves_the_rest_to_the_json(tmp_path: Path) -> None:
    report = _report(twin={**_student(), "accuracy_by_class": {"0": 0.96, "3": 0.9}})
    report["teacher"]["class_names"] = ["stop", "yield", "end", "speed 30"]
    write_report(report, tmp_path)
    text = " ".join(_read(tmp_path).text.split())
    heading = "Accuracy by class Teacher Student Undefended twin"
    rows = "Class 3 (speed 30) 100 images 97.0 % 50.0 % 90.0 % Class 0 (stop) 900 images 98.0 % 95.0 % 96.0 %"
    assert f"{heading} {rows}" in text
    many = {str(index): 0.5 - index / 1000 for index in range(30)}
    report = _report(student={**_student(), "accuracy_by_class": many, "images_by_class": dict.fromkeys(many, 1)})
    write_report(report, tmp_path)
    text = " ".join(_read(tmp_path).text.split())
    assert "Class 3 1 image 97.0 %" in text and "20 of 30" in text
    assert "Class 10 " not in text and "Class 29 1 image not measured 47.1 %" in text
    assert len(json.loads((tmp_path / "report.json").read_text())["student"]["accuracy_by_class"]) == 30
    write_report(_report(student={**_student(), "accuracy_by_class": {}, "images_by_class": {}}), tmp_path)
    assert "Accuracy by class" not in _read(tmp_path).text


def test_the_curves_are_inside_the_page(tmp_path: Path) -> None:
    write_report(_report(), tmp_path)
    assert "img" not in _read(tmp_path).tags
    (tmp_path / "curves.svg").write_text("<svg><script>alert(1)</script></svg>")
    write_report(_report(), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert 'src="data:image/svg+xml;base64,' in page
    assert "http://" not in page and "https://" not in page
    assert "script" not in _read(tmp_path).tags


def test_markup_and_direction_marks_in_any_text_are_shown_not_obeyed(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe\n\udcff{{ 7*7 }}"
    report = _report(
        plan={"teacher_file": evil, evil: evil},
        findings=[{"severity": "danger", "title": evil, "detail": evil}],
        versions={evil: evil},
        method_reason=evil,
        device=evil,
    )
    report["teacher"].update({"file": evil, "format": evil, "architecture": evil, "class_names": [evil] * 8})
    report["student"]["asr"] = report["student"]["asr_images"] = {evil: 1}  # type: ignore[typeddict-item]
    write_report(report, tmp_path)
    reader = _read(tmp_path)
    assert not {"script", "img"} & set(reader.tags)
    assert "onerror" not in reader.attributes
    assert "\u202e" not in reader.text and "\\u202e" in reader.text
    assert "{{ 7*7 }}" in reader.text
    assert json.loads((tmp_path / "report.json").read_text())["teacher"]["file"] == evil


@pytest.mark.parametrize(
    ("student", "changes", "expected"),
    [
        (_student(0.93, 0.01), {}, "kept 94.9 % of the teacher's accuracy (93.0 % against 98.0 % on 1,000 images)"),
        (_student(0.93, 0.01), {}, "the tested trigger now works on 1.0 % of 900 images, 99.0 % on the teacher"),
        (_student(0.93, 0.40), {}, "do not use it yet: the tested trigger still works on 40.0 %"),
        (_student(0.93, 0.10), {}, "look before use"),
        (_student(0.45, 0.01), {}, "kept only 45.9 %"),
        (_student(None, 0.01), {}, "accuracy was not measured"),
        (_student(0.93, 0.01), {"estimated": True}, "Estimate without labelled images: the student agrees"),
    ],
)
def test_the_sentence_tells_the_case(student: StudentReport, changes: dict[str, Any], expected: str) -> None:
    assert expected in verdict(_report(student=student, **changes))


def test_no_trigger_and_harmless_trigger_are_told_apart() -> None:
    without = _report(student={**_student(), "asr": {}, "asr_images": {}})
    assert "nothing is known about backdoors" in without["summary"]
    assert any(gap.startswith("Any trigger") for gap in without["not_tested"])
    harmless = _report()
    harmless["teacher"]["asr"] = {"sticker": 0.02}
    assert "neither on the teacher nor on the student" in verdict(harmless)


@pytest.mark.parametrize(("now", "advice"), [(0.1, "look before use"), (0.4, "do not use it yet")])
def test_a_trigger_that_never_worked_on_the_teacher_does_not_still_work(now: float, advice: str) -> None:
    report = _report(student=_student(0.93, now))
    report["teacher"]["asr"] = {"sticker": 0.0}
    said = verdict(report)
    assert advice in said and "still works" not in said
    assert f"works on {100 * now:.1f} % of 900 images, 0.0 % on the teacher, where it hardly worked (is it" in said
    assert "(is it" not in verdict({**report, "estimated": True})


def test_still_works_is_said_of_the_trigger_that_is_named() -> None:
    report = _report(student={**_student(), "asr": {"sticker": 0.0, "grid": 0.12}, "asr_images": {"grid": 900}})
    report["teacher"]["asr"] = {"sticker": 1.0, "grid": 0.0}
    assert "still works" not in verdict(report)
    report["teacher"]["asr"] = {"sticker": 0.0, "grid": 1.0}
    assert "still works on 12.0 %" in verdict(report)


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
    report = _report(student=_student(0.28, student), twin=None if twin is None else _student(0.27, twin))
    report["teacher"]["asr"], report["plan"]["defense"] = {"sticker": before}, defense
    assert ("without a defence it works on no more than 4.0 %" in verdict(report)) == said


def test_nothing_is_ever_called_clean_or_guaranteed(tmp_path: Path) -> None:
    for accuracy, asr, estimated in itertools.product((None, 0.3, 0.95), (0.0, 0.1, 0.9), (False, True)):
        report = _report(student=_student(accuracy, asr), estimated=estimated)
        write_report(report, tmp_path)
        words = (tmp_path / "report.html").read_text().lower()
        assert "clean" not in words and "guarantee" not in words


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
    report = _report(plan={"defense": asked}, defences=acted)
    assert ("hardly defended" in report["summary"]) == bool(said) and said in report["summary"]
