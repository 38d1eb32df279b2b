"""A combo box over named values."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QComboBox, QSizePolicy


class ChoiceBox(QComboBox):
    """Shows names, gives values; the wheel scrolls the panel instead of changing the choice."""

    chosen = Signal(str)
    """The user has chosen this value."""

    def __init__(self, choices: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.offer(choices)
        self.activated.connect(lambda: self.chosen.emit(self.value))

    @property
    def value(self) -> str:
        """The chosen value."""
        return str(self.currentData())

    def offer(self, choices: Iterable[tuple[str, str]]) -> None:
        """Replaces the choices, (value, name) each, and keeps the chosen value if it is still there."""
        choices = list(choices)
        if [(self.itemData(index), self.itemText(index)) for index in range(self.count())] == choices:
            return
        kept = self.currentData()
        with QSignalBlocker(self):
            self.clear()
            for value, name in choices:
                self.addItem(name, value)
            self.setCurrentIndex(max(0, self.findData(kept)))

    def show_value(self, value: str) -> None:
        """Chooses without telling anybody; what is not offered is added, so that nothing else seems to be chosen."""
        with QSignalBlocker(self):
            if self.findData(value) < 0:
                self.addItem(value, value)
            self.setCurrentIndex(self.findData(value))

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()
