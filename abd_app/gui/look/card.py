"""The surfaces that the window is made of: cards with a heading, folds, thin lines, rows."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QLayout, QScrollArea, QToolButton, QVBoxLayout, QWidget

from abd_app.gui.look import icons
from abd_app.gui.look.labels import plain_label
from abd_app.gui.look.wording import tooltip

PADDING_PX = 14
GAP_PX = 8


class Card(QFrame):
    """A titled surface; ``body`` takes the content, ``header`` takes buttons at its end."""

    def __init__(self, title: str, meaning: str) -> None:
        super().__init__()
        self.setObjectName("card")
        self.setAccessibleName(title)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(PADDING_PX, PADDING_PX - 2, PADDING_PX, PADDING_PX)
        layout.setSpacing(GAP_PX + 2)
        self.header = QHBoxLayout()
        self.header.setSpacing(GAP_PX)
        symbol = QLabel()
        icons.put(symbol, meaning, "accent", 20)
        self.header.addWidget(symbol)
        self.header.addWidget(plain_label(title, "heading"))
        self.header.addStretch(1)
        self.body = QVBoxLayout()
        self.body.setSpacing(GAP_PX)
        layout.addLayout(self.header)
        layout.addLayout(self.body)


class Fold(QWidget):
    """Content that is out of the way until its heading is clicked."""

    def __init__(self, title: str, content: QWidget) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(GAP_PX)
        self.heading = QToolButton()
        self.heading.setObjectName("fold")
        self.heading.setText(title)
        self.heading.setAccessibleName(title)
        self.heading.setCheckable(True)
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.toggled.connect(self._on_toggled)
        self._content = content
        layout.addWidget(self.heading, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(content)
        self._on_toggled(False)

    def _on_toggled(self, opened: bool) -> None:
        self._content.setVisible(opened)
        icons.put(self.heading, "chevron-down" if opened else "chevron-right", "muted", 18)


def scrolled(content: QWidget) -> QScrollArea:
    """An area as wide as ``content`` and as high as there is room: the rest is scrolled to."""
    content.setObjectName("scrolled")
    area = QScrollArea()
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    area.setWidget(content)
    return area


def empty(layout: QLayout) -> None:
    """Takes everything out of a layout, off the screen at once."""
    while (item := layout.takeAt(0)) is not None:
        if (widget := item.widget()) is not None:
            widget.hide()
            widget.deleteLater()


def icon_button(meaning: str, name: str, colour: str = "muted") -> QToolButton:
    """A button that is only an icon; ``name`` is its tooltip and its accessible name."""
    button = QToolButton()
    icons.put(button, meaning, colour, 18)
    button.setToolTip(tooltip(name))
    button.setAccessibleName(name)
    return button


def labelled(text: str, field: QWidget, *more: QWidget) -> QWidget:
    """A small heading above a field (and what belongs beside it), tied to it for the keyboard and screen readers."""
    row = QWidget()
    layout = QVBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(3)
    label = plain_label(text, "small", wrap=True)
    label.setBuddy(field)
    if not field.accessibleName():
        field.setAccessibleName(text)
    layout.addWidget(label)
    line = QHBoxLayout()
    line.setSpacing(GAP_PX - 2)
    line.addWidget(field, 1)
    for widget in more:
        line.addWidget(widget)
    layout.addLayout(line)
    return row
