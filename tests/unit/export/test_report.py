"""The report: figures with denominators, an honest sentence, and no text that can act."""

from __future__ import annotations

import itertools
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from abd_app.export.report import write_report
from abd_app.export.schema import FindingReport
from abd_app.teacher import Severity
from abd_app.text import percent
from tests.unit.export.reports import TARGET_SEARCH, a_report, a_student


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
    write_report(a_report(student=a_student(accuracy=float("nan"))), tmp_path)
    text = (tmp_path / "report.json").read_text()
    written = json.loads(text)
    assert "NaN" not in text
    assert written["student"]["accuracy"] is None
    assert written["teacher"]["asr"] == {"sticker": 0.99}
    assert "not measured" in _read(tmp_path).text


def test_the_page_says_what_the_student_takes(tmp_path: Path) -> None:
    write_report(a_report(), tmp_path)
    text = _read(tmp_path).text
    assert "images: float32 (batch, 3, 32, 32), RGB in [0, 1], not normalised" in text
    assert "logits: float32 (batch, 8); the largest is the class" in text


def test_all_to_all_is_told_as_what_it_is(tmp_path: Path) -> None:
    report = a_report(target_class="all")
    write_report(report, tmp_path)
    text = _read(tmp_path).text
    assert "from each class to the next, on all images" in text and "to class" not in text
    assert "Attacks with another goal than to have each class taken for the next one." in report["not_tested"]
    assert json.loads((tmp_path / "report.json").read_text())["target_class"] == "all"


@pytest.mark.parametrize(("share", "told"), [(0.414, True), (0.0, True), (None, False)])
def test_the_page_tells_whether_classes_trade_places_where_it_was_looked_for(
    tmp_path: Path, share: float | None, told: bool
) -> None:
    write_report(a_report(target_search=TARGET_SEARCH | {"target": None, "all_to_all": share}), tmp_path)
    text = _read(tmp_path).text
    assert ("classes that trade places: " in text) == told
    assert not told or f"classes that trade places: {percent(share)}" in text


def test_the_page_shows_rates_with_denominators_and_what_was_not_tested(tmp_path: Path) -> None:
    odd: list[FindingReport] = [
        {"severity": "info", "title": "Seen", "detail": ""},
        {"severity": "warning", "title": "Odd", "detail": "Why"},
        {"severity": "danger", "title": "Bad", "detail": ""},
    ]
    report = a_report(twin=a_student(0.94, 0.8), findings=odd)
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
        "691,674",
        "student.onnx",
        "cd" * 32,
        "Without a trigger",
    ):
        assert expected in text
    for expected in (report["summary"], *report["not_tested"], "WARNING", "Odd", "ab" * 32, "175,000"):
        assert expected in text
    assert text.index("Bad") < text.index("Odd") < text.index("Seen"), "the worst first"


def test_the_page_names_the_classes_that_lost_most_first_and_leaves_the_rest_to_the_json(tmp_path: Path) -> None:
    report = a_report(twin={**a_student(), "accuracy_by_class": {"0": 0.96, "3": 0.9}})
    report["teacher"]["class_names"] = ["stop", "yield", "end", "speed 30"]
    write_report(report, tmp_path)
    text = " ".join(_read(tmp_path).text.split())
    heading = "Accuracy by class Teacher Student Undefended twin"
    rows = "Class 3 (speed 30) 100 images 97.0 % 50.0 % 90.0 % Class 0 (stop) 900 images 98.0 % 95.0 % 96.0 %"
    assert f"{heading} {rows}" in text
    many = {str(index): 0.5 - index / 1000 for index in range(30)}
    report = a_report(student={**a_student(), "accuracy_by_class": many, "images_by_class": dict.fromkeys(many, 1)})
    write_report(report, tmp_path)
    text = " ".join(_read(tmp_path).text.split())
    assert "Class 3 1 image 97.0 %" in text and "20 of 30" in text
    assert "Class 10 " not in text and "Class 29 1 image not measured 47.1 %" in text
    assert len(json.loads((tmp_path / "report.json").read_text())["student"]["accuracy_by_class"]) == 30
    write_report(a_report(student={**a_student(), "accuracy_by_class": {}, "images_by_class": {}}), tmp_path)
    assert "Accuracy by class" not in _read(tmp_path).text


def test_the_page_is_passed_on_and_names_no_folders(tmp_path: Path) -> None:
    pictures = {"/home/maker/secret/a.png": 0.25, "b.png": 0.5}
    report = a_report(student={**a_student(), "asr": pictures, "asr_images": dict.fromkeys(pictures, 900)})
    write_report(report, tmp_path)
    text = _read(tmp_path).text
    assert "secret" not in text and "/home" not in text
    assert text.count("teacher.pth") == 3 and '"data": "images"' in text and '"out": "run"' in text
    assert "Attack success: a.png" in text and "25.0 % 225 of 900 images" in text
    kept = json.loads((tmp_path / "report.json").read_text())["plan"]
    assert kept["data"] == "/home/maker/images", "to be run again"


@pytest.mark.parametrize("caution", ["info", "warning", "danger"])
def test_the_sentence_has_the_colour_of_its_caution(tmp_path: Path, caution: Severity) -> None:
    write_report({**a_report(), "caution": caution}, tmp_path)
    assert f'<p class="summary caution-{caution}">' in (tmp_path / "report.html").read_text()


def test_the_curves_are_inside_the_page(tmp_path: Path) -> None:
    write_report(a_report(), tmp_path)
    assert "img" not in _read(tmp_path).tags
    (tmp_path / "curves.svg").write_text("<svg><script>alert(1)</script></svg>")
    write_report(a_report(), tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert 'src="data:image/svg+xml;base64,' in page
    assert "http://" not in page and "https://" not in page
    assert "script" not in _read(tmp_path).tags


def test_markup_and_direction_marks_in_any_text_are_shown_not_obeyed(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe\n\udcff{{ 7*7 }}"
    report = a_report(
        findings=[{"severity": "danger", "title": evil, "detail": evil}],
        versions={evil: evil},
        method_reason=evil,
        device=evil,
    )
    report["plan"] |= {"teacher_file": evil, evil: evil}
    report["teacher"].update({"file": evil, "format": evil, "architecture": evil, "class_names": [evil] * 8})
    report["student"]["asr"] = report["student"]["asr_images"] = {evil: 1}  # type: ignore[typeddict-item]
    write_report(report, tmp_path)
    reader = _read(tmp_path)
    assert not {"script", "img"} & set(reader.tags)
    assert "onerror" not in reader.attributes
    assert "\u202e" not in reader.text and "\\u202e" in reader.text
    assert "{{ 7*7 }}" in reader.text
    assert json.loads((tmp_path / "report.json").read_text())["teacher"]["file"] == evil


def test_nothing_is_ever_called_clean_or_guaranteed(tmp_path: Path) -> None:
    for accuracy, asr, estimated in itertools.product((None, 0.3, 0.95), (0.0, 0.1, 0.9), (False, True)):
        report = a_report(student=a_student(accuracy, asr), estimated=estimated)
        write_report(report, tmp_path)
        words = (tmp_path / "report.html").read_text().lower()
        assert "clean" not in words and "guarantee" not in words
