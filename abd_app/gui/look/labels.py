"""Labels that show texts of strangers as they are: no markup, elided with the whole text in the tooltip."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QLabel, QSizePolicy, QWidget

from abd_app.gui.look.wording import tooltip


def plain_label(text: str = "", role: str = "", *, wrap: bool = False) -> QLabel:
    """A label that never reads its text as markup; ``role`` names its style."""
    label = QLabel()
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setText(text)
    label.setWordWrap(wrap)
    if role:
        label.setProperty("role", role)
    if wrap:
        policy = label.sizePolicy()
        policy.setHeightForWidth(True)
        policy.setVerticalPolicy(QSizePolicy.Policy.Minimum)
        label.setSizePolicy(policy)
    return label


def set_role(widget: QWidget, role: str) -> None:
    """Changes the style name of a widget."""
    if widget.property("role") != role:
        widget.setProperty("role", role)
        widget.style().unpolish(widget)
        widget.style().polish(widget)


class ElidedLabel(QLabel):
    """One line that shortens its text to the room there is and tells the whole in its tooltip.

    Args:
        text: The whole text.
        mode: Where to cut.
        role: Name of the style.
        least_px: Narrower it does not get.
    """

    def __init__(
        self,
        text: str = "",
        mode: Qt.TextElideMode = Qt.TextElideMode.ElideMiddle,
        role: str = "",
        *,
        least_px: int = 30,
    ) -> None:
        super().__init__()
        self._least_px = least_px
        self._whole = self._more = ""
        self._mode = mode
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        if role:
            self.setProperty("role", role)
        self.set_whole_text(text)

    @property
    def whole_text(self) -> str:
        """The text before shortening."""
        return self._whole

    def set_whole_text(self, text: str, more: str = "") -> None:
        """Shows another text; ``more`` is told in the tooltip, whether or not the text is shortened."""
        self._whole, self._more = text, more
        self.updateGeometry()
        self.setAccessibleName(text)
        self._elide()

    def sizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance(self._whole) + 2, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(self._least_px, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._elide()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._elide()

    def _elide(self) -> None:
        shown = self.fontMetrics().elidedText(self._whole, self._mode, self.width())
        self.setText(shown)
        self.setToolTip(tooltip(self._more or (self._whole if shown != self._whole else "")))
