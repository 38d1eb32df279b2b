"""The legend above the curves: chips that show and hide."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QIcon, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolButton, QWidget

from abd_app.gui.live.plotting import SAMPLE_SIZE, line_sample
from abd_app.gui.look.flow_layout import FlowLayout
from abd_app.gui.look.wording import shortened, tooltip
from abd_app.text import visible


class Legend(QWidget):
    """One chip per role and, where there are several, per trigger.

    Args:
        most_chars: Of a longer name the middle is left out; the tooltip has the whole.
    """

    toggled = Signal()

    def __init__(self, most_chars: int = 30) -> None:
        super().__init__()
        self._most_chars = most_chars
        self._layout = FlowLayout()
        self.setLayout(self._layout)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        self._chips: dict[str, QToolButton] = {}

    def show_entries(self, entries: dict[str, tuple[str, QPen]]) -> None:
        """Shows chips by key, (name, pen) each; a chip that was there keeps its state."""
        for key in set(self._chips) - set(entries):
            chip = self._chips.pop(key)
            self._layout.removeWidget(chip)
            chip.deleteLater()
        for key, (name, pen) in entries.items():
            chip = self._chips.get(key) or self._add(key)
            chip.setText(shortened(visible(name), self._most_chars).replace("&", "&&"))  # an ampersand is not a key
            chip.setAccessibleName(self.tr("Show {curve}").format(curve=visible(name)))
            chip.setToolTip(tooltip(self.tr("Show or hide: {curve}").format(curve=visible(name))))
            chip.setIcon(QIcon(line_sample(pen)))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """No lower than its rows: they are not to be taken from the plots below."""
        self.setMinimumHeight(self._layout.heightForWidth(self.width()))

    def shows(self, key: str) -> bool:
        """True unless the user has hidden ``key``."""
        chip = self._chips.get(key)
        return chip is None or chip.isChecked()

    def _add(self, key: str) -> QToolButton:
        chip = QToolButton()
        chip.setObjectName("chip")
        chip.setCheckable(True)
        chip.setChecked(True)
        chip.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        chip.setIconSize(SAMPLE_SIZE)
        chip.toggled.connect(self.toggled)
        self._layout.addWidget(chip)
        self._chips[key] = chip
        return chip
