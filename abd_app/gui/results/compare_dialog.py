"""Two runs compared: curves of their students above, results and differences below."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFont, QPen, QResizeEvent
from PySide6.QtWidgets import QDialog, QHeaderView, QTableWidget, QTableWidgetItem, QVBoxLayout, QWidget

from abd_app.command import trigger_labels
from abd_app.gui.dialogs import close_button
from abd_app.gui.live import plotting
from abd_app.gui.live.curves import ACCURACY, CurveKey
from abd_app.gui.live.legend import Legend
from abd_app.gui.live.rate_plots import RatePlots
from abd_app.gui.look.labels import ElidedLabel
from abd_app.gui.look.theme import Theme
from abd_app.gui.look.wording import count, rates_text, tooltip
from abd_app.gui.results.comparison import Comparison, Row

_SIZE_PX = (860, 680)
_RUNS, _NAMES_PART = ("A", "B"), 0.4
_NAME_CHARS = 50
"""Of a run: its teacher, and when it was begun."""


class _Table(QTableWidget):
    """Its first column has names: it is as wide as they are, but leaves most of the room to what is beside it."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        most_px = round(_NAMES_PART * self.viewport().width())
        self.horizontalHeader().resizeSection(0, min(self.sizeHintForColumn(0), most_px))


class CompareDialog(QDialog):
    """Curves over the same steps; the second run's are dashed.

    Args:
        comparison: What to show.
        theme: The colours.
        parent: The window.
    """

    def __init__(self, comparison: Comparison, theme: Theme, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Compare two runs"))
        self.resize(*_SIZE_PX)
        self._comparison, self._theme = comparison, theme
        named = (trigger for curves in comparison.curves for trigger in curves.triggers)
        self._triggers = list(dict.fromkeys(named))
        self.legend = Legend(_NAME_CHARS)
        self.legend.toggled.connect(self._draw)
        self._plots = RatePlots(theme, self.tr("Curves of two runs"), self)
        self._plots.hovered.connect(self._on_hovered)
        self.readout = ElidedLabel(mode=Qt.TextElideMode.ElideRight, role="small")
        self.table = self._make_table()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 16)
        layout.setSpacing(10)
        layout.addWidget(self.legend)
        layout.addWidget(self._plots.canvas, 3)
        layout.addWidget(self.readout)
        layout.addWidget(self.table, 2)
        layout.addWidget(close_button(self), 0, Qt.AlignmentFlag.AlignRight)
        theme.changed.connect(self._draw)
        self._on_hovered(None)
        self._draw()

    def _make_table(self) -> QTableWidget:
        rows = [Row(self.tr("Students"), *_RUNS), *self._comparison.results]
        heading = self.tr("What was different") if self._comparison.differences else self.tr("Nothing was different")
        parts = {0, len(rows)}
        rows += [Row(heading, "", ""), *self._comparison.differences]
        table = _Table(len(rows), 3)
        table.setAccessibleName(self.tr("Results and differences"))
        bold = QFont(self.font())
        bold.setBold(True)
        for number, row in enumerate(rows):
            for column, text in enumerate(row):
                cell = QTableWidgetItem(text)
                cell.setToolTip(tooltip(text))
                if number in parts:
                    cell.setFont(bold)
                table.setItem(number, column, cell)
        header = table.horizontalHeader()
        header.hide()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
        table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        table.setShowGrid(False)
        table.verticalHeader().hide()
        return table

    def _draw(self) -> None:
        self._show_legend()
        estimated = any(curves.estimated for curves in self._comparison.curves)
        accuracy = self.tr("Accuracy, or agreement with the teacher") if estimated else self.tr("Clean accuracy")
        self._plots.show_axes(accuracy, self._triggers, (0, self._last_step()))
        for run, curves in zip(_RUNS, self._comparison.curves, strict=True):
            for role, trigger in curves.curves:
                if role == "student":
                    self._draw_line(run, trigger)

    def _draw_line(self, run: str, trigger: str) -> None:
        key = CurveKey(run, trigger)
        if self.legend.shows(run) and self.legend.shows(f"trigger {trigger}"):
            curve = self._comparison.curves[_RUNS.index(run)].curves[CurveKey("student", trigger)]
            self._plots.draw(key, *curve.drawn(), self._pen(run, trigger))
        else:
            self._plots.hide(key)

    def _show_legend(self) -> None:
        names = zip(_RUNS, self._comparison.names, strict=True)
        entries = {run: (f"{run}: {name}", self._pen(run, ACCURACY)) for run, name in names}
        if len(self._triggers) > 1:
            labels = trigger_labels(self._triggers)
            entries |= {f"trigger {key}": (label, self._pen(_RUNS[0], key)) for key, label in labels.items()}
        self.legend.show_entries(entries)

    def _pen(self, run: str, trigger: str) -> QPen:
        several = trigger != ACCURACY and len(self._triggers) > 1
        index = self._triggers.index(trigger) if several else None
        return plotting.run_pen(run == _RUNS[1], self._theme.colours, index)

    def _last_step(self) -> int:
        return max((one.step for curves in self._comparison.curves for one in curves.measurements), default=0) or 1

    def _on_hovered(self, step: float | None) -> None:
        hint = self.tr("Steps of training. Point at the curves to read their values.")
        self.readout.set_whole_text(hint if step is None else self.values_at(step))

    def values_at(self, step: float) -> str:
        """What the curves of both runs say at ``step``, as one line."""
        said = [rates_text(curves.at("student", step)) for curves in self._comparison.curves]
        parts = [f"{run}: {rates}" for run, rates in zip(_RUNS, said, strict=True) if rates]
        return "   ·   ".join([self.tr("Step {step}").format(step=count(round(step))), *parts])
