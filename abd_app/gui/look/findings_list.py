"""Findings, worst first, with an icon and a word for the severity."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from abd_app.gui.look import icons
from abd_app.gui.look.card import empty
from abd_app.gui.look.labels import plain_label
from abd_app.teacher import Finding
from abd_app.text import visible

_ORDER = {"danger": 0, "warning": 1, "info": 2}
_COLOURS = {"danger": "danger", "warning": "warning", "info": "muted"}


class FindingsList(QWidget):
    """Shows findings below each other."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(1, 1)

    def show_findings(self, findings: tuple[Finding, ...]) -> None:
        """Replaces what is shown."""
        empty(self._grid)
        for row, finding in enumerate(sorted(findings, key=lambda one: _ORDER[one.severity])):
            symbol = QLabel()
            icons.put(symbol, finding.severity, _COLOURS[finding.severity], 18)
            symbol.setAccessibleName(self._severity_name(finding))
            text = plain_label(visible(finding.title), "strong" if finding.severity != "info" else "", wrap=True)
            detail = plain_label(visible(finding.detail), "small", wrap=True)
            self._grid.addWidget(symbol, 2 * row, 0, Qt.AlignmentFlag.AlignTop)
            self._grid.addWidget(text, 2 * row, 1)
            if finding.detail:
                self._grid.addWidget(detail, 2 * row + 1, 1)
        self.setVisible(bool(findings))

    def _severity_name(self, finding: Finding) -> str:
        names = {"danger": self.tr("danger"), "warning": self.tr("warning"), "info": self.tr("information")}
        return names[finding.severity]
