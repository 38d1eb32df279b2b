"""The place to drop a teacher file on; it is a button too."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout

from abd_app.gui.file_chooser import MODEL_SUFFIXES
from abd_app.gui.look import icons
from abd_app.gui.look.labels import plain_label


class DropZone(QFrame):
    """Invites to drop or choose a file. The window itself takes the drop, anywhere, and lights this up."""

    clicked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("dropZone")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName(self.tr("Drop a model file here or press to choose one"))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 22, 16, 22)
        layout.setSpacing(6)
        symbol = QLabel()
        symbol.setAlignment(Qt.AlignmentFlag.AlignCenter)
        icons.put(symbol, "drop", "accent", 36)
        self._invitation = plain_label(self.tr("Drop a model file here"), "strong", wrap=True)
        hint = plain_label(self.tr("or click to choose one"), "muted")
        kinds = plain_label("  ".join(MODEL_SUFFIXES), "small")
        layout.addWidget(symbol)
        for label in (self._invitation, hint, kinds):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            layout.addWidget(label)

    def set_dragging(self, dragging: bool) -> None:
        """Lights up while a file is dragged over the window."""
        self._invitation.setText(self.tr("Let go to open it") if dragging else self.tr("Drop a model file here"))
        self.setProperty("dragging", dragging)
        self.style().unpolish(self)
        self.style().polish(self)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() is Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.clicked.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.clicked.emit()
        else:
            super().keyPressEvent(event)
