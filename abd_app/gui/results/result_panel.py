"""The result: one sentence, the numbers, what was not tested, and what to do with the student."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from abd_app.command import trigger_labels
from abd_app.gui.look import icons
from abd_app.gui.look.announce import announce
from abd_app.gui.look.card import GAP_PX, PADDING_PX, empty, icon_button
from abd_app.gui.look.flow_layout import FlowLayout
from abd_app.gui.look.labels import ElidedLabel, plain_label
from abd_app.gui.look.wording import caution_words, role_name
from abd_app.gui.results.outcome import Outcome, Rate


class ResultPanel(QFrame):
    """Shown above the curves when a run has ended well; the numbers fold away to give the curves room."""

    exportRequested = Signal()
    reportRequested = Signal()
    folderRequested = Signal()
    compareRequested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("card")
        self.setAccessibleName(self.tr("Result"))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(PADDING_PX, PADDING_PX - 2, PADDING_PX, PADDING_PX)
        layout.setSpacing(GAP_PX + 2)
        layout.addLayout(self._make_heading())
        layout.addWidget(self._make_numbers())
        layout.addLayout(self._make_buttons())

    def _make_heading(self) -> QHBoxLayout:
        self.symbol = QLabel()
        self.sentence = plain_label(role="heading", wrap=True)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.estimated = plain_label(self.tr("Estimated"), "badge")
        self.fold = icon_button("chevron-down", self.tr("Show or hide the numbers"))
        self.fold.setObjectName("quiet")
        self.fold.setCheckable(True)
        self.fold.setChecked(True)
        self.fold.toggled.connect(self._on_folded)
        line = QHBoxLayout()
        line.setSpacing(GAP_PX + 2)
        line.addWidget(self.symbol, 0, Qt.AlignmentFlag.AlignTop)
        line.addWidget(self.sentence, 1)
        for widget in (self.estimated, self.fold):
            line.addWidget(widget, 0, Qt.AlignmentFlag.AlignTop)
        return line

    def _make_numbers(self) -> QWidget:
        self._numbers = QWidget()
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(26)
        self._grid.setVerticalSpacing(5)
        self.not_tested = plain_label(role="muted", wrap=True)
        numbers = QVBoxLayout(self._numbers)
        numbers.setContentsMargins(0, 0, 0, 0)
        numbers.setSpacing(GAP_PX)
        numbers.addLayout(self._grid)
        numbers.addWidget(self.not_tested)
        return self._numbers

    def _make_buttons(self) -> FlowLayout:
        self.export = QPushButton(self.tr("Export ONNX"))
        self.export.setProperty("role", "primary")
        icons.put(self.export, "export", "on_accent")
        self.save_report = QPushButton(self.tr("Save report"))
        icons.put(self.save_report, "report")
        self.open_folder = QPushButton(self.tr("Open folder"))
        icons.put(self.open_folder, "folder")
        self.compare = QPushButton(self.tr("Compare"))
        self.compare.setToolTip(self.tr("Choose an earlier run in the history."))
        icons.put(self.compare, "compare")
        self.export.clicked.connect(self.exportRequested)
        self.save_report.clicked.connect(self.reportRequested)
        self.open_folder.clicked.connect(self.folderRequested)
        self.compare.clicked.connect(self.compareRequested)
        self._notes = _small("")
        line = FlowLayout(GAP_PX)
        for button in (self.export, self.save_report, self.open_folder, self.compare):
            line.addWidget(button)
        line.addWidget(self._notes)
        return line

    def show_outcome(self, outcome: Outcome) -> None:
        """Shows a result."""
        self.sentence.setText(outcome.sentence or self.tr("The student is ready."))
        self.estimated.setVisible(outcome.estimated)
        self.not_tested.setText(self.tr("Not tested: {what}").format(what=" ".join(outcome.not_tested)))
        self._notes.set_whole_text(" · ".join(outcome.notes))
        self._show_caution(outcome.caution)
        self._show_rates(outcome)
        self.fold.setChecked(True)
        announce(self, f"{self.symbol.accessibleName()}: {self.sentence.text()}")

    def _show_caution(self, caution: str) -> None:
        """The shield with a check mark is for a result that asks for none."""
        advice = caution_words(caution)
        words = advice[:1].upper() + advice[1:]
        icons.put(self.symbol, *((caution, caution) if words else ("distill", "accent")), 24)
        self.symbol.setToolTip(words)
        self.symbol.setAccessibleName(words or self.tr("Result"))
        self._recommend_export(caution != "danger")

    def _recommend_export(self, recommended: bool) -> None:
        """The export of a student that is not to be used yet stays possible, and is not what catches the eye."""
        self.export.setProperty("role", "primary" if recommended else "")
        icons.put(self.export, "export", *(("on_accent",) if recommended else ()))
        self.export.setToolTip("" if recommended else self.tr("Possible, but the result above says not to use it yet"))
        self.export.style().unpolish(self.export)
        self.export.style().polish(self.export)

    def _show_rates(self, outcome: Outcome) -> None:
        """A row per model; of several triggers one heading spans all."""
        empty(self._grid)
        triggers = list(trigger_labels(filter(None, outcome.columns)).values())
        accuracy = self.tr("Agreement") if outcome.estimated else self.tr("Accuracy")
        headings = [accuracy, *(triggers if len(triggers) > 1 else [f"ASR {name}" for name in triggers])]
        if len(triggers) > 1:
            self._grid.addWidget(_small(self.tr("Attack success rate (ASR)")), 0, 2, 1, len(triggers))
        for column, heading in enumerate(headings, start=1):
            self._grid.addWidget(_small(heading), 1, column)
        for row, (role, rates) in enumerate(outcome.rows.items(), start=2):
            self._grid.addWidget(plain_label(role_name(role), "strong" if role == "student" else ""), row, 0)
            for column, rate in enumerate(rates, start=1):
                self._grid.addWidget(self._rate_label(rate, strong=role == "student"), row, column)
        for column in range(self._grid.columnCount()):
            self._grid.setColumnStretch(column, int(column > len(headings)))
        self._grid.setColumnStretch(len(headings) + 1, 1)  # what is left over is at the end

    def _rate_label(self, rate: Rate | None, *, strong: bool) -> QWidget:
        if rate is None:
            return plain_label("–", "muted")
        cell = QWidget()
        line = QHBoxLayout(cell)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(7)
        value: QLabel = plain_label(rate.value, "strong" if strong else "")
        line.addWidget(value)
        line.addWidget(_small(rate.images, least_px=0))  # the first to give way
        line.addStretch(1)
        return cell

    def _on_folded(self, opened: bool) -> None:
        self._numbers.setVisible(opened)
        icons.put(self.fold, "chevron-down" if opened else "chevron-right", "muted", 18)


def _small(text: str, *, least_px: int = 30) -> ElidedLabel:
    """As wide as its text where there is room for it."""
    label = ElidedLabel(text, Qt.TextElideMode.ElideRight, "small", least_px=least_px)
    label.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
    return label
