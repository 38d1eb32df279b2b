"""The result: one sentence, the numbers, what was not tested, and what to do with the student."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from abd_app.gui.look import icons
from abd_app.gui.look.announce import announce
from abd_app.gui.look.card import GAP_PX, PADDING_PX, icon_button
from abd_app.gui.look.flow_layout import FlowLayout
from abd_app.gui.look.labels import plain_label
from abd_app.gui.look.wording import caution_words
from abd_app.gui.results.outcome import Outcome
from abd_app.gui.results.rate_table import RateTable, small_label


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
        self.rates = RateTable()
        self.not_tested = plain_label(role="muted", wrap=True)
        numbers = QVBoxLayout(self._numbers)
        numbers.setContentsMargins(0, 0, 0, 0)
        numbers.setSpacing(GAP_PX)
        numbers.addWidget(self.rates)
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
        self._notes = small_label("")
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
        self.rates.show_rates(outcome)
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

    def _on_folded(self, opened: bool) -> None:
        self._numbers.setVisible(opened)
        icons.put(self.fold, "chevron-down" if opened else "chevron-right", "muted", 18)
