"""The rates of a result: a row per model, or per trigger where there are too many for one line."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, QTimer
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import QApplication, QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from abd_app.command import trigger_labels
from abd_app.gui.look.card import empty
from abd_app.gui.look.labels import ElidedLabel, plain_label
from abd_app.gui.look.wording import role_name
from abd_app.gui.results.outcome import Outcome, Rate

_ROOM_PX = 460
"""What the narrowest window leaves for it."""
_LEAST_NAME = "badnets-square"
"""A name as long as this is whole, whatever the size of text."""
_GAP_PX, _SMALL_GAP_PX = 26, 7


class RateTable(QWidget):
    """Accuracy and attack success rates of each model, with the number of images behind each."""

    def __init__(self) -> None:
        super().__init__()
        self._outcome: Outcome | None = None
        self._place = QVBoxLayout(self)
        self._place.setContentsMargins(0, 0, 0, 0)
        self._later = QTimer(self)  # a table is not replaced while Qt goes through the widgets that get another font
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._show)

    def show_rates(self, outcome: Outcome) -> None:
        """Replaces the rates shown."""
        self._outcome = outcome
        self._show()

    def _show(self) -> None:
        if (outcome := self._outcome) is None:
            return
        accuracy = self.tr("Agreement") if outcome.estimated else self.tr("Accuracy")
        triggers = list(trigger_labels(filter(None, outcome.columns)).values())
        table = self._row_per_model(outcome, accuracy, triggers)
        if len(triggers) > 1 and table.minimumSizeHint().width() > _ROOM_PX:
            table = self._row_per_trigger(outcome, accuracy, triggers)
        empty(self._place)
        self._place.addWidget(table)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._later.start()

    def _row_per_model(self, outcome: Outcome, accuracy: str, triggers: list[str]) -> QWidget:
        """Of several triggers one heading spans all."""
        table, grid = _grid(_GAP_PX)
        headings = [accuracy, *(triggers if len(triggers) > 1 else [f"ASR {name}" for name in triggers])]
        if len(triggers) > 1:
            grid.addWidget(small_label(self._asr()), 0, 2, 1, len(triggers))
        for column, heading in enumerate(headings, start=1):
            grid.addWidget(small_label(heading), 1, column)
        for row, (role, rates) in enumerate(outcome.rows.items(), start=2):
            grid.addWidget(plain_label(role_name(role), "strong" if role == "student" else ""), row, 0)
            for column, rate in enumerate(rates, start=1):
                grid.addWidget(_cell(rate, strong=role == "student"), row, column)
        grid.setColumnStretch(len(headings) + 1, 1)  # what is left over is at the end
        return table

    def _row_per_trigger(self, outcome: Outcome, accuracy: str, triggers: list[str]) -> QWidget:
        """A model has a column for its rates, flush right, and one for the images; a gap is before both."""
        table, grid = _grid(_SMALL_GAP_PX)
        rows = [1, *range(3, 3 + len(triggers))]
        for row, name in zip(rows, (accuracy, *triggers), strict=True):
            grid.addWidget(_name_label(name), row, 0)
        grid.addWidget(small_label(self._asr()), 2, 0, 1, -1)
        for number, (role, rates) in enumerate(outcome.rows.items()):
            column = 3 * number + 2
            grid.setColumnMinimumWidth(column - 1, _GAP_PX - 2 * _SMALL_GAP_PX)
            grid.addWidget(small_label(role_name(role)), 0, column, 1, 2)
            for row, rate in zip(rows, rates, strict=True):
                grid.addWidget(_value_label(rate, strong=role == "student"), row, column, Qt.AlignmentFlag.AlignRight)
                grid.addWidget(_images_label(rate), row, column + 1)
        grid.setColumnStretch(3 * len(outcome.rows) + 1, 1)
        return table

    def _asr(self) -> str:
        return self.tr("Attack success rate (ASR)")


def _grid(gap_px: int) -> tuple[QWidget, QGridLayout]:
    table = QWidget()
    grid = QGridLayout(table)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setHorizontalSpacing(gap_px)
    grid.setVerticalSpacing(5)
    return table, grid


def small_label(text: str, *, least_px: int = 30) -> ElidedLabel:
    """As wide as its text where there is room for it."""
    return _at_most_its_text(ElidedLabel(text, Qt.TextElideMode.ElideRight, "small", least_px=least_px))


def _name_label(text: str) -> ElidedLabel:
    least_px = QFontMetrics(QApplication.font()).horizontalAdvance(_LEAST_NAME) + 2
    return _at_most_its_text(ElidedLabel(text, Qt.TextElideMode.ElideMiddle, least_px=least_px))


def _at_most_its_text(label: ElidedLabel) -> ElidedLabel:
    label.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
    return label


def _cell(rate: Rate | None, *, strong: bool) -> QWidget:
    """A rate, and behind it the images."""
    cell = QWidget()
    line = QHBoxLayout(cell)
    line.setContentsMargins(0, 0, 0, 0)
    line.setSpacing(_SMALL_GAP_PX)
    line.addWidget(_value_label(rate, strong=strong))
    line.addWidget(_images_label(rate))
    line.addStretch(1)
    return cell


def _value_label(rate: Rate | None, *, strong: bool) -> QLabel:
    return plain_label("–", "muted") if rate is None else plain_label(rate.value, "strong" if strong else "")


def _images_label(rate: Rate | None) -> ElidedLabel:
    """The first to give way."""
    return small_label(rate.images if rate is not None else "", least_px=0)
