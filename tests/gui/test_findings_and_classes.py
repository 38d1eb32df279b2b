"""What a run found, and what it cost which class."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from abd_app.events import AuditFinished, FindingMade
from abd_app.gui.live.classes_view import ClassesView
from abd_app.gui.live.findings_view import FindingsView
from abd_app.gui.look.findings_list import FindingsList
from abd_app.gui.look.theme import Theme
from abd_app.teacher import Finding

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from stage import Stage

WEAK = Finding("warning", "The student is weak on class 2", "It lost.")
FEW = Finding("info", "Few images", "Twelve.")


def _texts(view: ClassesView | FindingsView) -> list[str]:
    return [label.text() for label in view.findChildren(QLabel) if label.text()]


def _report(student: dict[str, float], **more: Any) -> dict[str, Any]:
    model = {"accuracy_by_class": student, "images_by_class": dict.fromkeys(student, 1200)}
    teacher = {"accuracy_by_class": {"0": 0.9, "1": 0.2, "2": 0.95}, "class_names": ["stop", "yield\u202e"]}
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
    assert "appears here" in view.empty.text()
    view.finish()
    assert "nothing that needs to be told" in view.empty.text()


def test_classes_begin_with_the_one_that_lost_most_and_sort_by_numbers(qtbot: QtBot) -> None:
    view = ClassesView()
    qtbot.addWidget(view)
    view.show_report(_report({"0": 0.95, "1": 0.08, "2": 0.5}, twin={"accuracy_by_class": {"0": 1.0}}))
    assert _rows(view) == [
        ["2", "95.0 %", "–", "50.0 %", "45.0 %", "1,200"],
        ["1  yield\\u202e", "20.0 %", "–", "8.0 %", "12.0 %", "1,200"],
        ["0  stop", "90.0 %", "100.0 %", "95.0 %", "−5.0 %", "1,200"],
    ]
    view.table.sortByColumn(3, Qt.SortOrder.AscendingOrder)
    assert [row[3] for row in _rows(view)] == ["8.0 %", "50.0 %", "95.0 %"]
    view.show_report(_report({"0": 0.5, "1": 0.1}))
    assert [row[0] for row in _rows(view)] == ["0  stop", "1  yield\\u202e"], "a new report is sorted by loss again"


@pytest.mark.parametrize(("estimated", "said"), [(True, "Without labelled images"), (False, "not measured by class")])
def test_where_there_is_nothing_by_class_it_says_so(qtbot: QtBot, estimated: bool, said: str) -> None:
    view = ClassesView()
    qtbot.addWidget(view)
    assert any("at the end of a run" in text for text in _texts(view))
    models = {"teacher": {"accuracy": 1.0}, "student": {"accuracy": 0.9}, "twin": None}
    view.show_report({**models, "estimated": estimated})
    assert any(said in text for text in _texts(view))


def test_the_window_shows_both_and_a_new_run_clears_them(theme: Theme, tmp_path: Path, qapp: QApplication) -> None:
    stage = Stage(theme, (1024, 700), tmp_path)
    live = stage.window.live
    stage.run(until=0.3)
    stage.engine.play(FindingMade(WEAK), AuditFinished(str(tmp_path), {**_report({"0": 0.5}), "summary": "So."}))
    assert live.tabText(live.indexOf(live.findings)) == "Findings (1)" and WEAK.title in _texts(live.findings)
    assert _rows(live.classes)[0][0] == "0  stop" and live.classes.table.isVisibleTo(live.classes)
    stage.run(until=0.1)
    assert live.tabText(live.indexOf(live.findings)) == "Findings"
    assert not live.classes.table.isVisibleTo(live.classes)
    stage.engine.play(AuditFinished(str(tmp_path), {"summary": "So."}))
    stage.window.close()
    stage.window.deleteLater()


def test_findings_that_are_replaced_leave_the_screen_at_once(theme: Theme, qapp: QApplication) -> None:
    shown = FindingsList()
    shown.show()
    shown.show_findings((Finding("warning", "Old", "Why."), Finding("info", "Older", "")))
    qapp.processEvents()
    shown.show_findings((Finding("info", "New", ""),))
    qapp.processEvents()
    assert [label.text() for label in shown.findChildren(QLabel) if label.isVisible() and label.text()] == ["New"]
    shown.close()
