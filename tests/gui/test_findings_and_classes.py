"""What a run found, and what it cost which class."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from abd_app.events import FindingMade
from abd_app.gui.classes_view import ClassesView
from abd_app.gui.findings_view import FindingsView
from abd_app.teacher import Finding

WEAK = Finding("warning", "The student is weak on class 2", "It lost.")
FEW = Finding("info", "Few images", "Twelve.")


def _texts(view: ClassesView | FindingsView) -> list[str]:
    return [label.text() for label in view.findChildren(QLabel) if label.text()]


def _report(student: dict[str, float], **more: Any) -> dict[str, Any]:
    model = {"accuracy_by_class": student, "images_by_class": dict.fromkeys(student, 1200)}
    teacher = {"accuracy_by_class": dict.fromkeys(student, 0.9), "class_names": ["stop", "yield\u202e"]}
    return {"teacher": teacher, "student": model, "twin": None, **more}


def _rows(view: ClassesView) -> list[list[str]]:
    table = view.table
    cells = [[table.item(row, column) for column in range(table.columnCount())] for row in range(table.rowCount())]
    return [[cell.text() if cell is not None else "" for cell in row] for row in cells]


def test_findings_come_once_worst_first_and_are_counted(qtbot: QtBot) -> None:
    view = FindingsView()
    qtbot.addWidget(view)
    counts: list[int] = []
    view.counted.connect(counts.append)
    for finding in (FEW, WEAK, FEW):
        view.take(FindingMade(finding))
    assert counts == [1, 2]
    shown = [text for text in _texts(view) if text in (WEAK.title, FEW.title)]
    assert shown[-2:] == [WEAK.title, FEW.title]
    view.clear()
    assert counts[-1] == 0


def test_classes_begin_with_the_one_that_lost_most_and_sort_by_numbers(qtbot: QtBot) -> None:
    view = ClassesView()
    qtbot.addWidget(view)
    view.show_report(_report({"0": 0.95, "1": 0.08, "2": 0.5}, twin={"accuracy_by_class": {"0": 1.0}}))
    assert _rows(view) == [
        ["1  yield\\u202e", "90.0 %", "–", "8.0 %", "1,200"],
        ["2", "90.0 %", "–", "50.0 %", "1,200"],
        ["0  stop", "90.0 %", "100.0 %", "95.0 %", "1,200"],
    ]
    view.table.sortItems(3, Qt.SortOrder.DescendingOrder)
    assert [row[3] for row in _rows(view)] == ["95.0 %", "50.0 %", "8.0 %"]
    view.show_report(_report({"0": 0.5, "1": 0.6}))
    assert [row[0] for row in _rows(view)] == ["0  stop", "1  yield\\u202e"], "a new report is sorted by loss again"


def test_without_labelled_images_it_says_so(qtbot: QtBot) -> None:
    view = ClassesView()
    qtbot.addWidget(view)
    assert any("when the run has ended" in text for text in _texts(view))
    view.show_report({"teacher": {"accuracy": 1.0}, "student": {"accuracy": 0.9}, "twin": None})
    assert any("there were none" in text for text in _texts(view))
