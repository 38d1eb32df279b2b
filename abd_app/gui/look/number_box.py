"""Number fields that take little room and leave the mouse wheel to the panel around them."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import QAbstractSpinBox, QDoubleSpinBox, QSpinBox

_MIN_WIDTH_PX = 64
_TEXT_MARGIN_PX = 7


class WholeNumberBox(QSpinBox):
    """A field for a whole number in a range, ends included."""

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.setRange(low, high)
        _prepare(self)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


class NumberBox(QDoubleSpinBox):
    """A field for a number in a range, ends included."""

    def __init__(self, low: float, high: float, *, decimals: int = 0, suffix: str = "") -> None:
        super().__init__()
        self.setRange(low, high)
        self.setDecimals(decimals)
        self.setSuffix(suffix)
        _prepare(self)

    def wheelEvent(self, event: QWheelEvent) -> None:
        event.ignore()


def _prepare(box: QAbstractSpinBox) -> None:
    box.setMinimumWidth(_MIN_WIDTH_PX)
    box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
    # The style sheet's padding does not reach the text of a spin box.
    box.lineEdit().setTextMargins(_TEXT_MARGIN_PX, 0, 0, 0)
