"""What went wrong or needs an answer, in place, never in a modal dialog."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout

from abd_app.gui.look import icons
from abd_app.gui.look.announce import announce
from abd_app.gui.look.card import empty, icon_button
from abd_app.gui.look.labels import plain_label
from abd_app.teacher import Severity

Kind = Severity | Literal["good"]


class Banner(QFrame):
    """A coloured strip with a title, a text and buttons; hidden until :meth:`show_message`."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("banner")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(14, 10, 8, 10)
        layout.setSpacing(12)
        self._symbol = QLabel()
        self._title = plain_label(role="strong", wrap=True)
        self._text = plain_label(wrap=True)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        texts = QVBoxLayout()
        texts.setSpacing(3)
        texts.addWidget(self._title)
        texts.addWidget(self._text)
        self._buttons = QHBoxLayout()
        self._buttons.setSpacing(8)
        self.close_button = icon_button("close", self.tr("Close this message"))
        self.close_button.clicked.connect(self.hide)
        layout.addWidget(self._symbol, 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(texts, 1)
        layout.addLayout(self._buttons)
        layout.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)
        self.hide()

    @property
    def text(self) -> str:
        """Everything it says."""
        return f"{self._title.text()}\n{self._text.text()}"

    def show_message(
        self, severity: Kind, title: str, text: str = "", buttons: Mapping[str, Callable[[], object]] | None = None
    ) -> None:
        """Shows a message; a button of ``buttons`` (label: what it does) does not close it by itself."""
        self.setProperty("severity", severity)
        self.style().unpolish(self)
        self.style().polish(self)
        icons.put(self._symbol, severity, "accent" if severity == "info" else severity, 22)
        self._title.setText(title)
        self._text.setText(text)
        self._text.setVisible(bool(text))
        self.setAccessibleName(f"{title} {text}")
        empty(self._buttons)
        for label, action in (buttons or {}).items():
            button = QPushButton(label)
            button.clicked.connect(lambda _=False, action=action: action())
            self._buttons.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        self.show()
        announce(self, f"{title} {text}", urgent=severity in ("danger", "warning"))

    def buttons(self) -> dict[str, QPushButton]:
        """The buttons shown, by label."""
        items = [self._buttons.itemAt(index) for index in range(self._buttons.count())]
        found = [item.widget() for item in items if item is not None]
        return {button.text(): button for button in found if isinstance(button, QPushButton)}
