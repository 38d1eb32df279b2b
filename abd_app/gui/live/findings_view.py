"""What was found while a run went on."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QScrollArea, QStackedLayout, QVBoxLayout, QWidget

from abd_app.events import FindingMade
from abd_app.gui.look.findings_list import FindingsList
from abd_app.gui.look.labels import plain_label
from abd_app.teacher import Finding


class FindingsView(QWidget):
    """The findings of a run, worst first; those about the teacher's file are on its card."""

    counted = Signal(int)
    """How many there are now."""

    def __init__(self) -> None:
        super().__init__()
        self._findings: tuple[Finding, ...] = ()
        self._list = FindingsList()
        self.empty = plain_label(role="muted")
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        page = QWidget()
        page.setObjectName("scrolled")
        layout = QVBoxLayout(page)
        layout.setContentsMargins(16, 14, 16, 14)
        layout.addWidget(self._list)
        layout.addStretch(1)
        scroll = QScrollArea()
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setWidgetResizable(True)
        scroll.setWidget(page)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(scroll)
        self.clear()

    def clear(self) -> None:
        """A new run begins."""
        self.empty.setText(self.tr("What a run finds appears here."))
        self._show(())

    def finish(self) -> None:
        """The run has ended well."""
        self.empty.setText(self.tr("This run came across nothing that needs to be told."))

    def take(self, event: FindingMade) -> None:
        """Shows a finding, once: student and twin may both make it."""
        if event.finding not in self._findings:
            self._show((*self._findings, event.finding))

    def _show(self, findings: tuple[Finding, ...]) -> None:
        self._findings = findings
        self._list.show_findings(findings)
        self._stack.setCurrentIndex(bool(findings))
        self.counted.emit(len(findings))
