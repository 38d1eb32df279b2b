"""Accuracy by class: what a student lost may be one class's alone."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHeaderView, QStackedLayout, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from abd_app.gui.look.labels import plain_label
from abd_app.gui.look.wording import count, role_name, tooltip
from abd_app.text import percent, visible

_ROLES = ("teacher", "twin", "student")
_PADDING_PX = 12
_LEAST_CHARACTERS = 9
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class ClassesView(QWidget):
    """A row per class with images, those first of which the student lost most; a click on a column sorts."""

    def __init__(self) -> None:
        super().__init__()
        self._empty = plain_label(role="muted", wrap=True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.table = QTableWidget()
        self.table.setAccessibleName(self.tr("Accuracy by class"))
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.table.setShowGrid(False)
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setDefaultAlignment(_RIGHT)
        shown = QWidget()
        layout = QVBoxLayout(shown)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self.table)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(shown)
        self.clear()

    def clear(self) -> None:
        """A new run begins."""
        self._empty.setText(self.tr("The accuracy of each class appears here at the end of a run."))
        self._stack.setCurrentIndex(0)

    def show_report(self, report: dict[str, Any]) -> None:
        """Shows what ``report.json`` says of each class."""
        models = {role: report[role] for role in _ROLES if isinstance(report.get(role), dict)}
        rates = {role: model.get("accuracy_by_class") or {} for role, model in models.items()}
        if not rates.get("student"):
            estimated = self.tr("Without labelled images nothing is measured by class.")
            self._empty.setText(
                estimated if report.get("estimated") else self.tr("This run was not measured by class.")
            )
            return
        images, names = models["student"]["images_by_class"], report["teacher"].get("class_names") or []
        before, after = rates.get("teacher", {}), rates["student"]
        # The twin's whole name would take the room of the classes' names.
        roles = [self.tr("Twin") if role == "twin" else role_name(role) for role in models]
        headings = [self.tr("Class"), *roles, self.tr("Lost"), self.tr("Images")]
        self._begin(headings, rows=len(after))
        for row, index in enumerate(after):
            name = visible(str(names[int(index)])) if int(index) < len(names) else ""
            self.table.setItem(row, 0, _cell(f"{index}  {name}".strip(), int(index), _LEFT))
            lost = before[index] - after[index] if index in before else None
            cells = [
                _cell(percent(one[index]), one[index]) if index in one else _cell("–", -1) for one in rates.values()
            ]
            cells.append(_cell("–", -2) if lost is None else _cell(percent(lost).replace("-", "−"), lost))
            for column, cell in enumerate([*cells, _cell(count(images[index]), images[index])], start=1):
                self.table.setItem(row, column, cell)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(headings.index(self.tr("Lost")), Qt.SortOrder.DescendingOrder)
        self._stack.setCurrentIndex(1)

    def _begin(self, headings: list[str], *, rows: int) -> None:
        self.table.setSortingEnabled(False)
        self.table.setColumnCount(len(headings))
        self.table.setHorizontalHeaderLabels(headings)
        self.table.setRowCount(rows)
        header, metrics = self.table.horizontalHeader(), self.table.fontMetrics()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for column, heading in enumerate(headings):
            widest = max(metrics.horizontalAdvance(text) for text in (heading, "100.0 %"))
            self.table.setColumnWidth(column, widest + 2 * _PADDING_PX)
        header.setMinimumSectionSize(metrics.horizontalAdvance("0" * _LEAST_CHARACTERS))
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        first = QTableWidgetItem(headings[0])
        first.setTextAlignment(_LEFT)
        self.table.setHorizontalHeaderItem(0, first)


class _Cell(QTableWidgetItem):
    """Sorts by its number, not by its text."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return bool(self.data(Qt.ItemDataRole.UserRole) < other.data(Qt.ItemDataRole.UserRole))


def _cell(text: str, number: float, side: Qt.AlignmentFlag = _RIGHT) -> QTableWidgetItem:
    cell = _Cell(text)
    cell.setData(Qt.ItemDataRole.UserRole, number)
    cell.setTextAlignment(side)
    cell.setToolTip(tooltip(text))
    return cell
