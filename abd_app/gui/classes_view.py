"""Accuracy by class: what a student lost may be one class's alone."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHeaderView, QStackedLayout, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from abd_app.gui.labels import plain_label
from abd_app.gui.wording import count, percent, role_name, visible

_ROLES = ("teacher", "twin", "student")


class ClassesView(QWidget):
    """A row per class with images, those first in which the student is furthest behind; a click on a column sorts."""

    def __init__(self) -> None:
        super().__init__()
        self._empty = plain_label(role="muted")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.table = QTableWidget()
        self.table.setAccessibleName(self.tr("Accuracy by class"))
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QTableWidget.SelectionMode.NoSelection)
        self.table.setShowGrid(False)
        self.table.verticalHeader().hide()
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
        self._empty.setText(self.tr("The accuracy of each class appears here when the run has ended."))
        self._stack.setCurrentIndex(0)

    def show_report(self, report: dict[str, Any]) -> None:
        """Shows what ``report.json`` says of each class."""
        models = {role: report[role] for role in _ROLES if isinstance(report.get(role), dict)}
        rates = {role: model.get("accuracy_by_class") or {} for role, model in models.items()}
        if not rates.get("student"):
            self._empty.setText(self.tr("Classes are measured on labelled images, and there were none."))
            return
        images, names = models["student"]["images_by_class"], (report["teacher"].get("class_names") or [])
        before, after = rates.get("teacher", {}), rates["student"]
        indices = sorted(after, key=lambda index: after[index] - before.get(index, 0.0))
        self.table.setSortingEnabled(False)
        self.table.setColumnCount(2 + len(models))
        self.table.setHorizontalHeaderLabels([self.tr("Class"), *map(role_name, models), self.tr("Images")])
        self.table.setRowCount(len(indices))
        for row, index in enumerate(indices):
            known = int(index) < len(names)
            name = f"{index}  {visible(str(names[int(index)]))}" if known else index
            cells = [_cell(name, int(index), left=True)]
            cells += [
                _cell(percent(one[index]), one[index]) if index in one else _cell("–", -1) for one in rates.values()
            ]
            for column, cell in enumerate([*cells, _cell(count(images[index]), images[index])]):
                self.table.setItem(row, column, cell)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        heading = QTableWidgetItem(self.tr("Class"))
        heading.setTextAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self.table.setHorizontalHeaderItem(0, heading)
        header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # as they are, until a column is clicked
        self.table.setSortingEnabled(True)
        self._stack.setCurrentIndex(1)


class _Cell(QTableWidgetItem):
    """Sorts by its number, not by its text."""

    def __lt__(self, other: QTableWidgetItem) -> bool:
        return bool(self.data(Qt.ItemDataRole.UserRole) < other.data(Qt.ItemDataRole.UserRole))


def _cell(text: str, number: float, *, left: bool = False) -> QTableWidgetItem:
    cell = _Cell(text)
    cell.setData(Qt.ItemDataRole.UserRole, number)
    side = Qt.AlignmentFlag.AlignLeft if left else Qt.AlignmentFlag.AlignRight
    cell.setTextAlignment(side | Qt.AlignmentFlag.AlignVCenter)
    return cell
